#!/bin/bash
# Installs what tests/report/page_test.py needs: Chromium, its driver and Selenium from Debian, and
# the accessibility checker axe-core, which a package of PyPI carries, into a folder of its own.
#
#   tests/report/install.sh      NWC_CACHE: the folder that it goes to (~/.cache/nwc)
set -euo pipefail
missing=()
folder=${NWC_CACHE:-$HOME/.cache/nwc}/axe
for package in chromium chromium-driver python3-selenium python3-pip fonts-dejavu-core; do
  if [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
    missing+=("$package")
  fi
done
if ((${#missing[@]} > 0)); then
  apt-get update
  apt-get install -y --no-install-recommends "${missing[@]}"
fi
/usr/bin/python3 -m pip install --quiet --no-deps --upgrade --target "$folder" \
  axe-playwright-python==0.1.8
find "$folder" -name axe.min.js
