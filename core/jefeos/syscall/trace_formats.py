"""How a trace shows arguments: by their declared kind, and for the common calls by what they mean.

`FORMATS` maps a call to formatters for some of its arguments, by name; everything else goes by kind: descriptors
and numbers in decimal, modes in octal, flags and addresses in hexadecimal, paths in quotes. A formatter takes a
`CallView` and an index and gives text; those in `OUTPUT` wait until the call has ended. Empty text leaves an
argument out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from jefeos.errors import KernelError
from jefeos.proc.signals import signal_name
from jefeos.syscall.trace_names import ERROR_TEXTS, FLAGS, HEXADECIMAL_RESULTS, VALUES

if TYPE_CHECKING:
    from jefeos.syscall.declare import SyscallDeclaration

STRING_LIMIT: Final = 32
"""Bytes of a buffer that are shown (strace's ``-s``)."""
_PATH_LIMIT: Final = 4096
_ARRAY_LIMIT: Final = 32
_U64: Final = (1 << 64) - 1
_RAW_ARGUMENTS: Final = 6


@define(eq=False)
class CallView:
    """One call as the formatters see it."""

    task: Any
    name: str
    declaration: SyscallDeclaration | None
    raw: tuple[int, ...]
    result: int | None = None

    @property
    def count(self) -> int:
        """How many arguments to show; all six registers of a call that nobody declared."""
        return len(self.declaration.arguments) if self.declaration is not None else _RAW_ARGUMENTS

    def kind(self, index: int) -> str:
        """The declared kind of an argument."""
        return self.declaration.arguments[index].kind.name if self.declaration is not None else "pointer"

    def argument_name(self, index: int) -> str:
        """Its declared name."""
        return self.declaration.arguments[index].name if self.declaration is not None else ""

    def value(self, index: int) -> int:
        """Its number, as its kind decodes it."""
        raw = self.raw[index]
        kind = self.kind(index)
        if kind in ("fd", "int"):
            return ((raw & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
        if kind in ("uint", "flags", "mode"):
            return raw & 0xFFFF_FFFF
        if kind == "long":
            return (raw ^ (1 << 63)) - (1 << 63)
        return raw

    def failed(self) -> bool:
        """Whether the call ended with an error."""
        return self.result is None or self.result < 0

    def read(self, address: int, length: int) -> bytes | None:
        """User memory; None where it cannot be read."""
        try:
            data: bytes = self.task.mm.read(address, length)
        except (KernelError, AttributeError):
            return None
        return data


Format = Callable[[CallView, int], str]


def format_argument(view: CallView, index: int) -> str:
    """The text of one argument."""
    special = FORMATS.get(view.name, {}).get(view.argument_name(index))
    return special(view, index) if special is not None else by_kind(view, index)


def is_output(view: CallView, index: int) -> bool:
    """Whether an argument is known only when the call has ended."""
    return FORMATS.get(view.name, {}).get(view.argument_name(index)) in OUTPUT


def by_kind(view: CallView, index: int) -> str:
    """The text that an argument's declared kind gives."""
    kind = view.kind(index)
    value = view.value(index)
    if kind in ("path", "string"):
        return path(view, index)
    if kind == "pointer":
        return pointer(value)
    if kind == "mode":
        return octal(value)
    if kind == "flags":
        names = FLAGS.get(f"{view.name}.{view.argument_name(index)}")
        return flags(value, names) if names else (f"{value:#x}" if value else "0")
    if kind == "fd" and value == -100:
        return "AT_FDCWD"
    if kind in ("ulong", "uint") and value >= 1 << 24:
        return f"{value:#x}"
    values = VALUES.get(f"{view.name}.{view.argument_name(index)}")
    return values.get(value, str(value)) if values else str(value)


def pointer(value: int) -> str:
    """An address."""
    return f"{value:#x}" if value else "NULL"


def octal(value: int) -> str:
    """A file mode, with a leading zero."""
    return f"0{value:o}" if value else "000"


def flags(value: int, names: dict[int, str]) -> str:
    """Bits by name, joined by ``|``; what has no name in hexadecimal. A name for 0 stands for no bit at all."""
    if not value and 0 in names:
        return names[0]
    known = []
    rest = value
    for bit, name in names.items():
        if bit and rest & bit == bit:
            known.append(name)
            rest &= ~bit
    if rest:
        known.append(f"{rest:#x}")
    return "|".join(known) or "0"


_ESCAPES: Final = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quoted(data: bytes, limit: int = STRING_LIMIT, *, more: bool = False) -> str:
    """Bytes as a C string, cut at ``limit`` with dots."""
    text = []
    shown = data[:limit]
    for index, byte in enumerate(shown):
        if byte in _ESCAPES:
            text.append(_ESCAPES[byte])
        elif 32 <= byte < 127:
            text.append(chr(byte))
        else:
            digit_follows = index + 1 < len(shown) and 48 <= shown[index + 1] <= 55
            text.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    dots = "..." if more or len(data) > limit else ""
    return f'"{"".join(text)}"{dots}'


def path(view: CallView, index: int) -> str:
    """A NUL-terminated string of the program."""
    return _string_at(view, view.raw[index])


def _string_at(view: CallView, address: int) -> str:
    if not address:
        return "NULL"
    try:
        return quoted(view.task.mm.read_cstr(address, _PATH_LIMIT), _PATH_LIMIT)
    except (KernelError, AttributeError):
        return f"{address:#x}"


# --- formatters with a meaning ---------------------------------------------------------------------------------


def given(length_index: int) -> Format:
    """A buffer that the program passes; its length is another argument."""

    def show(view: CallView, index: int) -> str:
        length = view.raw[length_index]
        data = view.read(view.raw[index], min(length, STRING_LIMIT + 1))
        return pointer(view.raw[index]) if data is None else quoted(data, more=length > STRING_LIMIT)

    return show


def _returned(view: CallView, index: int) -> str:
    """A buffer that the call filled; its result is the length."""
    if view.failed():
        return pointer(view.raw[index])
    length = view.result or 0
    data = view.read(view.raw[index], min(length, STRING_LIMIT + 1))
    return pointer(view.raw[index]) if data is None else quoted(data, more=length > STRING_LIMIT)


def _returned_string(view: CallView, index: int) -> str:
    """A string that the call wrote, with its NUL."""
    return pointer(view.raw[index]) if view.failed() else _string_at(view, view.raw[index])


def _descriptor_pair(view: CallView, index: int) -> str:
    data = None if view.failed() else view.read(view.raw[index], 8)
    if data is None:
        return pointer(view.raw[index])
    return f"[{int.from_bytes(data[:4], 'little')}, {int.from_bytes(data[4:], 'little')}]"


def _stat(view: CallView, index: int) -> str:
    data = None if view.failed() else view.read(view.raw[index], 144)
    if data is None:
        return pointer(view.raw[index])
    mode = int.from_bytes(data[24:28], "little")
    kind = VALUES["file type"].get(mode & 0o170000, octal(mode & 0o170000))
    rdev = int.from_bytes(data[40:48], "little")
    size = f"st_size={int.from_bytes(data[48:56], 'little')}"
    if kind in ("S_IFCHR", "S_IFBLK"):
        size = f"st_rdev=makedev({rdev >> 8 & 0xFFF:#x}, {rdev & 0xFF:#x})"
    return f"{{st_mode={kind}|{octal(mode & 0o7777)}, {size}, ...}}"


def _strings(view: CallView, index: int) -> str:
    """A NULL-terminated array of strings (argv)."""
    address = view.raw[index]
    if not address:
        return "NULL"
    shown: list[str] = []
    while len(shown) <= _ARRAY_LIMIT:
        word = view.read(address, 8)
        if word is None:
            return pointer(view.raw[index])
        string = int.from_bytes(word, "little")
        if not string:
            return f"[{', '.join(shown)}]"
        shown.append(_string_at(view, string))
        address += 8
    return f"[{', '.join(shown[:_ARRAY_LIMIT])}, ...]"


def _variables(view: CallView, index: int) -> str:
    """An environment: only how many there are."""
    address = view.raw[index]
    count = 0
    while word := view.read(address + 8 * count, 8):
        if not any(word):
            return f"{pointer(address)} /* {count} var{'' if count == 1 else 's'} */"
        count += 1
    return pointer(address)


def _wait_status(view: CallView, index: int) -> str:
    data = view.read(view.raw[index], 4) if view.raw[index] and view.result else None
    if data is None or view.failed():
        return pointer(view.raw[index])
    status = int.from_bytes(data, "little")
    if status & 0xFF == 0x7F:
        return f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8)}}}]"
    if status & 0x7F:
        core = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(status & 0x7F)}{core}}}]"
    return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8}}}]"


