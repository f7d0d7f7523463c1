#!/usr/bin/env python3
"""Installs into a fresh folder and uses what is there: programs, pages, libraries.

    tests/install/install_test.py BUILD_DIR GOLDEN_DIR CMAKE CC CXX

BUILD_DIR is built; GOLDEN_DIR is tests/golden.
"""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

CONSUMER = pathlib.Path(__file__).resolve().parent / "consumer"


def run(*command, **options) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                            timeout=600, **options)
    if result.returncode != 0:
        raise AssertionError(f"{command}: exit code {result.returncode}\n"
                             f"{result.stdout}{result.stderr}")
    return result.stdout


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="nwc-install-")
        cls.addClassCleanup(cls.folder.cleanup)
        root = pathlib.Path(cls.folder.name)
        run(CMAKE, "--install", BUILD, "--prefix", root / "first")
        (root / "first").rename(root / "moved")  # nothing may depend on where it was
        cls.root, cls.prefix = root, root / "moved"
        cls.model = GOLDEN / "valid" / "stream_buckets.nwc"
        inspected = json.loads(run(cls.prefix / "bin" / "nwc", "inspect", "--json", cls.model))
        decoded = sum(tensor["decoded_bytes"] for tensor in inspected["tensors"])
        cls.expected = f"decoded {decoded} bytes\n"

    def check_consumer(self, program: pathlib.Path, **options):
        self.assertEqual(run(program, self.model, **options), self.expected)
        broken = subprocess.run([program, GOLDEN / "invalid" / "R20_raw.nwc"],
                                capture_output=True, text=True, **options)
        self.assertEqual(broken.returncode, 1)
        self.assertIn("R20_raw.nwc", broken.stderr)

    def pkg_config(self, *arguments) -> list[str]:
        found = next(self.prefix.rglob("pkgconfig"))
        environment = {**os.environ, "PKG_CONFIG_PATH": str(found)}
        return shlex.split(run("pkg-config", *arguments, env=environment))

    def library_path(self) -> dict:
        return {**os.environ, "LD_LIBRARY_PATH": str(next(self.prefix.rglob("libnwc.so")).parent)}

    def test_a_cmake_project_finds_both_libraries(self):
        build = self.root / "consumer"
        run(CMAKE, "-S", CONSUMER, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_C_COMPILER={CC}", f"-DCMAKE_CXX_COMPILER={CXX}")
        run(CMAKE, "--build", build)
        self.check_consumer(build / "load_cc")
        self.check_consumer(build / "load_c")

    def test_cmake_without_the_loaders_libraries_finds_the_c_library(self):
        nowhere = {**os.environ, "PKG_CONFIG_LIBDIR": "/nonexistent", "PKG_CONFIG_PATH": ""}
        for components, found in (("COMPONENTS c", True), ("COMPONENTS loader", False),
                                  ("", False)):
            project = self.root / f"find{len(components)}"
            project.mkdir()
            (project / "CMakeLists.txt").write_text(
                "cmake_minimum_required(VERSION 3.25)\nproject(find LANGUAGES C)\n"
                f"find_package(nwc REQUIRED {components})\n")
            result = subprocess.run(
                [CMAKE, "-S", project, "-B", project / "build", f"-DCMAKE_C_COMPILER={CC}",
                 f"-DCMAKE_PREFIX_PATH={self.prefix}"], capture_output=True, text=True, env=nowhere)
            self.assertEqual(result.returncode == 0, found, result.stderr)
            if not found:
                self.assertIn("liburing", result.stderr)

    def test_pkg_config_knows_the_c_library(self):
        program = self.root / "pkg_c"
        run(CC, "-std=c99", "-Wall", "-Werror", "-pedantic", CONSUMER / "load.c", "-o", program,
            *self.pkg_config("--cflags", "--libs", "nwc"))
        self.check_consumer(program, env=self.library_path())

    def test_pkg_config_knows_the_loader(self):
        program = self.root / "pkg_cc"
        run(CXX, "-std=c++20", CONSUMER / "load.cc", "-o", program,
            *self.pkg_config("--cflags", "--libs", "nwc-loader"))
        self.check_consumer(program)

    def test_every_program_and_command_has_a_page_with_all_its_options(self):
        pages = self.prefix / "share" / "man" / "man1"
        commands = [[program.name] for program in (self.prefix / "bin").iterdir()]
        commands += [["nwc", "inspect"], ["nwc", "bench", "load"]]
        for command in commands:
            help_text = run(self.prefix / "bin" / command[0], *command[1:], "--help")
            page = (pages / ("-".join(command) + ".1")).read_text(encoding="utf-8")
            page = page.replace("\\-", "-")
            for line in help_text.splitlines():
                if line.startswith("  -"):
                    self.assertIn(f".B {line.split()[0]}", page)
            self.assertIn("0 done   1 the data is bad" if len(command) == 1 else ".SH NOTES", page)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_pages_are_clean(self):
        for page in (self.prefix / "share" / "man" / "man1").iterdir():
            result = subprocess.run(["groff", "-man", "-ww", "-Tutf8", page], capture_output=True,
                                    text=True)
            self.assertEqual(result.stderr, "", page)

    def complete(self, *words: str) -> list[str]:
        script = self.prefix / "share" / "bash-completion" / "completions" / words[0]
        function = "_" + words[0].replace("-", "_")
        return run("bash", "-c", f'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                   f'{function}; printf "%s\\n" "${{COMPREPLY[@]}}"', script, *words,
                   cwd=self.root).split()

    def test_completion_offers_commands_options_and_values(self):
        self.assertEqual(self.complete("nwc", "ins"), ["inspect"])
        self.assertEqual(self.complete("nwc", "unpack", "--forc"), ["--force"])
        self.assertEqual(self.complete("nwc", "unpack", "--io", "d"), ["direct"])
        self.assertEqual(self.complete("nwc", "unpack", "--io", "=", "d"), ["direct"])
        self.assertIn("--cold", self.complete("nwc", "bench", "load", "--c"))
        self.assertNotIn("--cold", self.complete("nwc", "bench", "--c"))
        (self.root / "long.nwc").touch()
        self.assertEqual(self.complete("nwc", "bench", "lo"), ["load", "long.nwc"])
        self.assertEqual(self.complete("nwc", "inspect", ""), [])  # bash offers files then

    @unittest.skipUnless(shutil.which("dpkg-shlibdeps"), "dpkg-dev is not installed")
    def test_packages_hold_all_and_say_what_they_need(self):
        if (self.prefix / "bin" / "nwc-eval").exists():
            self.skipTest("LibTorch is in no Debian package")
        packages, tree = self.root / "packages", self.root / "tree"
        cpack = shutil.which("cpack", path=pathlib.Path(CMAKE).parent)
        run(cpack, "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", packages)
        names = sorted(packages.glob("*.deb"))
        self.assertEqual([name.name.split("_")[0] for name in names], ["libnwc-dev", "nwc"])
        for name in names:
            run("dpkg-deb", "-x", name, tree)
        self.assertIn("libcurl4", run("dpkg-deb", "-f", names[1], "Depends"))
        self.assertIn("libcurl4-openssl-dev", run("dpkg-deb", "-f", names[0], "Depends"))
        installed = {path.relative_to(self.prefix) for path in self.prefix.rglob("*")}
        packaged = {path.relative_to(tree / "usr") for path in (tree / "usr").rglob("*")}
        self.assertEqual(packaged, installed)
        self.assertIn("nwc 0.", run(tree / "usr" / "bin" / "nwc", "--version"))

    def test_the_installed_script_is_the_one_that_runs(self):
        program = self.prefix / "bin" / "nwc-eval"
        if not program.exists():
            self.skipTest("built without LibTorch")
        script = self.prefix / "share" / "nwc" / "tokenize_text.py"
        whole = script.read_text(encoding="utf-8")
        self.addCleanup(script.write_text, whole, encoding="utf-8")
        script.write_text("raise SystemExit('this is the installed one')", encoding="utf-8")
        model, text = self.root / "model", self.root / "text.txt"
        shutil.copytree(GOLDEN.parent / "data" / "minilm_layer", model)
        (model / "tokenizer.json").write_text("{}")
        text.write_text("a text")
        result = subprocess.run([program, "--model", model, "--text", text], capture_output=True,
                                text=True)
        self.assertIn("this is the installed one", result.stderr)


if __name__ == "__main__":
    BUILD, GOLDEN, CMAKE, CC, CXX = sys.argv[1:6]
    BUILD, GOLDEN = pathlib.Path(BUILD), pathlib.Path(GOLDEN)
    unittest.main(argv=sys.argv[:1] + sys.argv[6:])
