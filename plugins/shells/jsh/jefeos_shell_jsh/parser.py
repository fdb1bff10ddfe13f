"""From text to commands: the scanner for words and the parser for what joins them. Pure: text in, `Program` out.

Follows POSIX.1-2017, Shell Command Language, sections 2.2 (quoting), 2.3 (tokens), 2.6 (what ``$`` begins) and
2.10 (grammar), for the part of the language that jsh has: simple commands, pipelines, lists. Compound commands
(``if``, ``for``, ``( )`` ...), functions, here-documents and arithmetic are recognised and refused with one clear line
instead of being taken for commands.
"""

from __future__ import annotations

import re

from .syntax import (
    AndOr,
    Assignment,
    IncompleteInput,
    Item,
    Parameter,
    Part,
    Pipeline,
    Program,
    Redirection,
    ShellSyntaxError,
    Simple,
    Substitution,
    Text,
    Word,
)

NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
ASSIGNMENT = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*)=")
DIGITS = re.compile(rb"[0-9]+")
SPECIAL_PARAMETERS = b"@*#?-$!0123456789"
BLANKS = b" \t"
WORD_END = b" \t\n|&;<>()"
OPERATORS = (
    b"&&",
    b"||",
    b";;",
    b"<<",
    b">>",
    b"<&",
    b">&",
    b"<>",
    b">|",
    b"|",
    b"&",
    b";",
    b"<",
    b">",
    b"(",
    b")",
)
REDIRECTIONS = {b"<": 0, b"<>": 0, b"<&": 0, b">": 1, b">>": 1, b">|": 1, b">&": 1}
PARAMETER_OPERATORS = (b":-", b":=", b":?", b":+", b"%%", b"##", b"-", b"=", b"?", b"+", b"%", b"#")
RESERVED_WORDS = frozenset(b"if then else elif fi do done case esac while until for { } function".split())
ESCAPED_IN_DOUBLE_QUOTES = b'$`"\\'
NESTING_LIMIT = 40


def parse(text: bytes) -> Program:
    """Parse a whole program. Errors: `IncompleteInput` if more lines could mend it, else `ShellSyntaxError`."""
    parser = _Parser(text)
    program = parser.program()
    if parser.position < len(text):
        raise parser.error(f"unexpected '{parser.shown()}'")
    return program