def _signal(view: CallView, index: int) -> str:
    value = view.value(index)
    return signal_name(value) if value > 0 else str(value)


def _open_flags(view: CallView, index: int) -> str:
    return _open_flag_names(view.value(index))


def _open_flag_names(value: int) -> str:
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3]
    rest = flags(value & ~3, FLAGS["open"]) if value & ~3 else ""
    return f"{access}|{rest}" if rest else access


def _create_mode(flags_index: int) -> Format:
    """The mode of open counts only with O_CREAT or O_TMPFILE."""

    def show(view: CallView, index: int) -> str:
        return octal(view.value(index)) if view.raw[flags_index] & 0o20000100 else ""

    return show


def _fcntl_argument(view: CallView, index: int) -> str:
    command = VALUES["fcntl"].get(view.value(1), "")
    if command in ("F_GETFD", "F_GETFL", "F_GETOWN", "F_GETSIG", "F_GETPIPE_SZ", "F_GET_SEALS", "F_GETLEASE"):
        return ""
    if command == "F_SETFD":
        return flags(view.value(index), {0: "0", 1: "FD_CLOEXEC"})
    return _open_flags(view, index) if command == "F_SETFL" else by_number(view, index)


def _poll_set(view: CallView, index: int) -> str:
    count = view.raw[1] & 0xFFFF_FFFF
    data = view.read(view.raw[index], 8 * min(count, _ARRAY_LIMIT))
    if data is None:
        return pointer(view.raw[index])
    shown = []
    for start in range(0, len(data), 8):
        fd = int.from_bytes(data[start : start + 4], "little", signed=True)
        events = flags(int.from_bytes(data[start + 4 : start + 6], "little"), FLAGS["poll"])
        shown.append(f"{{fd={fd}, events={events}}}")
    return f"[{', '.join(shown)}]"


