#!/usr/bin/env python3
"""Runs every block of sh, python, c and cmake in README.md and docs/*.md.

    tests/docs/run_blocks.py BUILD_DIR CMAKE CC CXX [PAGE...]

Each block runs in a fresh folder with the files that the documents name (named_files.py); python
blocks of a page run one after the other in one interpreter. A block that cannot run here says so
behind its language, ```sh no-test: needs a GPU```; reasons are printed. Commands that need LibTorch
(nwc-eval, calibration) are left out where nwc-eval is not built, or no package tokenizers is there.
What a command writes with -o goes first: a reader runs one of several such lines. For https://host/
a server on this machine answers. Needs numpy.
"""
import collections
import dataclasses
import functools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import named_files
from named_files import ROOT

sys.path.insert(0, str(ROOT / "tests" / "support"))
from range_server import RangeServer  # noqa: E402

LANGUAGES = ("sh", "python", "c", "cmake")
FENCE = re.compile(r"^```(\w+)?[ \t]*([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NO_TEST = re.compile(r"no-test: *(.+)")
NEEDS_TORCH = re.compile(r"\bnwc-eval\b|--calibration\b|--stats\b|--kl\b|--recover\b|--arch nwc\b")
OUTPUTS = ("-o", "--output", "--stats-out")
# What takes long is told to take less of the text.
SHORTER = {"--calibration": "--calibration-windows 2", "--kl": "--kl-windows 2",
           "--recover": "--recover-epochs 1", "nwc-eval": "--windows 2"}
TIMEOUT_S = 300
MOST_LINES = 20  # of a failed command's output


@dataclasses.dataclass
class Block:
    page: pathlib.Path
    line: int  # of its first one
    language: str
    marker: str  # behind the language
    text: str

    def where(self):
        return f"{name_of(self.page)}:{self.line}"


class Failed(Exception):
    pass


def name_of(page):
    return os.path.relpath(page, ROOT)


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match[1] in LANGUAGES:
            yield Block(page, text.count("\n", 0, match.start()) + 2, match[1], match[2].strip(), match[3])


def commands_of(script):
    """One a line; lines that end in a backslash go on, comments and empty lines are none."""
    for line in re.sub(r"\\\n\s*", " ", script).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def shortened(command):
    words = shlex.split(command, comments=True)
    extra = [options for word, options in SHORTER.items() if word in words]
    program, _, rest = command.partition(" ")
    return " ".join([program, *extra, rest])


def outputs_of(command):
    words = shlex.split(command, comments=True)
    return [word for option, word in zip(words, words[1:]) if option in OUTPUTS and not word.startswith("/")]


class Runner:
    def __init__(self, build, cmake, cc, cxx):
        self.build, self.cmake, self.cc, self.cxx = build, cmake, cc, cxx
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nwc-docs-"))
        self.environment = {
            **os.environ, "PATH": f"{build / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder),
            "PYTHONPATH": f"{ROOT / 'loader' / 'python'}:{os.environ.get('PYTHONPATH', '')}",
            "LD_LIBRARY_PATH": f"{build / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "passive",
            "NWC_PYTHON": os.environ.get("NWC_PYTHON", sys.executable)}
        self.with_torch = (build / "bin" / "nwc-eval").exists() and self.has_tokenizers()
        self.template = self.folder / "template"
        self.template.mkdir()
        named_files.make_all(self.template, build, lambda source, output: self.run(
            [str(build / "bin" / "nwc-pack"), source, "-o", output, "-q"], self.folder))
        self.server = RangeServer({"model.nwc": (self.template / "model.nwc").read_bytes()})
        self.left_out = collections.Counter()
        self.number = 0

    def close(self):
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def has_tokenizers(self):
        return subprocess.run([self.environment["NWC_PYTHON"], "-c", "import tokenizers"],
                              capture_output=True).returncode == 0

    def run(self, command, folder, environment=None):
        done = subprocess.run([str(word) for word in command], cwd=folder, env=environment or self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S,
                              stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            end = "\n".join(done.stdout.splitlines()[-MOST_LINES:])
            raise Failed(f"exit code {done.returncode}\n{end}")
        return done.stdout

    def fresh_folder(self):
        self.number += 1
        return shutil.copytree(self.template, self.folder / f"block{self.number}", symlinks=True)

    @functools.cached_property
    def prefix(self):
        """Where this build is installed, for what uses an installed NWC."""
        self.run([self.cmake, "--install", self.build, "--prefix", self.folder / "prefix"], self.folder)
        return self.folder / "prefix"

    def run_page(self, page):
        seconds, ran, skipped = time.monotonic(), 0, collections.Counter()
        python = []
        for block in blocks_of(page):
            if reason := NO_TEST.match(block.marker):
                skipped[reason[1]] += 1
                continue
            if block.marker:
                raise Failed(f"{block.where()}: '{block.marker}' behind the language, expected nothing or 'no-test: why'")
            ran += 1
            if block.language == "python":
                python.append(block)
                continue
            self.run_block(block, getattr(self, f"run_{block.language}"))
        if python:
            joined = "".join(b.text for b in python)
            self.run_block(dataclasses.replace(python[0], text=joined), self.run_python)
        why = "; ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        print(f"{name_of(page)}: {ran} blocks ran, {sum(skipped.values())} not{': ' if why else ''}{why} "
              f"({time.monotonic() - seconds:.1f} s)", flush=True)

    def run_block(self, block, function):
        folder = self.fresh_folder()
        try:
            function(block, folder)
        except (Failed, subprocess.TimeoutExpired) as error:
            raise Failed(f"{block.where()}: {error}") from None
        shutil.rmtree(folder)

    def run_sh(self, block, folder):
        script = ["set -e"]
        for command in commands_of(block.text):
            if NEEDS_TORCH.search(command) and not self.with_torch:
                self.left_out["LibTorch or the package tokenizers"] += 1
                continue
            command = command.replace("https://host/", self.server.url(""))
            script += [f"echo {shlex.quote('+ ' + command)}", *(f"rm -rf {shlex.quote(o)}" for o in outputs_of(command)),
                       shortened(command)]
        environment = self.environment
        if "pkg-config" in block.text:
            found = next(self.prefix.rglob("pkgconfig"))
            environment = {**environment, "PKG_CONFIG_PATH": str(found)}
        self.run(["bash", "-c", "\n".join(script)], folder, environment)

    def run_python(self, block, folder):
        self.run([sys.executable, "-W", "ignore", "-c", block.text.replace("https://host/", self.server.url(""))], folder)

    def run_c(self, block, folder):
        (folder / "main.c").write_text(block.text)
        self.run([self.cc, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT}", "main.c",
                  f"-L{self.build / 'lib'}", "-lnwc", "-o", "main"], folder)
        if not self.run([folder / "main"], folder).strip():
            raise Failed("prints nothing")

    def run_cmake(self, block, folder):
        """As the end of a project with a program in C++, `program`, and one in C, `other`."""
        project = folder / "project"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(docs LANGUAGES C CXX)\n"
            "add_executable(program ../load.cc)\nadd_executable(other ../load.c)\n" + block.text)
        self.run([self.cmake, "-S", project, "-B", project / "out", f"-DCMAKE_PREFIX_PATH={self.prefix}",
                  f"-DCMAKE_C_COMPILER={self.cc}", f"-DCMAKE_CXX_COMPILER={self.cxx}"], folder)
        self.run([self.cmake, "--build", project / "out"], folder)
        for name in ("program", "other"):
            self.run([project / "out" / name, "model.nwc"], folder)


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    pages = [pathlib.Path(p).resolve() for p in sys.argv[5:]] or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    runner = Runner(pathlib.Path(sys.argv[1]).resolve(), *sys.argv[2:5])
    failures = []
    try:
        for page in pages:
            try:
                runner.run_page(page)
            except Failed as failure:
                failures.append(str(failure))
    finally:
        runner.close()
    for reason, count in runner.left_out.items():
        print(f"left out: {count} commands that need {reason}")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
