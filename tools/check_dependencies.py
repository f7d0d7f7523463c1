#!/usr/bin/env python3
"""Checks which folder may include and link what.

    tools/check_dependencies.py [--binaries DIR]

Looks at the #include lines of every source file, at target_link_libraries in every CMakeLists.txt,
at the imports of spec/reference and, with --binaries, at the shared libraries that DIR/nwc
(build/bin/nwc) asks for. Prints FILE:LINE for each violation; exit status 1 if there was one.
"""
import argparse
import ast
import dataclasses
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE_ENDINGS = {".h", ".cc", ".cu", ".cuh", ".fbs"}


@dataclasses.dataclass(frozen=True)
class Rules:
    """What one folder may use. Its own files are always allowed."""
    folders: frozenset[str]  # other folders it may include
    libraries: frozenset[str]  # third-party headers, by the names in LIBRARY_OF_HEADER
    posix: bool = False  # headers of the operating system
    system: frozenset[str] = frozenset()  # single ones of them
    threads_and_files: bool = True  # the parts of the standard library in IMPURE_HEADERS
    links: frozenset[str] = frozenset()  # what its CMake targets may link


def rules(folders: str, libraries: str, links: str, **others) -> Rules:
    return Rules(frozenset(folders.split()), frozenset(libraries.split()),
                 links=frozenset(links.split()), **others)


FOLDERS = {
    # Pure functions on bytes.
    "format": rules("", "flatbuffers xxhash",
                    "flatbuffers::flatbuffers PkgConfig::XXHASH", threads_and_files=False),
    "loader": rules("format", "liburing curl nlohmann_json",
                    "nwc_format PkgConfig::URING PkgConfig::CURL CURL::libcurl "
                    "nlohmann_json::nlohmann_json Threads::Threads", posix=True),
    "cuda": rules("loader format", "cuda",
                  "nwc_loader nwc_format CUDA::cudart_static Threads::Threads", posix=True),
    # LibTorch's CUDA half is loaded when it is asked for.
    "encoder": rules("format", "torch nlohmann_json",
                     "nwc_format torch nlohmann_json::nlohmann_json Threads::Threads",
                     system=frozenset({"dlfcn.h"})),
    "tools": rules("format loader cuda encoder", "CLI11 nlohmann_json openssl zlib",
                   "nwc_format nwc_loader nwc_cuda nwc_encoder nwc_models nwc_neural CLI11::CLI11 "
                   "nlohmann_json::nlohmann_json OpenSSL::Crypto ZLIB::ZLIB Threads::Threads", posix=True),
}

# The tools see these headers of the other folders and what these include, nothing else.
PUBLIC_HEADERS = [
    "format/format.h", "format/status.h", "loader/loader.h", "loader/byte_source.h",
    "loader/layer_order.h", "loader/model_loader.h", "loader/shard_set.h",
    "loader/tensor_parallel.h", "loader/nwc.h", "cuda/decoder.h", "encoder/encoder.h",
    "encoder/table_training.h",
    "encoder/calibration.h", "encoder/neural_training.h", "encoder/neural_encoder.h",
    "encoder/evaluation.h", "encoder/recovery.h", "encoder/packed_container.h",
    "encoder/token_windows.h",
]

# Only these targets, and the libraries made for them, carry the encoder.
TARGETS_WITH_ENCODER = re.compile(r"nwc[-_](pack|train|eval)\w*")

LIBRARY_OF_HEADER = {
    "flatbuffers/": "flatbuffers",
    "xxhash.h": "xxhash",
    "xxh3.h": "xxhash",
    "liburing": "liburing",
    "curl/": "curl",
    "cuda": "cuda",
    "cub/": "cuda",
    "nv/": "cuda",
    "torch/": "torch",
    "ATen/": "torch",
    "c10/": "torch",
    "CLI/": "CLI11",
    "nlohmann/": "nlohmann_json",
    "openssl/": "openssl",
    "zlib.h": "zlib",
}