def _signal_set(view: CallView, index: int) -> str:
    data = view.read(view.raw[index], 8) if view.raw[index] else None
    if data is None:
        return pointer(view.raw[index])
    mask = int.from_bytes(data, "little")
    names = [signal_name(number).removeprefix("SIG") for number in range(1, 65) if mask >> (number - 1) & 1]
    if len(names) > _ARRAY_LIMIT:
        others = [signal_name(n).removeprefix("SIG") for n in range(1, 65) if not mask >> (n - 1) & 1]
        return f"~[{' '.join(others)}]"
    return f"[{' '.join(names)}]"


def _signal_action(view: CallView, index: int) -> str:
    data = view.read(view.raw[index], 32) if view.raw[index] else None
    if data is None:
        return pointer(view.raw[index])
    handler, action_flags = (int.from_bytes(data[start : start + 8], "little") for start in (0, 8))
    name = {0: "SIG_DFL", 1: "SIG_IGN"}.get(handler, pointer(handler))
    return f"{{sa_handler={name}, sa_flags={flags(action_flags, FLAGS['sigaction'])}}}"


def _time(view: CallView, index: int) -> str:
    data = view.read(view.raw[index], 16) if view.raw[index] else None
    if data is None:
        return pointer(view.raw[index])
    seconds, fraction = (int.from_bytes(data[start : start + 8], "little", signed=True) for start in (0, 8))
    return f"{{tv_sec={seconds}, tv_nsec={fraction}}}"


def _flags_of(names: str) -> Format:
    return lambda view, index: flags(view.value(index) & _U64, FLAGS[names])


def _value_of(names: str) -> Format:
    return lambda view, index: VALUES[names].get(view.value(index), by_number(view, index))


def by_number(view: CallView, index: int) -> str:
    """A number that has no name."""
    value = view.value(index)
    return f"{value:#x}" if value > 0xFFF else str(value)


def _poll_result(view: CallView) -> str:
    """Which descriptors have which events."""
    result = view.result or 0
    if not result:
        return "0 (Timeout)"
    data = view.read(view.raw[0], 8 * min(view.raw[1] & 0xFFFF_FFFF, _ARRAY_LIMIT)) or b""
    ready = []
    for start in range(0, len(data), 8):
        events = int.from_bytes(data[start + 6 : start + 8], "little")
        if events:
            fd = int.from_bytes(data[start : start + 4], "little", signed=True)
            ready.append(f"{{fd={fd}, revents={flags(events, FLAGS['poll'])}}}")
    return f"{result} ([{', '.join(ready)}])"


