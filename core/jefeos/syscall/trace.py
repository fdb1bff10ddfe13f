"""Tracing: what strace(1) would print, derived from the declarations of the system calls.

    enter(task, number, arguments)   a call begins: its input arguments are formatted now, while they are as passed
    exit(task, result)               it ends: output arguments are formatted, the line is written
    signal, child, exited            the other lines

A line is written when its call ends. If something else has to be written first, the part that is known goes out
with ``<unfinished ...>``, and the rest follows as ``<... read resumed>`` when the call ends, as strace does.
Lines begin with ``[pid N]`` as soon as there is more than one thread.

The tracer is attached for the kernel's whole life or not at all: without it nothing here is called. It reads user
memory only through usercopy, and never fails: what it cannot read is shown as its address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import define, field

from jefeos.errors import errno_name
from jefeos.proc.signals import SignalCode, SignalInfo, signal_name
from jefeos.syscall.trace_formats import (
    ERROR_TEXTS,
    HEXADECIMAL_RESULTS,
    RESULTS,
    CallView,
    format_argument,
    is_output,
)

if TYPE_CHECKING:
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task

_U64: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63
RESULT_COLUMN: Final = 40
"""Short lines have their result in this column (strace's ``-a``)."""

_CODES: Final = {
    SignalCode.SI_USER: "SI_USER",
    SignalCode.SI_KERNEL: "SI_KERNEL",
    SignalCode.SI_QUEUE: "SI_QUEUE",
    SignalCode.SI_TIMER: "SI_TIMER",
    SignalCode.SI_TKILL: "SI_TKILL",
}
_SPECIFIC_CODES: Final = {
    "SIGCHLD": {1: "CLD_EXITED", 2: "CLD_KILLED", 3: "CLD_DUMPED", 5: "CLD_STOPPED", 6: "CLD_CONTINUED"},
    "SIGSEGV": {1: "SEGV_MAPERR", 2: "SEGV_ACCERR"},
    "SIGBUS": {1: "BUS_ADRALN", 2: "BUS_ADRERR"},
    "SIGFPE": {1: "FPE_INTDIV"},
    "SIGILL": {2: "ILL_ILLOPN"},
    "SIGTRAP": {1: "TRAP_BRKPT", 2: "TRAP_TRACE"},
}


@define(eq=False)
class _Call:
    """A call that has begun and not ended."""

    view: CallView
    arguments: list[str | None]
    """Formatted arguments; None for those that are known only at the end."""
    printed: int = field(default=-1)
    """How many arguments went out with an unfinished line; -1 if there was none."""
    injected: bool = False


class Tracer:
    """Writes the trace, one line (without its newline) for each call of ``write``."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._calls: dict[Task, _Call] = {}
        self._threads: dict[int, None] = {}

    # -- what the executor calls -----------------------------------------------------------------------------

    def enter(self, task: Task, number: int, arguments: tuple[int, ...]) -> None:
        """``task`` begins the call ``number`` with six raw registers."""
        self._note(task.tid)
        personality = task.process.personality
        if personality is None:
            return
        table = personality.table
        declaration = table.declared.get(number)
        view = CallView(task, table.name(number), declaration, arguments)
        formatted: list[str | None] = []
        for index in range(view.count):
            output = is_output(view, index)
            formatted.append(None if output else format_argument(view, index))
        self._calls[task] = _Call(view, formatted)

    def exit(self, task: Task, result: int | None) -> None:
        """The call of ``task`` ended. ``result`` is negative for an error, None if it has none."""
        call = self._calls.pop(task, None)
        if call is None:
            return
        call.view.result = result
        texts = [
            text if text is not None else format_argument(call.view, index)
            for index, text in enumerate(call.arguments)
        ]
        if call.printed < 0:
            head = f"{call.view.name}({', '.join(filter(None, texts))})"
        else:
            rest = ", ".join(filter(None, texts[call.printed :]))
            head = f"<... {call.view.name} resumed>{rest})"
        mark = " (INJECTED)" if call.injected else ""
        self._line(task.tid, f"{head.ljust(RESULT_COLUMN - 1)} = {self._result(call.view)}{mark}")

    def injected(self, task: Task) -> None:
        """What becomes of the call of ``task`` is the doing of `jefeos.inject`."""
        call = self._calls.get(task)
        if call is not None:
            call.injected = True

    def signal(self, task: Task, info: SignalInfo) -> None:
        """``task`` is about to take a signal."""
        name = signal_name(info.signo)
        code = _SPECIFIC_CODES.get(name, {}).get(info.code) or _CODES.get(info.code, str(info.code))
        details = [f"si_signo={name}", f"si_code={code}"]
        if name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP") and info.code > 0:
            details.append(f"si_addr={_address(info.address)}")
        elif info.code <= 0 or name == "SIGCHLD":
            details += [f"si_pid={info.pid}", f"si_uid={info.uid}"]
        if name == "SIGCHLD" and info.code > 0:
            status = info.status if info.code == SignalCode.CLD_EXITED else signal_name(info.status)
            details.append(f"si_status={status}")
        self._line(task.tid, f"--- {name} {{{', '.join(details)}}} ---")

    def child(self, task: Task, child: Task) -> None:
        """``task`` has made the thread or process ``child``."""
        self._note(task.tid)
        self._note(child.tid)

    def exited(self, process: Process) -> None:
        """``process`` has ended."""
        for task, call in list(self._calls.items()):
            if task.process is process:
                self.exit(task, call.view.result)
        if process.killed_by:
            core = " (core dumped)" if process.dumped_core else ""
            self._line(process.pid, f"+++ killed by {signal_name(process.killed_by)}{core} +++")
        else:
            self._line(process.pid, f"+++ exited with {process.exit_code & 0xFF} +++")
        self._threads.pop(process.pid, None)
        for task in process.tasks:
            self._threads.pop(task.tid, None)

    # -- lines -----------------------------------------------------------------------------------------------

    def _note(self, tid: int) -> None:
        self._threads[tid] = None

    def _line(self, tid: int, text: str) -> None:
        for call in self._calls.values():
            if call.printed < 0:
                self._unfinished(call)
        self._put(tid, text)

    def _unfinished(self, call: _Call) -> None:
        known: list[str] = []
        for text in call.arguments:
            if text is None:
                break
            known.append(text)
        call.printed = len(known)
        comma = "," if known and len(known) < len(call.arguments) else ""
        self._put(call.view.task.tid, f"{call.view.name}({', '.join(filter(None, known))}{comma} <unfinished ...>")

    def _put(self, tid: int, text: str) -> None:
        prefix = f"[pid {tid:5}] " if len(self._threads) > 1 else ""
        self._write(prefix + text)

    @staticmethod
    def _result(view: CallView) -> str:
        result = view.result
        if result is None:
            return "?"
        result = ((result & _U64) ^ _SIGN) - _SIGN
        if -4095 <= result < 0:
            name = errno_name(-result)
            text = ERROR_TEXTS.get(name)
            return f"-1 {name} ({text})" if text else f"-1 {name}"
        if view.name in HEXADECIMAL_RESULTS:
            return _address(result)
        special = RESULTS.get(view.name)
        return special(view) if special is not None else str(result)


def _address(value: int) -> str:
    return f"{value:#x}" if value else "NULL"
