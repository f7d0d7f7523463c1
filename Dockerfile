# The programs without LibTorch: nwc, nwc-pack and nwc-train. docs/install.md says how to run them.
#
#   docker build -t nwc .
#   docker run --rm -v "$PWD":/work nwc nwc inspect model.nwc
FROM debian:12-slim AS build
WORKDIR /source
COPY tools/setup.sh tools/setup.sh
RUN bash -c 'set -euo pipefail; source tools/setup.sh; install_packages "${BUILD_PACKAGES[@]}" dpkg-dev'
COPY . .
RUN cmake -S . -B /build -G Ninja -DNWC_TORCH=OFF -DNWC_CUDA=OFF -DPython3_EXECUTABLE=/usr/bin/python3 && \
    cmake --build /build && \
    cd /build && cpack -G DEB

FROM debian:12-slim
# dpkg leaves the manual pages out in this image.
RUN --mount=type=bind,from=build,source=/build,target=/build \
    apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates /build/nwc_*.deb && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --create-home nwc
USER nwc
WORKDIR /work
CMD ["nwc", "--help"]
