#!/usr/bin/env python3
"""How long a newcomer takes to the first tensor in Python: clone, install, load.

    tests/bench/new_user.py REPOSITORY [-o RESULTS.md] [--beside]

Runs each command as it stands in the table, in a fresh clone of REPOSITORY (a folder or URL) with a
fresh HOME, so that no cache of pip, ccache or NWC serves. Debian packages that `tools/setup.sh`
lists are expected to be there; how many megabytes those are is said, not measured. --beside: notes
that the machine had other work. Needs git, python3-venv and the package index.
"""
import argparse
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from machine import machine

MODEL = "tests/golden/valid/many_tiles.nwc"
LOAD = ("import nwc; f = nwc.safe_open('" + MODEL + "', framework='np'); name = f.keys()[0]; "
        "print(name, f.get_tensor(name).shape)")
# What building the package needs of the lists in tools/setup.sh.
PACKAGES = ("g++", "cmake", "ninja-build", "pkg-config", "liburing-dev", "libcurl4-openssl-dev", "libxxhash-dev",
            "nlohmann-json3-dev", "libflatbuffers-dev", "flatbuffers-compiler", "flatbuffers-compiler-dev", "python3",
            "python3-venv")
ROUTE = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "SSL_CERT_DIR")  # to the package index
STEPS = (("clone", "git clone --quiet {repository} nwc", "."),
         ("environment", "python3 -m venv env", "."),
         ("install", "../env/bin/pip install -v --disable-pip-version-check .", "nwc"),
         ("load a tensor", '../env/bin/python -c "' + LOAD + '"', "nwc"))


def megabytes(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def installed_megabytes(packages):
    """Of these Debian packages alone, without what they depend on."""
    done = subprocess.run(["dpkg-query", "-W", "-f=${Installed-Size}\n", *packages], capture_output=True, text=True)
    return sum(int(line) for line in done.stdout.split()) * 1024 / 1e6 if done.returncode == 0 else None


def fetched_megabytes(printed):
    """Of what pip says it downloads, for the build and for itself."""
    sizes = re.findall(r"Downloading \S+ \(([\d.]+) ([kM]?B)\)", printed)
    return sum(float(size) * {"B": 1e-6, "kB": 1e-3, "MB": 1}[unit] for size, unit in sizes)


def processor_minutes():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def run_steps(repository, folder):
    home = folder / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
                   **{k: v for k, v in os.environ.items() if k.lower().endswith("_proxy") or k in ROUTE}}
    rows = []
    for name, command, where in STEPS:
        before, used = megabytes(folder), processor_minutes()
        command, begun = command.format(repository=repository), time.monotonic()
        done = subprocess.run(command, shell=True, cwd=folder / where, env=environment, capture_output=True, text=True)
        minutes = (time.monotonic() - begun) / 60
        if done.returncode != 0:
            sys.exit(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        rows.append((name, command, minutes, processor_minutes() - used, fetched_megabytes(done.stdout),
                     megabytes(folder) - before, done.stdout.strip()))
    return rows


def markdown(rows, repository, beside):
    packages = installed_megabytes(PACKAGES)
    said = f", {packages:.0f} MB installed without what they depend on" if packages else ""
    lines = ["# A newcomer's way to the first tensor in Python", "",
             f"Printed by `tests/bench/new_user.py {repository}{' --beside' if beside else ''}` on {machine()}"
             f"{', beside other work' if beside else ''}. Fresh clone, fresh HOME. These Debian packages were there{said}: "
             f"{', '.join(PACKAGES)}.", "",
             "| step | command | minutes | of a processor | downloaded by pip, MB | on the disk after it, MB more |",
             "|---|---|---|---|---|---|"]
    lines += [f"| {name} | `{command}` | {minutes:.2f} | {used:.2f} | {fetched:.1f} | {kept:.1f} |"
              for name, command, minutes, used, fetched, kept, _ in rows]
    lines += ["| **all** | | " + " | ".join(f"**{sum(r[i] for r in rows):.{2 if i < 4 else 1}f}**" for i in range(2, 6)) + " |",
              "", f"The last command printed `{rows[-1][6]}`.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    parser.add_argument("--beside", action="store_true")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="nwc-new-user-"))
    try:
        rows = run_steps(arguments.repository, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = markdown(rows, "REPOSITORY", arguments.beside)
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
