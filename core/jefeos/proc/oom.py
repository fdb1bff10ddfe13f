"""Out of memory: who ends, so that the others can go on.

The victim is the process that holds the most memory, not the one that happens to ask for the last frame: pages held,
and a thousandth of all frames for each point of oom_score_adj (proc_pid_oom_score_adj(5)). pid 1 is spared, as is who
has -1000; processes that share the victim's memory (vfork) go with it, since its frames are free only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.mm.space import AddressSpace
    from jefeos.proc.process import Process

NEVER: Final = -1000
"""The oom_score_adj of who is never chosen."""
SCALE: Final = 1000


def memory_of(process: Process) -> AddressSpace | None:
    """The address space of a process; None for applets and for who has ended."""
    return process.tasks[0].mm if process.tasks else None


def badness(process: Process, total_frames: int) -> int:
    """How much would be won by the end of a process, in pages; its adjustment counts as pages too."""
    mm = memory_of(process)
    held = mm.resident_pages if mm is not None else 0
    return held + process.oom_score_adjustment * total_frames // SCALE


def score(process: Process, total_frames: int) -> int:
    """What /proc/PID/oom_score shows: from 0 to 2000, where 666 is a process that holds nothing (Linux 5.8 on)."""
    if process.oom_score_adjustment == NEVER:
        return 0
    return max((SCALE + badness(process, total_frames) * SCALE // total_frames) * 2 // 3, 0)


def choose_victim(kernel: Kernel) -> Process | None:
    """The process to end; None if there is nobody who may be."""
    total = kernel.memory.frames.total
    candidates = [
        process
        for process in kernel.processes
        if process.pid != 1 and process.oom_score_adjustment != NEVER and memory_of(process) is not None
    ]
    return max(candidates, key=lambda process: badness(process, total), default=None)


def sharing(kernel: Kernel, victim: Process) -> list[Process]:
    """The victim and whoever runs in the same memory, but for pid 1."""
    mm = memory_of(victim)
    return [process for process in kernel.processes if process.pid != 1 and memory_of(process) is mm]
