"""What to inject: `Fault`, and how it is written.

The syntax is that of ``strace --inject``, as far as it goes::

    SET[:error=ERRNO | :retval=NUMBER][:signal=SIGNAL][:when=WHEN][:probability=P][:pid=PID][:comm=NAME]

    openat:error=ENOENT                       every openat fails
    read,write:error=EINTR:when=3             the third of all these calls
    all:signal=KILL:when=100                  the hundredth call kills whoever makes it
    !exit_group:error=ENOMEM:when=10+5        call 10, 15, 20 … except exit_group
    @frame:when=7                             the seventh frame of memory that is asked for is not to be had
    @io:error=EIO:probability=0.01:comm=cp    one in a hundred of cp's operations on files fails

SET is names of system calls with commas, ``all``, ``!`` before the names for all others, or a *point* inside the kernel
(``@name``; `POINTS` lists them), where failing finds what the calls themselves must clean up.

WHEN is strace's: ``N``, ``N+`` (from there on), ``N+STEP``, ``N..M``, ``N..M+STEP``. Calls are counted by each fault
for itself, from 1, over the processes that ``pid`` and ``comm`` let through. With ``probability`` (0..1), ``when`` says
which calls take part in the lottery; its numbers come from the kernel's entropy, so a seed repeats them.

An error or a return value stands for the whole call, which is not made. A signal comes in addition: the call is made,
with the signal pending from its beginning; only SIGKILL leaves no time for it.

Not here: strace's delays, poking, and classes of calls such as %file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from attrs import evolve, frozen

from jefeos.errors import ConfigError, Errno
from jefeos.proc.signals import SIGNAL_COUNT, Signal

POINTS: Final[dict[str, tuple[Errno, str]]] = {
    "frame": (Errno.ENOMEM, "a frame of memory is allocated: for pages, page tables, the page cache"),
    "copy": (Errno.EFAULT, "the kernel reads or writes memory of a program"),
    "io": (Errno.EIO, "a filesystem is asked for something: a name, data, a change"),
    "descriptor": (Errno.EMFILE, "a descriptor is given to an open file"),
    "buffer": (Errno.ENOBUFS, "a pipe or socket claims memory for what it holds"),
    "process": (Errno.EAGAIN, "a new process or thread gets its id"),
    "wait": (Errno.EINTR, "a call begins to wait; it is interrupted (EINTR), or a signal comes in the midst of it"),
}
"""Points inside of calls: the error that is usual there, and when they are reached."""

_WHEN: Final = re.compile(r"(?P<first>\d+)(?:\.\.(?P<last>\d+))?(?P<on>\+(?P<step>\d+)?)?")
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_ERRNO_LIMIT: Final = 4095
_FOR_EVER: Final = 1 << 63


@frozen
class Fault:
    """One thing to inject. ``calls`` are names (empty: all); with ``others`` it is for all calls but these."""

    calls: frozenset[str] = frozenset()
    others: bool = False
    point: str | None = None
    """Name of the point instead of calls."""
    error: int | None = None
    result: int | None = None
    """Return value instead of an error."""
    signal: int | None = None
    first: int = 1
    last: int = _FOR_EVER
    step: int = 1
    probability: float | None = None
    pid: int | None = None
    comm: bytes | None = None
    text: str = ""
    """As it was written."""

    def is_due(self, number: int) -> bool:
        """Whether ``when`` names the occurrence with this number (from 1)."""
        return self.first <= number <= self.last and not (number - self.first) % self.step

    def concerns(self, name: str) -> bool:
        """Whether the system call ``name`` is in the set."""
        return self.point is None and (not self.calls or (name in self.calls) is not self.others)


def parse_fault(text: str) -> Fault:
    """Read one SPEC. Raises ConfigError."""
    target, *actions = text.split(":")
    fault = evolve(_parse_set(target.strip()), text=text)
    seen: set[str] = set()
    for action in actions:
        key, equals, value = (part.strip() for part in action.partition("="))
        reader = _ACTIONS.get(key)
        if reader is None or not equals:
            raise ConfigError(f"{action!r} is none of {', '.join(f'{name}=' for name in _ACTIONS)}")
        if key in seen:
            raise ConfigError(f"{key}= is given twice")
        seen.add(key)
        fault = evolve(fault, **reader(value))
    return _complete(fault)


def parse_faults(value: Any) -> tuple[Fault, ...]:
    """One SPEC, several in one text with ``;`` between them, or a list of them. Raises ConfigError."""
    if isinstance(value, str):
        value = [part for part in value.split(";") if part.strip()]
    if not isinstance(value, Iterable):
        raise ConfigError(f"{value!r} is not SET:error=ERRNO:when=N or the like")
    faults = []
    for item in value:
        if isinstance(item, Fault):
            faults.append(item)
            continue
        if not isinstance(item, str):
            raise ConfigError(f"{item!r} is not text")
        try:
            faults.append(parse_fault(item.strip()))
        except ConfigError as error:
            raise ConfigError(f"{item.strip()!r}: {error}") from None
    return tuple(faults)


def _complete(fault: Fault) -> Fault:
    """Fill in the error that a point has by itself, and refuse what has no meaning."""
    if fault.error is not None and fault.result is not None:
        raise ConfigError("error= and retval= exclude each other")
    if fault.point is None:
        if fault.error is None and fault.result is None and fault.signal is None:
            raise ConfigError("it says neither error= nor retval= nor signal=")
        return fault
    if fault.result is not None:
        raise ConfigError("retval= is for system calls, not for a point inside of them")
    usual = POINTS[fault.point][0]
    if fault.point == "wait":
        if fault.error not in (None, usual) or (fault.error is not None and fault.signal is not None):
            raise ConfigError("a wait can only be interrupted (error=EINTR, the default) or get a signal=")
        return fault if fault.signal is not None else evolve(fault, error=usual)
    if fault.signal is not None:
        raise ConfigError("signal= is for system calls and @wait")
    return fault if fault.error is not None else evolve(fault, error=int(usual))


def _parse_set(text: str) -> Fault:
    if text.startswith("@"):
        name = text[1:]
        if name not in POINTS:
            raise ConfigError(f"there is no point {text!r}; there are: {', '.join('@' + point for point in POINTS)}")
        return Fault(point=name)
    others = text.startswith("!")
    names = [name.strip() for name in text.removeprefix("!").split(",")]
    bad = next((name for name in names if not _NAME.fullmatch(name)), None)
    if bad is not None:
        raise ConfigError(f"{bad!r} is not the name of a system call, all, or @point")
    if "all" in names:
        if others:
            raise ConfigError("'!all' is no call at all")
        return Fault()
    return Fault(calls=frozenset(names), others=others)


def _read_error(text: str) -> dict[str, Any]:
    number = Errno.__members__.get(text.upper()) or (int(text) if text.isdecimal() else 0)
    if not 1 <= number <= _ERRNO_LIMIT:
        raise ConfigError(f"{text!r} is not an error such as ENOMEM, or its number")
    return {"error": int(number)}


def _read_result(text: str) -> dict[str, Any]:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 63:
        raise ConfigError(f"{text!r} is not a return value from 0 on")
    return {"result": number}


def _read_signal(text: str) -> dict[str, Any]:
    name = text.upper()
    member = Signal.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
    number = int(member) if member is not None else int(text) if text.isdecimal() else 0
    if not 1 <= number <= SIGNAL_COUNT:
        raise ConfigError(f"{text!r} is not a signal such as KILL, or its number")
    return {"signal": number}


def _read_when(text: str) -> dict[str, Any]:
    match = _WHEN.fullmatch(text)
    first = int(match["first"]) if match else 0
    if match is None or not first:
        raise ConfigError(f"when={text} is none of N, N+, N+STEP, N..M and N..M+STEP (from 1)")
    last = int(match["last"]) if match["last"] else _FOR_EVER if match["on"] else first
    step = int(match["step"] or 1)
    if last < first or not step:
        raise ConfigError(f"when={text} never comes")
    return {"first": first, "last": last, "step": step}


def _read_probability(text: str) -> dict[str, Any]:
    try:
        chance = float(text)
    except ValueError:
        chance = -1.0
    if not 0 <= chance <= 1:
        raise ConfigError(f"probability={text} is not between 0 and 1")
    return {"probability": chance}


def _read_pid(text: str) -> dict[str, Any]:
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"pid={text} is not a process id")
    return {"pid": int(text)}


def _read_comm(text: str) -> dict[str, Any]:
    if not text:
        raise ConfigError("comm= names no program")
    return {"comm": text.encode("utf-8", "surrogateescape")[:15]}


_ACTIONS: Final = {
    "error": _read_error,
    "retval": _read_result,
    "signal": _read_signal,
    "when": _read_when,
    "probability": _read_probability,
    "pid": _read_pid,
    "comm": _read_comm,
}