class _Parser:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.position = 0
        self.depth = 0

    # --- lists of commands -------------------------------------------------------------------------------------

    def program(self) -> Program:
        """Items up to the end of the text or a closing parenthesis."""
        items: list[Item] = []
        while True:
            self.skip_newlines()
            if self.position >= len(self.text) or self.text[self.position] == ord(")"):
                return tuple(items)
            start = self.position
            commands = self.and_or()
            source = self.text[start : self.position].strip()
            operator = self.operator()
            items.append(Item(commands, operator == b"&", source))
            if operator in (b"&", b";"):
                self.take(operator)
            elif operator is not None and operator != b")":
                raise self.error(f"unexpected '{self.shown()}'")

    def and_or(self) -> AndOr:
        first = self.pipeline()
        rest = []
        while (operator := self.operator()) in (b"&&", b"||"):
            assert operator is not None
            self.take(operator)
            self.skip_newlines()
            rest.append((operator, self.pipeline()))
        return AndOr(first, tuple(rest))

    def pipeline(self) -> Pipeline:
        self.skip_blanks()
        negated = False
        while self.text[self.position : self.position + 1] == b"!" and self.ends_word(self.position + 1):
            negated = not negated
            self.position += 1
            self.skip_blanks()
        commands = [self.simple()]
        while self.operator() == b"|":
            self.take(b"|")
            self.skip_newlines()
            commands.append(self.simple())
        return Pipeline(tuple(commands), negated)

    def simple(self) -> Simple:
        assignments: list[Assignment] = []
        words: list[Word] = []
        redirections: list[Redirection] = []
        self.skip_blanks()
        line = self.line()
        while True:
            self.skip_blanks()
            redirection = self.redirection()
            if redirection is not None:
                redirections.append(redirection)
                continue
            if self.position >= len(self.text) or self.text[self.position] in b"\n|&;<>()":
                break
            start = self.position
            word = self.word()
            if not words:
                assignment = as_assignment(word)
                if assignment is not None:
                    assignments.append(assignment)
                    continue
                if len(word) == 1 and word[0] == Text(self.text[start : self.position]):
                    plain = self.text[start : self.position]
                    if plain in RESERVED_WORDS:
                        raise self.error(f"'{plain.decode()}': jsh has no compound commands")
            words.append(word)
        if not (assignments or words or redirections):
            if self.position >= len(self.text):
                raise self.incomplete("a command is missing at the end")
            if self.text[self.position] == ord("("):
                raise self.error("'(': jsh has no subshells")
            raise self.error(f"unexpected '{self.shown()}'")
        if self.text[self.position : self.position + 1] == b"(":
            raise self.error("'(': jsh has no functions")
        return Simple(tuple(assignments), tuple(words), tuple(redirections), line)

    def redirection(self) -> Redirection | None:
        """A redirection that begins here, if one does."""
        digits = DIGITS.match(self.text, self.position)
        start = digits.end() if digits else self.position
        if self.text[start : start + 1] not in (b"<", b">"):
            return None
        operator = next(op for op in OPERATORS if self.text.startswith(op, start))
        self.position = start + len(operator)
        if operator == b"<<":
            raise self.error("'<<': jsh has no here-documents")
        if digits is not None and len(digits[0]) > 4:
            raise self.error("a descriptor's number is too large")
        descriptor = int(digits[0]) if digits else REDIRECTIONS[operator]
        self.skip_blanks()
        if self.position >= len(self.text):
            raise self.incomplete(f"'{operator.decode()}' has no file name")
        if self.text[self.position] in b"\n|&;<>()":
            raise self.error(f"unexpected '{self.shown()}' after '{operator.decode()}'")
        return Redirection(descriptor, operator, self.word())

    # --- words -------------------------------------------------------------------------------------------------

    def word(self) -> Word:
        """A word up to the next blank or operator outside of quotes."""
        return self.parts(WORD_END)

    def parts(self, end: bytes) -> Word:
        """Parts up to an unquoted byte of ``end``."""
        parts: list[Part] = []
        plain = bytearray()
        text = self.text

        def flush() -> None:
            if plain:
                parts.append(Text(bytes(plain)))
                plain.clear()

        while self.position < len(text):
            byte = text[self.position]
            if byte in end:
                break
            if byte == ord("\\"):
                escaped = text[self.position + 1 : self.position + 2]
                self.position += 2
                if escaped == b"\n":
                    continue
                if not escaped:
                    self.position = len(text)
                    plain += b"\\"  # the last byte of the text stands for itself
                    continue
                flush()
                parts.append(Text(escaped, quoted=True))
            elif byte == ord("'"):
                flush()
                close = text.find(b"'", self.position + 1)
                if close < 0:
                    raise self.incomplete("a ' has no end")
                parts.append(Text(text[self.position + 1 : close], quoted=True))
                self.position = close + 1
            elif byte == ord('"'):
                flush()
                self.position += 1
                parts += self.double_quoted()
            elif byte in b"$`":
                part = self.dollar_or_backquote(quoted=False)
                if part is None:
                    plain.append(byte)
                else:
                    flush()
                    parts.append(part)
            else:
                plain.append(byte)
                self.position += 1
        flush()
        return tuple(parts)

    def double_quoted(self) -> list[Part]:
        """What is between double quotes, the opening one already passed. Never empty: ``""`` is a field."""
        parts: list[Part] = []
        plain = bytearray()
        text = self.text
        while True:
            if self.position >= len(text):
                raise self.incomplete('a " has no end')
            byte = text[self.position]
            if byte == ord('"'):
                self.position += 1
                break
            if byte == ord("\\"):
                escaped = text[self.position + 1 : self.position + 2]
                if escaped == b"\n":
                    self.position += 2
                    continue
                if escaped and escaped in ESCAPED_IN_DOUBLE_QUOTES:
                    plain += escaped
                    self.position += 2
                    continue
            elif byte in b"$`":
                part = self.dollar_or_backquote(quoted=True)
                if part is not None:
                    if plain:
                        parts.append(Text(bytes(plain), quoted=True))
                        plain.clear()
                    parts.append(part)
                else:
                    plain.append(byte)
                continue
            plain.append(byte)
            self.position += 1
        if plain or not parts:
            parts.append(Text(bytes(plain), quoted=True))
        return parts

    def dollar_or_backquote(self, quoted: bool) -> Part | None:
        """What a ``$`` or a backquote begins; None (one byte passed) if the ``$`` stands for itself."""
        text = self.text
        if text[self.position] == ord("`"):
            return self.backquoted(quoted)
        following = text[self.position + 1 : self.position + 2]
        if following == b"(":
            if text.startswith(b"((", self.position + 1):
                raise self.error("'$((': jsh has no arithmetic")
            return self.substitution(quoted)
        if following == b"{":
            self.position += 2
            return self.braced(quoted)
        name = NAME.match(text, self.position + 1)
        if name is not None:
            self.position = name.end()
            return Parameter(name[0], quoted=quoted)
        self.position += 1
        if following and following in SPECIAL_PARAMETERS:
            self.position += 1
            return Parameter(following, quoted=quoted)
        return None

    def substitution(self, quoted: bool) -> Substitution:
        self.enter()
        self.position += 2
        start = self.position
        self.program()
        if self.position >= len(self.text):
            raise self.incomplete("a $( has no end")
        script = self.text[start : self.position]
        self.position += 1
        self.depth -= 1
        return Substitution(script, quoted)

    def backquoted(self, quoted: bool) -> Substitution:
        """The old form: inside, a backslash escapes ``$``, itself and the backquote (and ``"`` within quotes)."""
        script = bytearray()
        position = self.position + 1
        escapes = b'$`\\"' if quoted else b"$`\\"
        while position < len(self.text):
            byte = self.text[position]
            if byte == ord("`"):
                self.position = position + 1
                parse(bytes(script))  # a mistake in it is reported with the whole text
                return Substitution(bytes(script), quoted)
            if byte == ord("\\") and self.text[position + 1 : position + 2] in [bytes([c]) for c in escapes]:
                position += 1
                byte = self.text[position]
            script.append(byte)
            position += 1
        raise self.incomplete("a ` has no end")

    def braced(self, quoted: bool) -> Parameter:
        """``${...}``, the opening brace already passed."""
        text = self.text
        is_length = (
            text[self.position : self.position + 1] == b"#"
            and text[self.position + 1 : self.position + 2] != b"}"
        )
        start = self.position + is_length
        match = NAME.match(text, start) or DIGITS.match(text, start)
        name = match[0] if match else text[start : start + 1]
        if not match and (not name or name not in SPECIAL_PARAMETERS):
            if b"}" not in text[start:]:
                raise self.incomplete("a ${ has no end")
            raise self.error("bad name after '${'")
        self.position = start + len(name)
        operator = b"length" if is_length else b""
        argument: Word | None = None
        if not is_length:
            operator = next((op for op in PARAMETER_OPERATORS if text.startswith(op, self.position)), b"")
            self.position += len(operator)
            if operator:
                self.enter()
                argument = self.parts_in_braces(quoted and operator not in (b"%", b"%%", b"#", b"##"))
                self.depth -= 1
        if self.position >= len(text):
            raise self.incomplete("a ${ has no end")
        if text[self.position] != ord("}"):
            raise self.error(f"unexpected '{self.shown()}' in '${{'")
        self.position += 1
        return Parameter(name, operator, argument, quoted)

    def parts_in_braces(self, quoted: bool) -> Word:
        """The word of ``${name-word}``. Inside double quotes, single quotes in it stand for themselves."""
        if not quoted:
            return self.parts(b"}")
        parts: list[Part] = []
        text = self.text
        while self.position < len(text) and text[self.position] != ord("}"):
            byte = text[self.position]
            if byte == ord('"'):
                self.position += 1
                parts += self.double_quoted()
                continue
            if byte == ord("\\") and text[self.position + 1 : self.position + 2] in (
                b"$",
                b"`",
                b'"',
                b"\\",
                b"}",
            ):
                self.position += 1
            elif byte in b"$`":
                part = self.dollar_or_backquote(quoted=True)
                parts.append(Text(b"$", quoted=True) if part is None else part)
                continue
            parts.append(Text(text[self.position : self.position + 1], quoted=True))
            self.position += 1
        return tuple(parts)

    # --- small steps -------------------------------------------------------------------------------------------

    def operator(self) -> bytes | None:
        """The operator that comes next on this line, if one does."""
        self.skip_blanks()
        return next((op for op in OPERATORS if self.text.startswith(op, self.position)), None)

    def take(self, operator: bytes) -> None:
        self.position += len(operator)

    def skip_blanks(self) -> None:
        """Pass blanks, continued lines and a comment."""
        text = self.text
        while self.position < len(text):
            if text[self.position] in BLANKS:
                self.position += 1
            elif text.startswith(b"\\\n", self.position):
                self.position += 2
            elif text[self.position] == ord("#"):
                end = text.find(b"\n", self.position)
                self.position = len(text) if end < 0 else end
            else:
                return

    def skip_newlines(self) -> None:
        self.skip_blanks()
        while self.text[self.position : self.position + 1] == b"\n":
            self.position += 1
            self.skip_blanks()

    def ends_word(self, position: int) -> bool:
        return position >= len(self.text) or self.text[position] in WORD_END

    def enter(self) -> None:
        self.depth += 1
        if self.depth > NESTING_LIMIT:
            raise self.error("nested too deeply")

    def line(self) -> int:
        return self.text.count(b"\n", 0, self.position) + 1

    def shown(self) -> str:
        """What stands here, for messages."""
        operator = next((op for op in OPERATORS if self.text.startswith(op, self.position)), None)
        if operator is None:
            operator = self.text[self.position : self.position + 1]
        return "newline" if operator == b"\n" else operator.decode("latin-1") or "end of file"

    def error(self, message: str) -> ShellSyntaxError:
        return ShellSyntaxError(self.line(), message)

    def incomplete(self, message: str) -> IncompleteInput:
        return IncompleteInput(self.line(), message)


def as_assignment(word: Word) -> Assignment | None:
    """The assignment that a word is, if its beginning is an unquoted ``name=``."""
    if not word or not isinstance(word[0], Text) or word[0].quoted:
        return None
    match = ASSIGNMENT.match(word[0].text)
    if match is None:
        return None
    value = word[0].text[match.end() :]
    return Assignment(match[1], ((Text(value),) if value else ()) + word[1:])


def is_complete(text: bytes) -> bool:
    """Whether the text needs no further line: it parses, or no further line could mend it.

    A line that ends in a backslash goes on in the next one.
    """
    if text.endswith(b"\\\n") and (len(text) - len(text[:-1].rstrip(b"\\"))) % 2 == 0:
        return False
    try:
        parse(text)
    except IncompleteInput:
        return False
    except ShellSyntaxError:
        return True
    return True
