"""A process as text: stat, statm, status, limits, io, as Linux's fs/proc/array.c and base.c print them.

Fields that have no meaning here (signals of kernel threads, NUMA nodes, swap …) are there with the value an idle
Linux gives, because readers count fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.proc.credentials import UNLIMITED, RLimit
from jefeos.proc.process import ProcessState
from jefeos.proc.signals import SIG_DFL, SIG_IGN, SIGNAL_COUNT, bit
from jefeos.proc.task import TaskState
from jefeos.vfs.procfs.memory import PAGE_SIZE, MemorySums, space_of, sums

if TYPE_CHECKING:
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task

TICK_NS = 10_000_000  # USER_HZ is 100
_BASE_PRIORITY = 20
_SIGCHLD = 17
_FLAG_RANDOMIZE = 0x00400000  # PF_RANDOMIZE, which nearly every process shows
_FLAG_FORK_NO_EXEC = 0x00000040

_STATE_NAMES = {
    b"R": b"running",
    b"S": b"sleeping",
    b"D": b"disk sleep",
    b"T": b"stopped",
    b"Z": b"zombie",
}


def state_letter(process: Process, task: Task | None = None) -> bytes:
    """R, S, D, T or Z: of one thread, or of the first one."""
    if process.is_dead:
        return b"Z"
    if process.state is ProcessState.STOPPED:
        return b"T"
    if task is None and not process.tasks:
        return b"S"  # the kernel's own process, which has no thread
    task = task or process.tasks[0]
    if task.is_current or task.state is TaskState.RUNNABLE:
        return b"R"
    if task.state is TaskState.HELD:
        return b"T"
    return b"S" if getattr(task.token, "interruptible", True) else b"D"


def command_name(process: Process, task: Task | None) -> bytes:
    """comm: of the thread if it has a name of its own."""
    return (task.name if task is not None and task.name else process.name) or b"?"


def stat(process: Process, task: Task | None = None) -> bytes:
    """/proc/PID/stat: one line of 52 fields (proc_pid_stat(5))."""
    usage, children = process.usage, process.children_usage
    memory = MemorySums() if process.is_dead else sums(process)
    tty = process.tty
    started_ns = process.start_time_ns - process.kernel.clock.boot_ns
    pending, blocked, ignored, caught = _signal_masks(process, task)
    numbers: tuple[int, ...] = (
        process.parent.pid if process.parent is not None else 0,
        process.pgid,
        process.sid,
        tty.device if tty is not None else 0,
        (tty.jobs.foreground or -1) if tty is not None else -1,
        _FLAG_RANDOMIZE | (0 if process.has_execed else _FLAG_FORK_NO_EXEC),
        usage.minor_faults, children.minor_faults, usage.major_faults, children.major_faults,
        usage.user_ns // TICK_NS, usage.system_ns // TICK_NS,
        children.user_ns // TICK_NS, children.system_ns // TICK_NS,
        _BASE_PRIORITY + process.nice, process.nice,
        len(process.tasks) or 1,
        0,  # itrealvalue
        max(0, started_ns) // TICK_NS,
        memory.virtual, memory.resident // PAGE_SIZE, _limit_number(process, RLimit.RSS),
        memory.start_code, memory.end_code, memory.start_stack,
        0, 0,  # kstkesp, kstkeip
        pending, blocked, ignored, caught,
        0, 0, 0,  # wchan, nswap, cnswap
        process.exit_signal or _SIGCHLD,
        0, 0, 0,  # processor, rt_priority, policy
        0, 0, 0,  # delayacct_blkio_ticks, guest_time, cguest_time
        0, 0, memory.start_brk,  # start_data, end_data, start_brk
        0, 0, 0, 0,  # arg_start, arg_end, env_start, env_end
        process.wait_status() if process.is_dead else 0,
    )  # fmt: skip
    number = task.tid if task is not None else process.pid
    head = b"%d (%s) %s " % (number, command_name(process, task), state_letter(process, task))
    return head + b" ".join(b"%d" % value for value in numbers) + b"\n"


def statm(process: Process) -> bytes:
    """/proc/PID/statm: size resident shared text lib data dt, in pages."""
    memory = sums(process)
    pages = (memory.virtual, memory.resident, 0, memory.code, 0, memory.data + memory.stack, 0)
    return b" ".join(b"%d" % (size // PAGE_SIZE) for size in pages) + b"\n"


def status(process: Process, task: Task | None = None) -> bytes:
    """/proc/PID/status: the same for people, and more of it."""
    creds = process.creds
    letter = state_letter(process, task)
    number = task.tid if task is not None else process.pid
    shown = task or (process.tasks[0] if process.tasks else None)
    umask = shown.fs.umask if shown is not None else 0
    groups = b" ".join(b"%d" % gid for gid in creds.groups)
    pairs: list[tuple[bytes, bytes]] = [
        (b"Name", _escape(command_name(process, task))),
        (b"Umask", b"%04o" % umask),
        (b"State", b"%s (%s)" % (letter, _STATE_NAMES[letter])),
        (b"Tgid", b"%d" % process.pid),
        (b"Ngid", b"0"),
        (b"Pid", b"%d" % number),
        (b"PPid", b"%d" % (process.parent.pid if process.parent is not None else 0)),
        (b"TracerPid", b"0"),
        (b"Uid", b"%d\t%d\t%d\t%d" % (creds.uid, creds.euid, creds.suid, creds.fsuid)),
        (b"Gid", b"%d\t%d\t%d\t%d" % (creds.gid, creds.egid, creds.sgid, creds.fsgid)),
        (b"FDSize", b"%d" % _descriptor_slots(shown)),
        (b"Groups", groups + b" "),
        (b"NStgid", b"%d" % process.pid),
        (b"NSpid", b"%d" % number),
        (b"NSpgid", b"%d" % process.pgid),
        (b"NSsid", b"%d" % process.sid),
        (b"Kthread", b"0"),
    ]
    if not process.is_dead:
        pairs += _memory_pairs(sums(process), process)
    _, blocked, ignored, caught = _signal_masks(process, task)
    own = shown.pending.mask if shown is not None else 0
    held = creds.capabilities
    usage = process.usage
    screen = shown.screen if shown is not None else None
    pairs += [
        (b"CoreDumping", b"0"),
        (b"THP_enabled", b"0"),
        (b"Threads", b"%d" % (len(process.tasks) or 1)),
        (b"SigQ", b"%d/%d" % (len(process.pending.queue), _limit_number(process, RLimit.SIGPENDING))),
        (b"SigPnd", b"%016x" % own),
        (b"ShdPnd", b"%016x" % process.pending.mask),
        (b"SigBlk", b"%016x" % blocked),
        (b"SigIgn", b"%016x" % ignored),
        (b"SigCgt", b"%016x" % caught),
        (b"CapInh", b"%016x" % held.inheritable),
        (b"CapPrm", b"%016x" % held.permitted),
        (b"CapEff", b"%016x" % held.effective),
        (b"CapBnd", b"%016x" % held.bounding),
        (b"CapAmb", b"%016x" % held.ambient),
        (b"NoNewPrivs", b"%d" % process.no_new_privileges),
        (b"Seccomp", b"%d" % (screen.mode if screen is not None else 0)),
        (b"Seccomp_filters", b"%d" % (screen.filters if screen is not None else 0)),
        (b"Cpus_allowed", b"1"),
        (b"Cpus_allowed_list", b"0"),
        (b"Mems_allowed", b"1"),
        (b"Mems_allowed_list", b"0"),
        (b"voluntary_ctxt_switches", b"%d" % usage.voluntary_switches),
        (b"nonvoluntary_ctxt_switches", b"%d" % usage.involuntary_switches),
    ]
    return b"".join(b"%s:\t%s\n" % pair for pair in pairs)


def _memory_pairs(memory: MemorySums, process: Process) -> list[tuple[bytes, bytes]]:
    peak_resident = max(process.usage.max_resident_kib * 1024, memory.resident)
    space = space_of(process)
    locked = space.locked_bytes if space is not None else 0
    sizes = (
        (b"VmPeak", memory.virtual), (b"VmSize", memory.virtual), (b"VmLck", locked), (b"VmPin", 0),
        (b"VmHWM", peak_resident), (b"VmRSS", memory.resident),
        (b"RssAnon", memory.resident), (b"RssFile", 0), (b"RssShmem", 0),
        (b"VmData", memory.data), (b"VmStk", memory.stack), (b"VmExe", memory.code),
        (b"VmLib", memory.libraries), (b"VmPTE", 0), (b"VmSwap", 0), (b"HugetlbPages", 0),
    )  # fmt: skip
    return [(name, b"%8d kB" % (size // 1024)) for name, size in sizes]


def _signal_masks(process: Process, task: Task | None) -> tuple[int, int, int, int]:
    """Pending, blocked, ignored and caught signals, bit n-1 for signal n."""
    shown = task or (process.tasks[0] if process.tasks else None)
    pending = process.pending.mask | (shown.pending.mask if shown is not None else 0)
    blocked = shown.blocked if shown is not None else 0
    ignored = caught = 0
    for signo in range(1, SIGNAL_COUNT + 1):
        handler = process.handlers.get(signo).handler
        if handler == SIG_IGN:
            ignored |= bit(signo)
        elif handler != SIG_DFL:
            caught |= bit(signo)
    return pending, blocked, ignored, caught


def _descriptor_slots(task: Task | None) -> int:
    """FDSize: slots come in powers of two, 64 at least."""
    slots = 64
    if task is not None:
        highest = max((fd for fd, _ in task.files.items()), default=0)
        while slots <= highest:
            slots *= 2
    return slots


def _escape(name: bytes) -> bytes:
    return name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


def _limit_number(process: Process, which: RLimit) -> int:
    return process.rlimits[which][0]


_LIMIT_ROWS = (
    (RLimit.CPU, b"Max cpu time", b"seconds"),
    (RLimit.FSIZE, b"Max file size", b"bytes"),
    (RLimit.DATA, b"Max data size", b"bytes"),
    (RLimit.STACK, b"Max stack size", b"bytes"),
    (RLimit.CORE, b"Max core file size", b"bytes"),
    (RLimit.RSS, b"Max resident set", b"bytes"),
    (RLimit.NPROC, b"Max processes", b"processes"),
    (RLimit.NOFILE, b"Max open files", b"files"),
    (RLimit.MEMLOCK, b"Max locked memory", b"bytes"),
    (RLimit.AS, b"Max address space", b"bytes"),
    (RLimit.LOCKS, b"Max file locks", b"locks"),
    (RLimit.SIGPENDING, b"Max pending signals", b"signals"),
    (RLimit.MSGQUEUE, b"Max msgqueue size", b"bytes"),
    (RLimit.NICE, b"Max nice priority", b""),
    (RLimit.RTPRIO, b"Max realtime priority", b""),
    (RLimit.RTTIME, b"Max realtime timeout", b"us"),
)


def limits(process: Process) -> bytes:
    """/proc/PID/limits: a table in fixed columns."""
    lines = [b"%-25s %-20s %-20s %-10s\n" % (b"Limit", b"Soft Limit", b"Hard Limit", b"Units")]
    for which, name, unit in _LIMIT_ROWS:
        soft, hard = (b"unlimited" if value == UNLIMITED else b"%d" % value for value in process.rlimits[which])
        lines.append(b"%-25s %-20s %-20s %s\n" % (name, soft, hard, unit.ljust(10) if unit else b""))
    return b"".join(lines)


def io(process: Process) -> bytes:
    """/proc/PID/io: not counted."""
    names = (b"rchar", b"wchar", b"syscr", b"syscw", b"read_bytes", b"write_bytes", b"cancelled_write_bytes")
    return b"".join(b"%s: 0\n" % name for name in names)