GENERATED_HEADERS = {("format", "index_generated.h")}  # by flatc, into the build folder

POSIX_HEADERS = re.compile(
    r"(sys|linux|arpa|netinet|net)/\S+|(unistd|fcntl|signal|poll|spawn|pthread|sched|dirent|dlfcn"
    r"|netdb|termios|time|errno|malloc|endian|byteswap)\.h")
INTRINSICS_HEADERS = {"immintrin.h", "arm_neon.h", "cpuid.h"}

IMPURE_HEADERS = set(
    "thread mutex shared_mutex condition_variable future semaphore latch barrier stop_token "
    "fstream iostream filesystem csignal".split())
C_HEADERS = {"stddef.h", "stdint.h"}  # of the C interface
STANDARD_HEADERS = IMPURE_HEADERS | C_HEADERS | set(
    "algorithm any array atomic bit bitset cassert cctype cerrno cfenv cfloat charconv chrono "
    "cinttypes climits clocale cmath codecvt compare complex concepts coroutine cstdarg cstddef "
    "cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype deque exception execution format "
    "forward_list functional initializer_list iomanip ios iosfwd istream iterator limits list "
    "locale map memory memory_resource new numbers numeric optional ostream queue random ranges "
    "ratio regex scoped_allocator set source_location span sstream stack stdexcept streambuf "
    "string string_view syncstream system_error tuple type_traits typeindex typeinfo "
    "unordered_map unordered_set utility valarray variant vector version".split())

REFERENCE_IMPORTS = {"numpy", "flatbuffers"}

# Shared libraries of the parts that the program nwc must run without.
FORBIDDEN_SHARED_LIBRARIES = re.compile(r"lib(torch|c10|cuda|cudart|nvrtc|cublas|python)\S*")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
FBS_INCLUDE = re.compile(r'^\s*include\s+"([^"]+)"')


def source_files(folder: str) -> list[pathlib.Path]:
    return sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in SOURCE_ENDINGS)


def includes_of(path: pathlib.Path):
    """(line number, quoted name or None, system name or None) of each #include."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if path.suffix == ".fbs":
            if match := FBS_INCLUDE.match(line):
                yield number, match[1], None
        elif match := INCLUDE.match(line):
            yield number, match[1], match[2]


def public_headers() -> set[str]:
    """PUBLIC_HEADERS and everything these include."""
    seen: set[str] = set()
    waiting = list(PUBLIC_HEADERS)
    while waiting:
        name = waiting.pop()
        if name in seen or not (ROOT / name).is_file():
            continue
        seen.add(name)
        waiting += [quoted for _, quoted, _ in includes_of(ROOT / name) if quoted]
    return seen


def check_own_include(folder: str, name: str, public: set[str]) -> str | None:
    """What is wrong with #include "name" in `folder`, if anything."""
    if (folder, name) in GENERATED_HEADERS:
        return None
    target = name.split("/")[0]
    if "/" not in name or target not in {*FOLDERS, "tests"}:
        return f'"{name}": write the path from the root of the repository, as "format/status.h"'
    if target == folder:
        return None
    if target not in FOLDERS[folder].folders:
        return f'"{name}": {folder}/ may not use {target}/'
    if folder == "tools" and name not in public:
        return f'"{name}": not a public header of {target}/, the only ones tools/ may use'
    return None


def check_system_include(folder: str, name: str) -> str | None:
    """What is wrong with #include <name> in `folder`, if anything."""
    allowed = FOLDERS[folder]
    if name in STANDARD_HEADERS:
        if name in IMPURE_HEADERS and not allowed.threads_and_files:
            return f"<{name}>: {folder}/ has no threads and no I/O"
        return None
    if name in INTRINSICS_HEADERS:
        return None
    if POSIX_HEADERS.fullmatch(name):
        if allowed.posix or name in allowed.system:
            return None
        return f"<{name}>: {folder}/ may not use the operating system"
    for prefix, library in LIBRARY_OF_HEADER.items():
        if name.startswith(prefix):
            if library in allowed.libraries:
                return None
            return f"<{name}>: {folder}/ may not use {library}"
    return f"<{name}>: unknown header; if it belongs here, add it to tools/check_dependencies.py"


