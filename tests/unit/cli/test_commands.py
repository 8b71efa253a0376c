"""Every command line that people are shown parses against the real commands: in help, in hints, and in the documents.

Parsing is the program's own, up to the point where it would run the command.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from althing.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "src" / "althing"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*.md")])
CLI: Any = typer.main.get_command(app)

# Where a command line ends: what follows is the shell's.
SHELL = {"|", ">", ">>", "&&", "||", ";", "&", "#"}


def _leaves(group: Any = CLI, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_leaves())


def _words(line: str) -> list[list[str]]:
    """The arguments of each call of the program in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split = True
    calls: list[list[str]] = []
    inside = False
    for word in lexer:
        if word in SHELL or set(word) <= set("|>&;"):
            inside = False
        elif inside:
            calls[-1].append(word)
        elif word == "althing" or word.endswith("/althing"):
            inside = True
            calls.append([])
    return calls


def _parse(arguments: list[str]) -> None:
    """Raise what the program would raise; a word … stands for anything that may follow."""
    command, path = CLI, "althing"
    rest = list(arguments)
    while hasattr(command, "commands"):
        if not rest:
            return
        if rest[0].startswith("-"):
            # Options of the program and of groups act while they are parsed (--install-completion does): only looked up.
            known = {option: parameter for parameter in command.params for option in parameter.opts}
            assert rest[0] in {"--help", "-h"} | known.keys(), f"{path} has no option {rest[0]}"
            takes_value = rest[0] in known and not known[rest[0]].is_flag
            del rest[: 2 if takes_value else 1]
            continue
        name = rest.pop(0)
        assert name in command.commands, f"there is no command {path} {name}"
        command, path = command.commands[name], f"{path} {name}"
    if "…" in rest or not rest:
        return  # the command is only named; its options are checked where they are given
    try:
        command.make_context(path, rest)
    except typer.Exit:
        pass  # --help and --version end the program


def _check(line: str, *, whole: bool = True) -> None:
    """`whole`: nothing that the command needs may be missing."""
    calls = _words(line)
    assert calls, f"no call of althing in {line!r}"
    for call in calls:
        try:
            _parse(call)
        except Exception as error:
            if not whole and type(error).__name__ == "MissingParameter":
                continue
            reason = getattr(error, "message", "") or str(error)
            raise AssertionError(f"{line!r} does not parse: {reason}") from error


def _examples(command: Any) -> list[str]:
    shown = (command.epilog or "").splitlines()
    return shown + re.findall(r"Example: ((?:[A-Z_]+=\S+ )*althing .+)", command.help or "")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    found = _examples(command)
    assert any(f"althing {' '.join(path)}" in line for line in found), "no example of the command itself"
    for line in found:
        _check(line)
    for parameter in command.params:
        assert getattr(parameter, "hidden", False) or parameter.help, f"{parameter.name} has no help"


def test_examples_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Each on a line of its own, however narrow the terminal: a wrapped line cannot be pasted."""
    for path, command in COMMANDS.items():
        if command.epilog:
            with pytest.raises(SystemExit) as ended:
                CLI.main([*path, "--help"], prog_name="althing", terminal_width=60)
            assert ended.value.code == 0
            printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
            assert set(command.epilog.splitlines()) <= set(printed)


def _shown(text: str) -> Iterator[tuple[str, bool]]:
    """Command lines in blocks of code (whole), and commands named in running text (which may leave things out)."""
    blocks = re.findall(r"^```(?:sh|console|text)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?althing ", line):
                yield line, True
    running = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`((?:\S*/)?althing [^`]+)`", running):
        yield span.replace("\n", " "), False


def test_the_documents_show_commands_that_exist() -> None:
    count = 0
    wrong = []
    for page in DOCUMENTS:
        for line, whole in _shown(page.read_text(encoding="utf-8")):
            count += 1
            try:
                _check(line, whole=whole)
            except AssertionError as error:
                wrong.append(f"{page.relative_to(ROOT)}: {error}")
    assert not wrong, "\n".join(wrong)
    assert count > 20


def test_hints_name_commands_that_exist() -> None:
    """Only which command: hints leave out what the reader has to fill in."""
    nouns = "|".join(CLI.commands)
    count = 0
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for noun, verb in re.findall(rf"\balthing ({nouns})\b(?: ([a-z-]+))?", node.value):
                    count += 1
                    group = getattr(CLI.commands[noun], "commands", None)
                    assert group is None or not verb or verb in group, f"{file.name}: althing {noun} {verb}"
    assert count > 20


@pytest.mark.parametrize(
    "line",
    [
        "althing device ad pump-1",
        "althing proof verify p.cbor",
        "althing chain blocks --limit many",
        "althing device sign pump-1 --stream climate | althing device --nothing",
        ".venv/bin/althing demo --lop",
    ],
)
def test_a_wrong_line_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        _check(line)


def test_lines_are_found_in_documents() -> None:
    text = "Run `althing node\nstart`.\n\n```\n$ althing tx list | head\nmake demo\n.venv/bin/althing demo\n```\n"
    whole = ["$ althing tx list | head", ".venv/bin/althing demo"]
    assert list(_shown(text)) == [*((line, True) for line in whole), ("althing node start", False)]
    assert _words("A=1 althing tx list | althing key show k > file") == [["tx", "list"], ["key", "show", "k"]]
