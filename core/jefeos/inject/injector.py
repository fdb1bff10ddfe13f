"""The injector: counts what may fail, and makes it fail when its time has come.

    system calls   every entry of a personality's table that a fault concerns is wrapped
    points         the kernel's own methods are wrapped (`jefeos.inject.points`)

Nothing is wrapped while no injector is attached, so that there is no cost at all then. Attaching and detaching is
possible whenever no program is on the CPU, also in the midst of a program's life.

Only what a process does is counted: what the kernel does at boot, for Python callers or at shutdown never fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from attrs import define

from jefeos.errors import ConfigError, KernelError
from jefeos.inject import points
from jefeos.inject.spec import Fault
from jefeos.proc.signals import Signal, SignalCode, SignalInfo
from jefeos.sched.clock import Entropy

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.task import Task
    from jefeos.syscall.declare import Entry
    from jefeos.syscall.table import SyscallTable

_LOTTERY = 1 << 32


@define(eq=False)
class Armed:
    """A fault and how far it has come."""

    fault: Fault
    reached: int = 0
    """How often it could have happened."""
    hits: int = 0
    """How often it did."""

    def strikes(self, task: Task, entropy: Entropy) -> bool:
        """Count one more occurrence; whether it fails."""
        fault, process = self.fault, task.process
        if fault.pid is not None and process.pid != fault.pid:
            return False
        if fault.comm is not None and process.name != fault.comm:
            return False
        self.reached += 1
        if not fault.is_due(self.reached):
            return False
        chance = fault.probability
        if chance is not None and entropy.below(_LOTTERY) >= chance * _LOTTERY:
            return False
        self.hits += 1
        return True


class Injector:
    """Faults attached to a kernel; use it in a ``with`` statement, or call `detach`."""

    def __init__(self, kernel: Kernel, faults: Iterable[Fault]) -> None:
        """Attach. Raises ConfigError for the name of a system call that no personality knows."""
        self.kernel = kernel
        self.armed = [Armed(fault) for fault in faults]
        self._tables: list[tuple[SyscallTable, list[Entry]]] = []
        self._check_names()
        self._by_point: dict[str, list[Armed]] = {}
        for armed in self.armed:
            if armed.fault.point is not None:
                self._by_point.setdefault(armed.fault.point, []).append(armed)
        self._wrap_calls()
        if self._by_point:
            points.attach(self)

    @property
    def hits(self) -> int:
        """How many faults were injected."""
        return sum(armed.hits for armed in self.armed)

    @property
    def reached(self) -> int:
        """How many could have been."""
        return sum(armed.reached for armed in self.armed)

    def detach(self) -> None:
        """Nothing fails any more. Idempotent."""
        points.detach(self)
        for table, entries in self._tables:
            table.entries[:] = entries
        self._tables.clear()
        if self in self.kernel.injectors:
            self.kernel.injectors.remove(self)

    def __enter__(self) -> Injector:
        return self

    def __exit__(self, *details: object) -> None:
        self.detach()

    # -- points, called by `jefeos.inject.points` ---------------------------------------------------------------

    def at_point(self, point: str) -> Fault | None:
        """A point is reached: the fault that happens there, if one does."""
        task = self.kernel.executor.current
        if task is None:
            return None
        for armed in self._by_point.get(point, ()):
            if armed.strikes(task, self.kernel.entropy):
                return armed.fault
        return None

    # -- system calls -------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        known = {name for personality in self.kernel.personalities for name in personality.table.numbers}
        for armed in self.armed:
            unknown = sorted(armed.fault.calls - known)
            if unknown:
                raise ConfigError(f"{armed.fault.text!r}: there is no system call {unknown[0]}")

    def _wrap_calls(self) -> None:
        for personality in self.kernel.personalities:
            table = personality.table
            before = list(table.entries)
            wrapped = False
            for number, entry in enumerate(before):
                concerned = [armed for armed in self.armed if armed.fault.concerns(table.name(number))]
                if concerned:
                    declaration = table.declared.get(number)
                    inner = declaration.compile() if declaration is not None else entry
                    table.entries[number] = self._injected(inner, concerned)
                    wrapped = True
            if wrapped:
                self._tables.append((table, before))

    def _injected(self, call: Entry, concerned: list[Armed]) -> Callable[..., Any]:
        """The entry of a call that may fail."""
        kernel = self.kernel

        def injected(task: Task, *arguments: int) -> Any:
            fault = None
            for armed in concerned:  # each of them counts the call
                if armed.strikes(task, kernel.entropy) and fault is None:
                    fault = armed.fault
            if fault is None:
                return call(task, *arguments)
            if kernel.tracer is not None:
                kernel.tracer.injected(task)
            if fault.signal is not None:
                info = SignalInfo(fault.signal, SignalCode.SI_KERNEL)
                if fault.signal == Signal.SIGKILL:
                    kernel.lifecycle.kill(task, info)
                    return 0
                kernel.signals.send_task(task, fault.signal, info)
            if fault.error is not None:
                raise KernelError(fault.error, "injected")
            return call(task, *arguments) if fault.result is None else fault.result

        return injected
