"""Expansion against a real shell: the same words, the same fields. And patterns, without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jefeos_shell_jsh import expansion, pattern
from jefeos_shell_jsh.expansion import ExpansionError, ListFolder, RunScript, expand_fields
from jefeos_shell_jsh.parser import parse
from jefeos_shell_jsh.syntax import ShellSyntaxError


class Variables:
    def __init__(self, values: Mapping[bytes, bytes] = {}, positional: list[bytes] | None = None) -> None:
        self.values = dict(values)
        self.positional = positional or []

    def get(self, name: bytes) -> bytes | None:
        if name.isdigit():
            index = int(name) - 1
            return b"jsh" if index < 0 else self.positional[index] if index < len(self.positional) else None
        if name == b"#":
            return b"%d" % len(self.positional)
        return self.values.get(name)

    def set(self, name: bytes, value: bytes) -> None:
        self.values[name] = value


def drive(expanding: Generator[Any, Any, Any], folder: Path | None = None) -> Any:
    """Answer a generator's requests from a folder of the host."""
    answer: Any = None
    while True:
        try:
            request = expanding.send(answer)
        except StopIteration as done:
            return done.value
        if isinstance(request, RunScript):
            answer = b"[" + request.script + b"]\n\n"
        else:
            assert isinstance(request, ListFolder)
            path = os.path.join(os.fsencode(folder or "/nonexistent"), request.path)
            try:
                answer = os.listdir(path)
            except OSError:
                answer = []


def fields(
    text: bytes,
    values: Mapping[bytes, bytes] = {},
    positional: list[bytes] | None = None,
    folder: Path | None = None,
) -> list[bytes]:
    (item,) = parse(text)
    (command,) = item.commands.first.commands
    result: list[bytes] = drive(expand_fields(command.words, Variables(values, positional)), folder)
    return result


@pytest.fixture(scope="module")
def dash() -> str:
    path = shutil.which("dash")
    if path is None:
        pytest.skip("needs dash")
    return path


def shell_fields(
    shell: str, text: bytes, values: Mapping[bytes, bytes], positional: list[bytes], folder: Path
) -> list[bytes] | None:
    """The fields as a shell sees them; None if it refuses the text."""
    script = b"for field in " + text + b"\ndo printf '%s\\0' \"$field\"; done"
    setup = b"".join(name + b"='" + value.replace(b"'", b"'\\''") + b"'\n" for name, value in values.items())
    done = subprocess.run(
        [*shell.split(), "-c", setup + script, "jsh", *positional],
        capture_output=True,
        cwd=folder,
        env={"HOME": "/home/guest", "LC_ALL": "C"},
        timeout=100,
    )
    return None if done.returncode else done.stdout.split(b"\0")[:-1]


