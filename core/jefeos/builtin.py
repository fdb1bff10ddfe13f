"""Core's own defaults for the parts that a plugin may replace, as a plugin like any other.

It is registered before all others, so it is asked last: whoever answers first, for ``None`` or for the same
name, replaces the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:

    from jefeos.bus.machine import Machine, MachineRequest
    from jefeos.cpu.engine import Engine
    from jefeos.mm.manager import MemoryManager
    from jefeos.net.wire import WireOpener
    from jefeos.sched.scheduler import Scheduler
    from jefeos.syscall.table import SyscallTable

JEFEOS_API = 1

DEFAULT_SCHEDULER = "round-robin"
DEFAULT_MEMORY_MANAGER = "paged"
DEFAULT_MACHINE = "simulated"


@hookimpl(trylast=True)
def jefeos_scheduler(name: str | None) -> Scheduler | None:
    """``round-robin`` (the default) or ``fair``: `jefeos.sched.scheduler`."""
    from jefeos.sched.scheduler import FairScheduler, RoundRobinScheduler

    known = {kind.name: kind for kind in (RoundRobinScheduler, FairScheduler)}
    kind = known.get(name or DEFAULT_SCHEDULER)
    return None if kind is None else kind()


@hookimpl(trylast=True)
def jefeos_memory_manager(name: str | None, engine: Engine) -> MemoryManager | None:
    """Four-level page tables in guest RAM: `jefeos.mm.manager`."""
    if name not in (None, DEFAULT_MEMORY_MANAGER):
        return None
    from jefeos.mm.manager import MemoryManager

    return MemoryManager(engine)


@hookimpl(trylast=True)
def jefeos_machine(name: str, request: MachineRequest) -> Machine | None:
    """``simulated`` (the default): `jefeos.bus.simulated`."""
    if name != DEFAULT_MACHINE:
        return None
    from jefeos.bus.simulated import build_simulated

    return build_simulated(request)


@hookimpl(trylast=True)
def jefeos_wires() -> dict[str, WireOpener]:
    """``stream:PATH``, ``dgram:LOCAL:PEER`` (`jefeos.net.wires.sockets`), ``lan:NAME`` (`jefeos.net.wires.segment`)."""
    from jefeos.net.wires.segment import open_segment
    from jefeos.net.wires.sockets import connect_stream, open_datagram_pair

    return {
        "stream": lambda rest, context: connect_stream(rest, context.loop),
        "dgram": lambda rest, context: open_datagram_pair(rest, context.loop),
        "lan": lambda rest, context: open_segment(rest, context.loop),
    }


@hookimpl(trylast=True)
def jefeos_syscall_table(personality: str, names: Mapping[str, int]) -> SyscallTable:
    """The plain table: `jefeos.syscall.table`."""
    from jefeos.syscall.table import SyscallTable

    return SyscallTable(personality, names)
