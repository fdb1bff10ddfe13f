"""Traps: what the engine calls back for. System calls, page faults, exceptions, software interrupts.

These run inside the engine's callbacks, on the hot path: each returns what lets the program go on at once, or None
(False for a page fault) after it left something behind for the executor: ``task.coroutine`` (the call suspended),
``task.work`` (a signal, death, a stop) or ``task.result`` (a value to be written before the program goes on).

A `KernelError` is a failed call; any other exception in a handler is a bug in the kernel: it is logged with its trace
and the process dies of SIGSYS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.mm.faults import Fault
from jefeos.proc.signals import Signal, SignalCode, SignalInfo
from jefeos.proc.task import Task, Work
from jefeos.sched.wait import Interrupted
from jefeos.syscall.table import TABLE_SIZE

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.syscall.declare import Entry
    from jefeos.syscall.table import Screen

_VECTORS: Final = {
    0: (Signal.SIGFPE, SignalCode.FPE_INTDIV),
    1: (Signal.SIGTRAP, SignalCode.TRAP_TRACE),
    3: (Signal.SIGTRAP, SignalCode.SI_KERNEL),
    4: (Signal.SIGSEGV, SignalCode.SI_KERNEL),
    6: (Signal.SIGILL, SignalCode.ILL_ILLOPN),
    12: (Signal.SIGBUS, SignalCode.SI_KERNEL),
    16: (Signal.SIGFPE, 0),
    17: (Signal.SIGBUS, SignalCode.BUS_ADRALN),
    19: (Signal.SIGFPE, 0),
}
"""CPU exception to signal, as arch/x86 traps do; everything else is SIGSEGV."""
_PAGE_FAULT_VECTOR: Final = 14
MAX_ERRNO: Final = 4095
"""Results from -4095 to -1 are errors; other negative ones are addresses or values."""


class CallCounts:
    """System calls by number, counted while tracing or statistics are on.

    A call that has begun has succeeded, failed, or not ended: ``exit``, and what its thread died in.
    """

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()
        self.succeeded: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()

    def ended(self, number: int, result: int | None) -> None:
        """``result`` is negative for an error, None for a call that went on elsewhere (execve, rt_sigreturn)."""
        if result is not None and -MAX_ERRNO <= result < 0:
            self.failed[number] += 1
        else:
            self.succeeded[number] += 1


class Traps:
    """Part of `Executor`."""

    kernel: Kernel
    current: Task | None
    calls: CallCounts
    _entries: Sequence[Entry] | Screen

    def _syscall(self, number: int, a0: int, a1: int, a2: int, a3: int, a4: int, a5: int) -> int | None:
        task: Task = self.current  # type: ignore[assignment]
        try:
            if number < TABLE_SIZE:
                result = self._entries[number](task, a0, a1, a2, a3, a4, a5)
            elif task.screen is not None:
                result = task.screen[number](task, a0, a1, a2, a3, a4, a5)
            else:
                result = task.process.personality.table.count_unknown(number)  # type: ignore[union-attr]
            if type(result) is int:
                if not task.work:
                    return result
                task.syscall_number = number
                task.result = result
                return None
        except KernelError as failure:
            task.syscall_number = number
            result = self._failed(task, failure)
            if not task.work and task.restart is None:
                return result
            task.result = result
            task.work |= Work.SIGNAL
            return None
        except Exception as bug:
            task.syscall_number = number
            self._bug(task, bug)
            return None
        task.syscall_number = number
        value = self._first_step(task, result)
        return value if task.coroutine is None else self._switch(task)

    def _switch(self, task: Task) -> int | None:
        """The call of ``task`` has suspended: None ends the run."""
        return None

    def _first_step(self, task: Task, result: Any) -> int | None:
        """The handler gave a coroutine: drive it at once; most finish without waiting."""
        if type(result) is not CoroutineType and not isinstance(result, Coroutine):
            task.result = None if result is None else int(result)
            return task.result if not task.work else None
        try:
            task.token = result.send(None)
        except StopIteration as stop:
            value = stop.value
            if value is not None and not task.work:
                return int(value)
            task.result = None if value is None else int(value)
            return None
        except KernelError as failure:
            task.result = self._failed(task, failure)
            if not task.work and task.restart is None:
                value, task.result = task.result, None
                return value
            task.work |= Work.SIGNAL
            return None
        except Exception as bug:
            self._bug(task, bug)
            return None
        task.coroutine = result
        return None

    def _observed_syscall(
        self, number: int, a0: int, a1: int, a2: int, a3: int, a4: int, a5: int
    ) -> int | None:
        """`_syscall` while tracing or counting."""
        self.calls.begun[number] += 1
        tracer = self.kernel.tracer
        task: Task = self.current  # type: ignore[assignment]
        if tracer is not None:
            tracer.enter(task, number, (a0, a1, a2, a3, a4, a5))
        result = self._syscall(number, a0, a1, a2, a3, a4, a5)
        if task.coroutine is None and not task.work & Work.EXIT:
            answer = result if result is not None else task.result
            self.calls.ended(number, answer)
            if tracer is not None:
                tracer.exit(task, answer)
        return result

    def _page_fault(self, address: int, error_code: int) -> bool:
        task: Task = self.current  # type: ignore[assignment]
        try:
            fault = task.mm.fault(address, error_code)
        except KernelError as error:
            fault = Fault.NO_MEMORY if error.errno == Errno.ENOMEM else Fault.BUS_ADRERR
        except Exception as bug:
            self._bug(task, bug)
            return False
        if fault is Fault.OK:
            task.process.usage.minor_faults += 1
            return not task.work
        if fault is Fault.NO_MEMORY:
            self.kernel.lifecycle.out_of_memory(task)
            return not task.work
        bus = fault is Fault.BUS_ADRERR
        code = SignalCode.BUS_ADRERR if bus else SignalCode.SEGV_MAPERR
        if fault is Fault.SEGV_ACCERR:
            code = SignalCode.SEGV_ACCERR
        signo = Signal.SIGBUS if bus else Signal.SIGSEGV
        info = SignalInfo(signo, code, address=address, vector=_PAGE_FAULT_VECTOR, error_code=error_code)
        self.kernel.signals.force(task, info)
        return False

    def _exception(self, vector: int, error_code: int) -> None:
        task: Task = self.current  # type: ignore[assignment]
        signo, code = _VECTORS.get(vector, (Signal.SIGSEGV, SignalCode.SI_KERNEL))
        self.kernel.signals.force(task, SignalInfo(signo, code, vector=vector, error_code=error_code))

    def _interrupt(self, vector: int) -> int | None:
        task: Task = self.current  # type: ignore[assignment]
        try:
            result = task.process.personality.interrupt(task, vector)  # type: ignore[union-attr]
        except KernelError as failure:
            result = self._failed(task, failure)
        except Exception as bug:
            self._bug(task, bug)
            return None
        if result is None:
            self._exception(13, vector * 8 + 2)
            return None
        return result if isinstance(result, int) else self._first_step(task, result)

    def _failed(self, task: Task, failure: KernelError) -> int:
        """The result of a call that raised; notes whether it may be restarted."""
        if isinstance(failure, Interrupted):
            task.restart = failure.restart
        return -int(failure.errno)

    def _bug(self, task: Task, error: BaseException) -> None:
        """A handler broke: log it and kill the process; the kernel stays up."""
        name = task.process.personality.table.name(task.syscall_number) if task.process.personality else "?"
        self.kernel.log.exception(
            "bug in the kernel: system call %s of pid %d; the process is killed by SIGSYS",
            name,
            task.process.pid,
            exc_info=error,
        )
        self.kernel.bugs += 1
        self.kernel.lifecycle.kill(task, SignalInfo(Signal.SIGSYS))