CASES: list[bytes] = [
    b"a 'b c' \"d e\" f\\ g",
    b"$space",
    b'"$space"',
    b"x$space'y'z",
    b"$empty",
    b'"$empty"',
    b"''",
    b"$empty''",
    b"$none$empty",
    b"$colons",
    b"$spacedcolons",
    b"$@",
    b'"$@"',
    b'x"$@"y',
    b'"$*"',
    b"$*",
    b'"a$@"',
    b"$# $1 ${2} $9",
    b"${none-default text}",
    b"'x'${none-default 'quoted text'}",
    b'"${none-default  text}"',
    b"${empty:-filled}",
    b"${empty-unfilled}x",
    b"${space:+set}",
    b"${none+set}x",
    b"${#space} ${#none} ${#}",
    b"${path%/*} ${path##*/} ${path#*/} ${path%%/*}",
    b"${path%'/*'}",
    b'"${path%.*}"',
    b"${none:=assigned here} $none",
    b"~ ~/x '~' x~",
    b"*",
    b"*.txt",
    b"?.txt",
    b"[ab].txt [!a].txt [a-b].txt [[:digit:]]*",
    b"sub/*",
    b"*/*",
    b"*/a.txt",
    b"./*.txt",
    b"'*' \\* \"*\"",
    b"'a'*",
    b"nothing*here",
    b"[",
    b"[a",
    b"a[]",
    b"$star",
    b'"$star"',
    b"$colons*",
    b"a\\\nb",
    b"$ $. a$",
    b"$hash a#b",
    b"sub//*",
    b"su[b]/b.txt",
    b"*/",
]
VALUES = {
    b"space": b"  one two\tthree\n",
    b"empty": b"",
    b"colons": b"a:b::c:",
    b"spacedcolons": b" a : b :: c ",
    b"path": b"/usr/lib/name.tar.gz",
    b"star": b"*.txt a*",
    b"hash": b"# no comment",
}
POSITIONAL = [b"first", b"second one", b"", b"*.txt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    for name in (
        "a.txt",
        "b.txt",
        "c.txt",
        "1st",
        "sub/a.txt",
        "sub/b.txt",
        ".hidden",
        "sp ace",
        "[",
        "empty/.x",
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return folder


@pytest.mark.peer
@pytest.mark.parametrize("separators", [None, b":", b" :", b"", b": \n"])
@pytest.mark.parametrize("text", CASES)
def test_fields_are_those_of_dash(dash: str, folder: Path, text: bytes, separators: bytes | None) -> None:
    values = dict(VALUES) | ({b"IFS": separators} if separators is not None else {})
    expected = shell_fields(dash, text, values, POSITIONAL, folder)
    assert fields(b"echo " + text, values | {b"HOME": b"/home/guest"}, POSITIONAL, folder)[1:] == expected


PIECES = [b"a", b" ", b"'", b'"', b"\\", b"$x", b"$y", b'"$x"', b"${x}", b"$@", b'"$@"', b"${y:-a b}", b"${z:-$x}",
          b"*", b"?", b"b", b"''", b"/", b"${x#a}", b"${x%:*}"]  # fmt: skip


@pytest.mark.peer
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(b"".join),
    st.text("ab: \t*", max_size=8).map(str.encode),
    st.text("ab: ", max_size=4).map(str.encode),
    st.sampled_from([b" \t\n", b":", b": ", b""]),
    st.lists(st.sampled_from([b"p", b"q r", b"", b" "]), max_size=3),
)
def test_random_words_split_as_in_a_real_shell(
    dash: str, folder: Path, text: bytes, x: bytes, y: bytes, separators: bytes, positional: list[bytes]
) -> None:
    values = {b"x": x, b"y": y, b"IFS": separators}
    try:
        ours = fields(b"echo " + text, values, positional, folder)[1:]
    except ShellSyntaxError:
        assume(False)
        raise
    expected = shell_fields(dash, text, values, positional, folder)
    assume(expected is not None)
    if ours != expected and shutil.which("bash"):  # where the two differ, dash is usually the odd one out
        expected = shell_fields("bash --posix", text, values, positional, folder)
    assert ours == expected


def test_substitutions_are_asked_for_and_split() -> None:
    assert fields(b'echo $(a b) "$(c  d)"') == [b"echo", b"[a", b"b]", b"[c  d]"]
    assert fields(b"echo `x`y") == [b"echo", b"[x]y"]


def test_a_missing_parameter_can_be_an_error() -> None:
    with pytest.raises(ExpansionError, match="x: say why"):
        fields(b"echo ${x?say why}")
    with pytest.raises(ExpansionError, match="x: parameter not set"):
        fields(b"echo ${x:?}", {b"x": b""})
    with pytest.raises(ExpansionError, match="cannot be assigned"):
        fields(b"echo ${1:=a}")


def compiled(text: bytes) -> pattern.Pattern:
    return pattern.compile_pattern(pattern.mark([(text, False)]))


@given(st.text("ab*?[]!-^\\", max_size=8), st.text("ab*-]", max_size=8))
def test_patterns_agree_with_the_standard_library(text: str, name: str) -> None:
    """Where the two mean the same: fnmatch knows no ``^``, no backslash and no empty or reversed ranges."""
    import fnmatch

    assume("^" not in text and "\\" not in text and "-" not in text)
    expected = fnmatch.fnmatchcase(name, text)
    assert pattern.matches(compiled(text.encode()), name.encode()) == expected


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not pattern.matches(compiled(b"*a" * 100 + b"*b"), b"a" * 5000)


def test_quoted_stars_are_stars() -> None:
    marked = pattern.mark([(b"a", False), (b"*", True)])
    assert not pattern.has_magic(marked)
    assert pattern.matches(pattern.compile_pattern(marked), b"a*")
    assert not pattern.matches(pattern.compile_pattern(marked), b"ab")


def test_splitting_an_unsplit_fragment_keeps_it() -> None:
    assert expansion.split_fields([], None) == []


def test_dot_and_dot_dot_are_no_match(folder: Path) -> None:
    assert fields(b"echo .*", folder=folder) == [b"echo", b".hidden"]
