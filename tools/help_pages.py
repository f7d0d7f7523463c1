#!/usr/bin/env python3
"""Makes manual pages and bash completions from what the programs print for --help.

    tools/help_pages.py BIN_DIR OUT_DIR PROGRAM...

Writes OUT_DIR/man1/NAME.1 for each program and each of its commands (nwc-bench-load.1 for
`nwc bench load`), and OUT_DIR/completions/PROGRAM.
"""
import argparse
import dataclasses
import pathlib
import re
import subprocess

TEXT_COLUMN = 30  # where CLI11 puts the text beside a name
CONTINUATION = " " * TEXT_COLUMN
VALUES = re.compile(r":\{([\w,.+-]+)\}")


@dataclasses.dataclass
class Entry:
    name: str  # "--io TEXT:{auto,uring}=auto"
    text: str

    @property
    def words(self) -> list[str]:
        """["-o", "--output"] of an option, ["bench"] of a command."""
        return self.name.split()[0].split(",")


@dataclasses.dataclass
class Section:
    title: str  # "" for prose
    entries: list[Entry]  # of options and the like
    lines: list[str]  # of anything else, as they are


@dataclasses.dataclass
class Command:
    path: list[str]  # ["nwc", "bench", "load"]
    description: str
    usage: str
    sections: list[Section]

    def entries(self, title: str) -> list[Entry]:
        return [entry for section in self.sections if section.title.lower() == title
                for entry in section.entries]

    @property
    def options(self) -> list[Entry]:
        return [entry for section in self.sections for entry in section.entries
                if entry.name.startswith("-")]


def output_of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def parse_entries(lines: list[str]) -> list[Entry]:
    entries: list[Entry] = []
    for number, line in enumerate(lines):
        if line.startswith(CONTINUATION):
            entries[-1].text = f"{entries[-1].text} {line.strip()}".strip()
            continue
        # A name that is too long for its column has its text on the next line.
        text_follows = number + 1 < len(lines) and lines[number + 1].startswith(CONTINUATION)
        gap = line[TEXT_COLUMN - 2:TEXT_COLUMN]
        if gap == "  " or (gap[1:] == " " and not text_follows):
            entries.append(Entry(line[:TEXT_COLUMN].strip(), line[TEXT_COLUMN:].strip()))
        else:
            entries.append(Entry(line.strip(), ""))
    return entries


def parse_section(lines: list[str]) -> Section:
    title = lines[0][:-1] if lines[0].endswith(":") and len(lines) > 1 else ""
    if title.lower() in ("positionals", "subcommands") or (title and lines[1].startswith("  -")):
        return Section(title, parse_entries(lines[1:]), [])
    return Section(title, [], lines[1:] if title else lines)


def read_command(program: pathlib.Path, path: list[str]) -> Command:
    text = output_of([str(program), *path[1:], "--help"])
    match = re.search(r"^Usage: (.*)$", text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"{' '.join(path)} --help has no line 'Usage: ...'")
    blocks = re.split(r"\n(?:\s*\n)+", text[match.end():].strip("\n"))
    return Command(path, " ".join(text[:match.start()].split()), match[1],
                   [parse_section(block.splitlines()) for block in blocks])


def read_program(program: pathlib.Path, path: list[str]) -> list[Command]:
    """The command `path` and all commands below it."""
    command = read_command(program, path)
    return [command] + [below for entry in command.entries("subcommands")
                        for below in read_program(program, path + entry.words)]


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def manual_page(command: Command, version: str, others: list[str]) -> str:
    name = "-".join(command.path)
    summary = command.description.split(". ")[0].rstrip(".")
    page = [f'.TH {name.upper()} 1 "" "{version}" "User Commands"',
            ".SH NAME", f"{roff(name)} \\- {roff(summary)}",
            ".SH SYNOPSIS", f".B {roff(command.usage)}",
            ".SH DESCRIPTION", roff(command.description)]
    for section in command.sections:
        if section.title:
            title = section.title if section.title.startswith("-") else section.title.upper()
            page.append(f'.SH "{roff(title)}"')
        for entry in section.entries:
            page += [".TP", f".B {roff(entry.name)}", roff(entry.text) or "\\&"]
        if section.lines:
            if not section.title:
                page.append(".SH NOTES")
            page += [".nf", *map(roff, section.lines), ".fi"]
    page += [".SH SEE ALSO", ", ".join(f"\\fB{roff(other)}\\fR(1)" for other in others
                                       if other != name)]
    return "\n".join(page) + "\n"


COMPLETION = """\
# bash completion of {program}, made from its --help
{function}() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
  local path={program} options= commands= values= file= word
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
    case "$path $word" in
      {paths}) path="$path $word" ;;
    esac
  done
  case $path in
{words}
  esac
  case "$path $previous" in
{values}
  esac
  if [[ $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ $commands ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
    if [[ $file ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$current")
    fi
  fi
}}
complete -o bashdefault -o default -F {function} {program}
"""


def completion(program: str, commands: list[Command]) -> str:
    paths, words, values = [], [], []
    for command in commands:
        path = " ".join(command.path)
        if len(command.path) > 1:
            paths.append(f'"{path}"')
        options = " ".join(word for entry in command.options for word in entry.words)
        below = " ".join(word for entry in command.entries("subcommands") for word in entry.words)
        file = "yes" if command.entries("positionals") else ""
        words.append(f'    "{path}") options="{options}" commands="{below}" file={file} ;;')
        for entry in command.options:
            if match := VALUES.search(entry.name):
                names = " | ".join(f'"{path} {word}"' for word in entry.words)
                values.append(f'    {names}) values="{match[1].replace(",", " ")}" ;;')
    return COMPLETION.format(program=program, function="_" + program.replace("-", "_"),
                             paths=" | ".join(paths) or '""', words="\n".join(words),
                             values="\n".join(values))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin_dir", type=pathlib.Path)
    parser.add_argument("out_dir", type=pathlib.Path)
    parser.add_argument("programs", nargs="+")
    arguments = parser.parse_args()
    pages, completions = arguments.out_dir / "man1", arguments.out_dir / "completions"
    for folder in (pages, completions):
        folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.programs:
        program = arguments.bin_dir / name
        commands = read_program(program, [name])
        version = " ".join(output_of([str(program), "--version"]).split()[:2]) \
            if any("--version" in entry.words for entry in commands[0].options) else name
        others = arguments.programs + ["-".join(command.path) for command in commands[1:]]
        for command in commands:
            page = manual_page(command, version, others)
            (pages / f"{'-'.join(command.path)}.1").write_text(page, encoding="utf-8")
        (completions / name).write_text(completion(name, commands), encoding="utf-8")


if __name__ == "__main__":
    main()