def check_includes() -> list[str]:
    public = public_headers()
    problems = []
    for folder in FOLDERS:
        for path in source_files(folder):
            for number, quoted, system in includes_of(path):
                if quoted is not None:
                    problem = check_own_include(folder, quoted, public)
                else:
                    problem = check_system_include(folder, system)
                if problem:
                    problems.append(f"{path.relative_to(ROOT)}:{number}: {problem}")
    return problems


def check_names() -> list[str]:
    """Two types of one name at the top of headers are one to the linker, which mixes them up."""
    first, problems = {}, []
    for folder in FOLDERS:
        for path in source_files(folder):
            if path.suffix not in (".h", ".cuh"):
                continue
            for match in re.finditer(r"^(?:struct|class|union) (?:alignas\(\w+\) )?(\w+)[^;{]*\{",
                                     path.read_text(encoding="utf-8"), re.MULTILINE):
                other = first.setdefault(match[1], path)
                if other != path:
                    problems.append(f"{path.relative_to(ROOT)}: {match[1]} is also in "
                                    f"{other.relative_to(ROOT)}; rename one")
    return problems


def cmake_commands(path: pathlib.Path, command: str):
    """(line number, arguments) of each call of `command`."""
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    for match in re.finditer(rf"\b{command}\s*\(([^)]*)\)", text, re.IGNORECASE):
        yield text.count("\n", 0, match.start()) + 1, match[1].split()


def check_links() -> list[str]:
    problems = []
    for folder, allowed in FOLDERS.items():
        path = ROOT / folder / "CMakeLists.txt"
        if not path.is_file():
            continue
        own = {arguments[0] for kind in ("add_library", "add_executable")
               for _, arguments in cmake_commands(path, kind)}
        for number, (target, *names) in cmake_commands(path, "target_link_libraries"):
            for name in names:
                where = f"{path.relative_to(ROOT)}:{number}: {target}"
                if name in ("PUBLIC", "PRIVATE", "INTERFACE") or name in own:
                    continue
                if name not in allowed.links:
                    problems.append(f"{where} links {name}, which {folder}/ may not use")
                elif (folder == "tools" and name in ("nwc_encoder", "nwc_models", "torch")
                      and not TARGETS_WITH_ENCODER.fullmatch(target)):
                    problems.append(f"{where} links {name}: only packing and training tools may")
    return problems


def check_reference() -> list[str]:
    """spec/reference proves the specification, so it shares no code with anything."""
    folder = ROOT / "spec" / "reference"
    own = {path.stem for path in folder.glob("*.py")}
    allowed = REFERENCE_IMPORTS | own | set(sys.stdlib_module_names)
    problems = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            problems += [f"{where}: spec/reference may not use {module}"
                         for module in modules if module.split(".")[0] not in allowed]
    return problems


def check_binaries(folder: pathlib.Path) -> list[str]:
    program = folder / "nwc"
    if not program.is_file():
        return [f"{program}: not there; build first"]
    result = subprocess.run(["ldd", str(program)], capture_output=True, text=True)
    if result.returncode != 0:
        return [f"{program}: ldd failed: {result.stderr.strip()}"]
    libraries = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    return [f"{program}: needs {library}, which it must run without"
            for library in libraries if FORBIDDEN_SHARED_LIBRARIES.match(library)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, metavar="DIR",
                        help="also check the program nwc in DIR")
    arguments = parser.parse_args()
    problems = check_includes() + check_names() + check_links() + check_reference()
    if arguments.binaries:
        problems += check_binaries(arguments.binaries)
    for problem in problems:
        print(problem)
    files = sum(len(source_files(folder)) for folder in FOLDERS)
    print(f"dependencies: {files} source files, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
