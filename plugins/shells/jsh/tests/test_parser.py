"""The parser: shapes, refusals, and that nothing but its own errors comes out of any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jefeos_shell_jsh.parser import is_complete, parse
from jefeos_shell_jsh.syntax import (
    AndOr,
    Assignment,
    IncompleteInput,
    Item,
    Parameter,
    Pipeline,
    Redirection,
    ShellSyntaxError,
    Simple,
    Substitution,
    Text,
)


def simple(text: bytes) -> Simple:
    (item,) = parse(text)
    (command,) = item.commands.first.commands
    return command


def words(text: bytes) -> list[object]:
    return [list(word) for word in simple(text).words]


def test_a_list_of_everything() -> None:
    items = parse(b"a=1 cmd x <in 2>>err | wc && ! other & last; # comment\n\n next")
    assert [item.background for item in items] == [True, False, False]
    assert items[0] == Item(
        AndOr(
            Pipeline(
                (
                    Simple(
                        (Assignment(b"a", (Text(b"1"),)),),
                        ((Text(b"cmd"),), (Text(b"x"),)),
                        (Redirection(0, b"<", (Text(b"in"),)), Redirection(2, b">>", (Text(b"err"),))),
                        1,
                    ),
                    Simple((), ((Text(b"wc"),),), (), 1),
                )
            ),
            ((b"&&", Pipeline((Simple((), ((Text(b"other"),),), (), 1),), negated=True)),),
        ),
        background=True,
        source=b"a=1 cmd x <in 2>>err | wc && ! other",
    )
    assert items[2].commands.first.commands[0].line == 3


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"'a b'", [Text(b"a b", True)]),
        (b'"a b"', [Text(b"a b", True)]),
        (b'""', [Text(b"", True)]),
        (b"a\\ b", [Text(b"a"), Text(b" ", True), Text(b"b")]),
        (b"a\\\nb", [Text(b"ab")]),
        (b'"a\\\nb\\q\\""', [Text(b'ab\\q"', True)]),
        (b"$x", [Parameter(b"x")]),
        (b"$1x", [Parameter(b"1"), Text(b"x")]),
        (b"${10}", [Parameter(b"10")]),
        (b'"$x y"', [Parameter(b"x", quoted=True), Text(b" y", True)]),
        (b"$", [Text(b"$")]),
        (b"a$.b", [Text(b"a$.b")]),
        (b"${#x}", [Parameter(b"x", b"length")]),
        (b"${#}", [Parameter(b"#")]),
        (b"${x:-a b}", [Parameter(b"x", b":-", (Text(b"a b"),))]),
        (b"${x%'.'*}", [Parameter(b"x", b"%", (Text(b".", True), Text(b"*")))]),
        (b"$(echo 'a)' # )\n)", [Substitution(b"echo 'a)' # )\n")]),
        (b"`echo \\`x\\``", [Substitution(b"echo `x`")]),
        (b'"`a`$(b)"', [Substitution(b"a", True), Substitution(b"b", True)]),
        (b"a#b", [Text(b"a#b")]),
        (b"a=b", None),
        (b"\xff\xfe", [Text(b"\xff\xfe")]),
    ],
)
def test_words(text: bytes, parts: list[object] | None) -> None:
    assert words(b"cmd " + text) == [[Text(b"cmd")], parts or [Text(text)]]


def test_descriptors_before_redirections() -> None:
    command = simple(b"a 2>&1 3 <x >|y 1>&- <>z")
    assert [(item.descriptor, item.operator) for item in command.redirections] == [
        (2, b">&"), (0, b"<"), (1, b">|"), (1, b">&"), (0, b"<>"),
    ]  # fmt: skip
    assert len(command.words) == 2


@pytest.mark.parametrize(
    "text",
    [b"'a", b'"a', b"a |", b"a &&", b"a || \n", b"$(a", b"${a", b"`a", b"a \\\n", b'"${a:-"x', b"!", b"a >"],
)
def test_what_more_lines_could_mend(text: bytes) -> None:
    if text.endswith(b"\\\n"):
        assert not is_complete(text)
        return
    with pytest.raises(IncompleteInput):
        parse(text)
    assert not is_complete(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a\n| b", "line 2: syntax error: unexpected '|'"),
        (b"&& a", "line 1: syntax error: unexpected '&&'"),
        (b"a ;; b", "unexpected ';;'"),
        (b"a )", "unexpected '\\)'"),
        (b"> > x", "unexpected '>' after '>'"),
        (b"> \n", "unexpected 'newline' after '>'"),
        (b"if true", "'if': jsh has no compound commands"),
        (b"a; { b; }", "'{': jsh has no compound commands"),
        (b"(a)", "'\\(': jsh has no subshells"),
        (b"f() x", "'\\(': jsh has no functions"),
        (b"cat <<EOF", "'<<': jsh has no here-documents"),
        (b"echo $((1))", "jsh has no arithmetic"),
        (b"echo ${x!}", "unexpected '!'"),
        (b"echo ${}", "bad name"),
        (b"99999>x", "too large"),
        (b"$(" * 60, "nested too deeply"),
    ],
)
def test_mistakes_are_one_clear_line(text: bytes, message: str) -> None:
    with pytest.raises(ShellSyntaxError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, IncompleteInput)
    assert is_complete(text)


def test_quoted_words_are_no_reserved_words() -> None:
    assert words(b"'if' x") == [[Text(b"if", True)], [Text(b"x")]]
    assert words(b"echo if") == [[Text(b"echo")], [Text(b"if")]]


PIECES = [b"a", b" ", b"\n", b"'", b'"', b"\\", b"$", b"${", b"}", b"$(", b")", b"`", b"|", b"&", b";", b"<", b">",
          b"#", b"x=", b"!", b"*", b"2", b":-", b"%", b"\xff", b"\0", b"if", b"("]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=60))
def test_any_text_parses_or_is_a_syntax_error(text: bytes) -> None:
    line = 1
    try:
        parse(text)
    except ShellSyntaxError as error:
        line = error.line
    assert 1 <= line <= text.count(b"\n") + 1
    is_complete(text)