def _fcntl_result(view: CallView) -> str:
    result = view.result or 0
    command = VALUES["fcntl"].get(view.value(1))
    if command == "F_GETFL":
        return f"{result:#x} (flags {_open_flag_names(result)})"
    if command == "F_GETFD" and result:
        return f"{result:#x} (flags FD_CLOEXEC)"
    return str(result)


RESULTS: Final[dict[str, Callable[[CallView], str]]] = {
    "poll": _poll_result,
    "ppoll": _poll_result,
    "fcntl": _fcntl_result,
}
"""How the results of some calls are shown, if they are no errors."""

OUTPUT: Final[frozenset[Format]] = frozenset((_returned, _returned_string, _descriptor_pair, _stat, _wait_status))

_read: Final[dict[str, Format]] = {"buffer": _returned}
_signals: Final[dict[str, Format]] = {"signo": _signal, "signal": _signal, "sig": _signal}
FORMATS: Final[dict[str, dict[str, Format]]] = {
    "read": _read,
    "pread64": _read,
    "write": {"buffer": given(2)},
    "pwrite64": {"buffer": given(2)},
    "readlink": _read,
    "readlinkat": _read,
    "getcwd": {"buffer": _returned_string},
    "getrandom": {"buffer": _returned, "flags": _flags_of("getrandom")},
    "open": {"flags": _open_flags, "mode": _create_mode(1)},
    "openat": {"flags": _open_flags, "mode": _create_mode(2)},
    "stat": {"buffer": _stat},
    "lstat": {"buffer": _stat},
    "fstat": {"buffer": _stat},
    "newfstatat": {"buffer": _stat, "flags": _flags_of("at")},
    "statx": {"path": path, "flags": _flags_of("at")},
    "faccessat2": {"mode": _flags_of("access"), "flags": _flags_of("at")},
    "faccessat": {"mode": _flags_of("access")},
    "access": {"mode": _flags_of("access")},
    "unlinkat": {"flags": lambda view, index: flags(view.value(index), {0x200: "AT_REMOVEDIR"})},
    "lseek": {"whence": _value_of("whence")},
    "pipe": {"descriptors": _descriptor_pair},
    "pipe2": {"descriptors": _descriptor_pair, "flags": _flags_of("open")},
    "dup3": {"flags": _flags_of("open")},
    "fcntl": {"command": _value_of("fcntl"), "argument": _fcntl_argument},
    "ioctl": {"request": _value_of("ioctl")},
    "mmap": {"prot": _flags_of("prot"), "flags": _flags_of("mmap"), "address": lambda v, i: pointer(v.raw[i])},
    "munmap": {"address": lambda v, i: pointer(v.raw[i])},
    "mprotect": {"prot": _flags_of("prot"), "address": lambda v, i: pointer(v.raw[i])},
    "brk": {"address": lambda v, i: pointer(v.raw[i])},
    "execve": {"argv": _strings, "envp": _variables},
    "execveat": {"argv": _strings, "envp": _variables},
    "wait4": {"status": _wait_status, "options": _flags_of("wait")},
    "poll": {"descriptors": _poll_set},
    "ppoll": {"descriptors": _poll_set},
    "kill": _signals,
    "tkill": _signals,
    "tgkill": _signals,
    "rt_sigaction": {**_signals, "new": _signal_action, "action": _signal_action},
    "rt_sigprocmask": {"how": _value_of("sigprocmask"), "new": _signal_set, "set": _signal_set, "mask": _signal_set},
    "rt_sigsuspend": {"mask": _signal_set, "set": _signal_set},
    "nanosleep": {"request": _time, "duration": _time},
    "clone": {"flags": _flags_of("clone")},
    "arch_prctl": {"code": _value_of("arch_prctl"), "command": _value_of("arch_prctl")},
    "socket": {"family": _value_of("socket family")},
}

__all__ = ["ERROR_TEXTS", "HEXADECIMAL_RESULTS", "OUTPUT", "CallView", "format_argument", "is_output"]
