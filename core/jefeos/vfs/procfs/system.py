"""What /proc tells about the whole system: meminfo, stat, cpuinfo, uptime, loadavg, version and small ones.

Formats as of Linux's fs/proc/*.c. There is one processor, no swap, and no interrupts are counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jefeos.proc.task import TaskState
from jefeos.vfs.procfs.status import TICK_NS

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

_SECOND_NS = 1_000_000_000
_LOAD_PERIODS_S = (60.0, 300.0, 900.0)

# What the emulated processor reports: a Nehalem, which is x86-64-v2, without AVX.
_CPU_FLAGS = (
    b"fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm "
    b"constant_tsc rep_good nopl cpuid pni ssse3 cx16 sse4_1 sse4_2 popcnt hypervisor lahf_lm"
)


class SystemText:
    """Makes the texts; keeps the load averages between reads."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._loads = [0.0, 0.0, 0.0]
        self._loads_at_ns = kernel.clock.monotonic_ns()
        self._loads_busy_ns = 0
        self._idle_ns = 0

    # -- time and load ------------------------------------------------------------------------------

    def _runnable(self) -> int:
        states = (task.state for process in self.kernel.processes for task in process.tasks)
        return sum(state is TaskState.RUNNABLE for state in states)

    def uptime(self) -> bytes:
        """Seconds since boot, and seconds idle."""
        up_ns, _, _, idle_ns = self._times()
        return b"%d.%02d %d.%02d\n" % (*_centiseconds(up_ns), *_centiseconds(idle_ns))

    def _times(self) -> tuple[int, int, int, int]:
        """Since boot: all, in user mode, in system calls, idle. None is ever less than before."""
        executor = self.kernel.executor
        executor.account()  # the running slice is divided as well
        busy_ns, system_ns = executor.busy_ns, executor.system_ns
        up_ns = self.kernel.clock.uptime_ns()
        self._idle_ns = max(self._idle_ns, up_ns - busy_ns)  # the clock has gone on by more or less since `busy_ns`
        return up_ns, busy_ns - system_ns, system_ns, self._idle_ns

    def loadavg(self) -> bytes:
        """Load averages of 1, 5 and 15 minutes, runnable and all threads, the last process id.

        They are brought up to date only when read: since the last time as many ran as kept the processor busy, and
        waited as wait now.
        """
        now_ns = self.kernel.clock.monotonic_ns()
        elapsed_s = (now_ns - self._loads_at_ns) / _SECOND_NS
        self._loads_at_ns = now_ns
        busy_ns = self.kernel.executor.busy_ns
        load = max(busy_ns - self._loads_busy_ns, 0) / _SECOND_NS / elapsed_s if elapsed_s > 0 else 0.0
        self._loads_busy_ns = busy_ns
        running = self._runnable()
        load = min(load, 1.0) + max(running - 1, 0)  # the reader runs, and does not wait
        for index, period_s in enumerate(_LOAD_PERIODS_S):
            kept = math.exp(-elapsed_s / period_s)
            self._loads[index] = self._loads[index] * kept + load * (1 - kept)
        threads = sum(len(process.tasks) for process in self.kernel.processes)
        last = max(self.kernel.processes.processes, default=0)
        return b"%.2f %.2f %.2f %d/%d %d\n" % (*self._loads, max(running, 1), threads, last)

    def stat(self) -> bytes:
        """Processor times in ticks (user, system, idle), switches, boot time, processes."""
        kernel = self.kernel
        up_ns, *times_ns = self._times()
        times = b"%d 0 %d %d 0 0 0 0 0 0" % tuple(time_ns // TICK_NS for time_ns in times_ns)
        boot_s = (kernel.clock.realtime_ns() - up_ns) // _SECOND_NS
        return (
            b"cpu  %s\ncpu0 %s\nintr 0\nctxt %d\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked 0\n"
            b"softirq 0 0 0 0 0 0 0 0 0 0 0\n"
            % (times, times, kernel.executor.switches, boot_s, kernel.processes.created, max(1, self._runnable()))
        )

    # -- memory -------------------------------------------------------------------------------------

    def meminfo(self) -> bytes:
        """Amounts of memory in kB."""
        info = self.kernel.memory.info()
        used = max(0, info.total - info.free - info.cached)
        rows = (
            (b"MemTotal", info.total), (b"MemFree", info.free), (b"MemAvailable", info.available),
            (b"Buffers", 0), (b"Cached", info.cached), (b"SwapCached", 0),
            (b"Active", used), (b"Inactive", info.cached), (b"Active(anon)", used), (b"Inactive(anon)", 0),
            (b"Active(file)", 0), (b"Inactive(file)", info.cached), (b"Unevictable", 0), (b"Mlocked", 0),
            (b"SwapTotal", 0), (b"SwapFree", 0), (b"Dirty", info.dirty), (b"Writeback", 0),
            (b"AnonPages", used), (b"Mapped", info.cached), (b"Shmem", info.shared), (b"KReclaimable", 0),
            (b"Slab", 0), (b"SReclaimable", 0), (b"SUnreclaim", 0), (b"KernelStack", 0), (b"PageTables", 0),
            (b"CommitLimit", info.total), (b"Committed_AS", used),
            (b"VmallocTotal", 0), (b"VmallocUsed", 0), (b"VmallocChunk", 0),
        )  # fmt: skip
        lines = [b"%s %8d kB\n" % ((name + b":").ljust(15), size // 1024) for name, size in rows]
        for name in (b"HugePages_Total:", b"HugePages_Free:", b"HugePages_Rsvd:", b"HugePages_Surp:"):
            lines.append(b"%s%5d\n" % (name.ljust(19), 0))
        lines.append(b"Hugepagesize:       2048 kB\n")
        return b"".join(lines)

    # -- what it is ---------------------------------------------------------------------------------

    def cpuinfo(self) -> bytes:
        """The one processor."""
        name = b"JefeOS virtual processor (%s)" % self.kernel.engine.name.encode()
        pairs = (
            (b"processor", b"0"), (b"vendor_id", b"GenuineIntel"), (b"cpu family", b"6"), (b"model", b"26"),
            (b"model name", name), (b"stepping", b"3"), (b"cpu MHz", b"1000.000"), (b"cache size", b"0 KB"),
            (b"physical id", b"0"), (b"siblings", b"1"), (b"core id", b"0"), (b"cpu cores", b"1"),
            (b"apicid", b"0"), (b"initial apicid", b"0"), (b"fpu", b"yes"), (b"fpu_exception", b"yes"),
            (b"cpuid level", b"11"), (b"wp", b"yes"), (b"flags", _CPU_FLAGS), (b"bugs", b""),
            (b"bogomips", b"2000.00"), (b"clflush size", b"64"), (b"cache_alignment", b"64"),
            (b"address sizes", b"40 bits physical, 48 bits virtual"),
        )  # fmt: skip
        lines = [b"%s%s: %s\n" % (key, b"\t" if len(key) >= 8 else b"\t\t", value) for key, value in pairs]
        return b"".join(lines) + b"power management:\n\n"

    def filesystems(self) -> bytes:
        """Types that can be mounted."""
        return filesystem_types(self.kernel)

    def devices(self) -> bytes:
        """Device numbers by major."""
        characters: dict[int, bytes] = {}
        for device in self.kernel.vfs.devices.devices():
            major = device.rdev >> 8 & 0xFFF
            name = b"/dev/" + device.name if major == 5 else b"mem" if major == 1 else device.name
            characters.setdefault(major, name)
        characters.setdefault(136, b"pts")
        lines = [b"%3d %s\n" % pair for pair in sorted(characters.items())]
        return b"Character devices:\n" + b"".join(lines) + b"\nBlock devices:\n"

    def interrupts(self) -> bytes:
        """interrupts: one column for the one processor. Time slices are all that interrupts it."""
        switches = self.kernel.executor.switches
        return b"            CPU0       \n" + b"".join(
            b"%4s: %10d   %s\n" % row
            for row in ((b"LOC", switches, b"Local timer interrupts"), (b"NMI", 0, b"Non-maskable interrupts"))
        )

    def softirqs(self) -> bytes:
        """softirqs: there are none."""
        names = (b"HI", b"TIMER", b"NET_TX", b"NET_RX", b"BLOCK", b"IRQ_POLL", b"TASKLET", b"SCHED", b"HRTIMER", b"RCU")
        return b"                    CPU0       \n" + b"".join(b"%12s: %10d\n" % (name, 0) for name in names)

    def vmstat(self) -> bytes:
        """Counts of pages; the few that are known."""
        info = self.kernel.memory.info()
        rows = (
            (b"nr_free_pages", info.free), (b"nr_inactive_file", info.cached), (b"nr_mapped", info.cached),
            (b"nr_file_pages", info.cached), (b"nr_dirty", info.dirty), (b"nr_writeback", 0),
            (b"nr_shmem", info.shared),
        )  # fmt: skip
        counts = b"".join(b"%s %d\n" % (name, size // 4096) for name, size in rows)
        usages = [usage for p in self.kernel.processes for usage in (p.usage, p.children_usage)]
        minor, major = sum(u.minor_faults for u in usages), sum(u.major_faults for u in usages)
        none = b"".join(b"%s 0\n" % name for name in (b"pgpgin", b"pgpgout", b"pswpin", b"pswpout"))
        return counts + none + b"pgfault %d\npgmajfault %d\noom_kill %d\n" % (
            minor + major, major, self.kernel.out_of_memory_kills
        )


def filesystem_types(kernel: Kernel) -> bytes:
    """The text of /proc/filesystems."""
    own = (b"sysfs", b"tmpfs", b"ramfs", b"proc", b"devtmpfs", b"devpts", b"mqueue", b"overlay")
    lines = [b"nodev\t%s\n" % name for name in own]
    for kind in kernel.filesystem_types:
        lines.append((b"\t" if kind.needs_source else b"nodev\t") + kind.name.encode() + b"\n")
    return b"".join(lines)


def _centiseconds(duration_ns: int) -> tuple[int, int]:
    return divmod(duration_ns // 10_000_000, 100)
