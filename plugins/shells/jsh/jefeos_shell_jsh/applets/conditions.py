"""``test`` and ``[``: conditions on strings, numbers and files (POSIX.1-2017, test).

The number of arguments decides what they mean, as POSIX wants it for up to four; beyond that ``-a`` and ``-o`` join
primaries, ``-a`` binding more tightly, with ``!`` and parentheses.
"""

from __future__ import annotations

from jefeos.errors import KernelError
from jefeos.proc.applet import Proc
from jefeos.vfs.inode import Stat

from ..messages import shown
from .common import TYPE_MASK, complain

STATUS_ERROR = 2
NESTING_LIMIT = 50
FILE_TYPES = {
    b"-f": 0o100000, b"-d": 0o040000, b"-L": 0o120000, b"-h": 0o120000, b"-p": 0o010000, b"-c": 0o020000,
    b"-b": 0o060000, b"-S": 0o140000,
}  # fmt: skip
ACCESS_BITS = {b"-r": 4, b"-w": 2, b"-x": 1}
UNARY = {*FILE_TYPES, *ACCESS_BITS, b"-e", b"-s", b"-n", b"-z", b"-t", b"-u", b"-g", b"-k"}
NUMBER_RELATIONS = {b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge"}
BINARY = {b"=", b"==", b"!=", *NUMBER_RELATIONS, b"-nt", b"-ot", b"-ef"}


class ConditionError(Exception):
    """The arguments are no condition."""


async def test(proc: Proc, argv: list[bytes]) -> int:
    """0 if the condition holds, 1 if not, 2 if it is none."""
    arguments = argv[1:]
    if argv[0].rpartition(b"/")[2] == b"[":
        if arguments[-1:] != [b"]"]:
            await complain(proc, argv[0], "']' is missing")
            return STATUS_ERROR
        arguments = arguments[:-1]
    try:
        return int(not _Condition(proc, arguments).value())
    except ConditionError as error:
        await complain(proc, argv[0], str(error))
        return STATUS_ERROR


class _Condition:
    def __init__(self, proc: Proc, arguments: list[bytes]) -> None:
        self.proc = proc
        self.left = arguments
        self.depth = 0

    def value(self) -> bool:
        match self.left:
            case []:
                return False
            case [only]:
                return only != b""
            case [first, operator, second] if operator in BINARY:
                return self.binary(first, operator, second)
            case [b"!", *rest] if len(rest) <= 3:
                return not _Condition(self.proc, rest).value()
            case [b"(", inner, b")"]:
                return inner != b""
        result = self.disjunction()
        if self.left:
            raise ConditionError(f"unexpected {shown(self.left[0])}")
        return result

    def disjunction(self) -> bool:
        result = self.conjunction()
        while self.left[:1] == [b"-o"]:
            self.left = self.left[1:]
            result = self.conjunction() or result
        return result

    def conjunction(self) -> bool:
        result = self.primary()
        while self.left[:1] == [b"-a"]:
            self.left = self.left[1:]
            result = self.primary() and result
        return result

    def primary(self) -> bool:
        self.depth += 1
        if self.depth > NESTING_LIMIT:
            raise ConditionError("nested too deeply")
        try:
            return self._primary()
        finally:
            self.depth -= 1

    def _primary(self) -> bool:
        left = self.left
        if not left:
            raise ConditionError("an argument is missing")
        if len(left) >= 3 and left[1] in BINARY:
            self.left = left[3:]
            return self.binary(left[0], left[1], left[2])
        if left[0] == b"!":
            self.left = left[1:]
            return not self.primary()
        if left[0] == b"(":
            self.left = left[1:]
            result = self.disjunction()
            if self.left[:1] != [b")"]:
                raise ConditionError("')' is missing")
            self.left = self.left[1:]
            return result
        if left[0] in UNARY and len(left) >= 2:
            self.left = left[2:]
            return self.unary(left[0], left[1])
        self.left = left[1:]
        return left[0] != b""

    def unary(self, operator: bytes, operand: bytes) -> bool:
        if operator == b"-n":
            return operand != b""
        if operator == b"-z":
            return operand == b""
        if operator == b"-t":
            return self.proc.isatty(_number(operand))
        try:
            status = self.proc.stat(operand, follow=operator not in (b"-L", b"-h"))
        except KernelError:
            return False
        if operator in FILE_TYPES:
            return status.mode & TYPE_MASK == FILE_TYPES[operator]
        if operator in ACCESS_BITS:
            try:
                self.proc.kernel.vfs.access(self.proc.task, operand, ACCESS_BITS[operator])
            except KernelError:
                return False
            return True
        if operator == b"-s":
            return status.size > 0
        special = {b"-u": 0o4000, b"-g": 0o2000, b"-k": 0o1000}.get(operator)
        return special is None or bool(status.mode & special)

    def binary(self, first: bytes, operator: bytes, second: bytes) -> bool:
        if operator in (b"=", b"=="):
            return first == second
        if operator == b"!=":
            return first != second
        if operator in NUMBER_RELATIONS:
            a, b = _number(first), _number(second)
            return {
                b"-eq": a == b, b"-ne": a != b, b"-lt": a < b, b"-le": a <= b, b"-gt": a > b, b"-ge": a >= b,
            }[operator]  # fmt: skip
        statuses: list[Stat | None] = []
        for path in (first, second):
            try:
                statuses.append(self.proc.stat(path))
            except KernelError:
                statuses.append(None)
        one, other = statuses
        if operator == b"-ef":
            return one is not None and other is not None and (one.dev, one.ino) == (other.dev, other.ino)
        if operator == b"-ot":
            one, other = other, one
        return one is not None and (other is None or one.mtime_ns > other.mtime_ns)


def _number(text: bytes) -> int:
    stripped = text.strip()
    digits = stripped[1:] if stripped[:1] in (b"-", b"+") else stripped
    if not digits.isdigit() or len(digits) > 18:
        raise ConditionError(f"{shown(text)} is no number")
    return int(stripped)
