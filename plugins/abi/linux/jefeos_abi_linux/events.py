"""Files that are events: eventfd, timerfd, signalfd (their calls are in calls_events.py).

Each is a `File` without a place in any tree, readable when its event has happened. Reads give fixed records; a
read that would wait follows the `MaybeAwait` convention like every other file's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import PendingSignals, SignalInfo
from jefeos.sched.wait import MaybeAwait, WaitQueue
from jefeos.structs import Struct, pad, s32, u16, u32, u64
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_RDWR, POLL_READABLE, POLL_WRITABLE, POLLERR

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.task import Task

_U64: Final = struct.Struct("<Q")
_COUNTER_MAX: Final = 0xFFFF_FFFF_FFFF_FFFE
_WORD_BYTES: Final = 8


class AnonymousFile(File):
    """A file that only the kernel knows, on an inode of its own. ``label`` is what /proc/PID/fd shows."""

    def __init__(self, kernel: Kernel, flags: int, label: bytes) -> None:
        vfs = kernel.vfs
        inode = vfs.anonymous_inode(0o600)
        super().__init__(inode, flags, vfs.anonymous_path(inode, label))
        self.kernel = kernel
        self._label = label

    def seek(self, offset: int, whence: int) -> int:
        return 0  # noop_llseek: these files let themselves be positioned, to no effect

    @property
    def label(self) -> bytes:
        return self._label


class EventFile(AnonymousFile):
    """eventfd(2): a counter. Reading takes all of it, or 1 of a semaphore; writing adds."""

    def __init__(self, kernel: Kernel, flags: int, count: int, *, semaphore: bool) -> None:
        super().__init__(kernel, flags | O_RDWR, b"anon_inode:[eventfd]")
        self.count = count
        self.semaphore = semaphore
        self.queue = WaitQueue()

    def read(self, count: int) -> MaybeAwait[bytes]:
        if count < _WORD_BYTES:
            raise KernelError(Errno.EINVAL)
        if self.count:
            return self._take()
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._wait_and_take()

    def _take(self) -> bytes:
        taken = 1 if self.semaphore else self.count
        self.count -= taken
        self.queue.wake_all()
        return _U64.pack(taken)

    async def _wait_and_take(self) -> bytes:
        while not self.count:
            await self.queue.wait()
        return self._take()

    def write(self, data: bytes) -> MaybeAwait[int]:
        if len(data) < _WORD_BYTES:
            raise KernelError(Errno.EINVAL)
        added = _U64.unpack_from(data)[0]
        if added > _COUNTER_MAX:
            raise KernelError(Errno.EINVAL)
        if self.count + added <= _COUNTER_MAX:
            return self._add(added)
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._wait_and_add(added)

    def _add(self, added: int) -> int:
        self.count += added
        if self.queue:
            self.queue.wake_all()
        return _WORD_BYTES

    async def _wait_and_add(self, added: int) -> int:
        while self.count + added > _COUNTER_MAX:
            await self.queue.wait()
        return self._add(added)

    def poll(self) -> int:
        events = POLL_READABLE if self.count else 0
        if self.count < _COUNTER_MAX:
            events |= POLL_WRITABLE
        return events if self.count <= _COUNTER_MAX else events | POLLERR

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.queue,)


class TimerFile(AnonymousFile):
    """timerfd_create(2). ``realtime``: deadlines are dates, and setting the clock moves them (not tracked here)."""

    def __init__(self, kernel: Kernel, flags: int, *, realtime: bool) -> None:
        super().__init__(kernel, flags | O_RDWR, b"anon_inode:[timerfd]")
        self.realtime = realtime
        self.queue = WaitQueue()
        self.interval_ns = 0
        self.deadline_ns: int | None = None
        """Monotonic time of the next expiry; None while disarmed."""
        self.expirations = 0
        self._timer: Any = None

    def now_ns(self) -> int:
        """The timer's own clock."""
        clock = self.kernel.clock
        return clock.realtime_ns() if self.realtime else clock.monotonic_ns()

    def settings(self) -> tuple[int, int]:
        """(interval, time to the next expiry) in nanoseconds; the latter is 0 while disarmed."""
        if self.deadline_ns is None:
            return self.interval_ns, 0
        return self.interval_ns, max(self.deadline_ns - self.kernel.clock.monotonic_ns(), 1)

    def arm(self, value_ns: int, interval_ns: int, *, absolute: bool) -> None:
        """Set or, with ``value_ns`` 0, disarm it."""
        self._cancel()
        self.expirations = 0
        self.interval_ns = interval_ns
        if not value_ns:
            self.deadline_ns = None
            return
        delay_ns = max(value_ns - self.now_ns(), 0) if absolute else value_ns
        self.deadline_ns = self.kernel.clock.monotonic_ns() + delay_ns
        self._start(delay_ns)

    def _start(self, delay_ns: int) -> None:
        self._timer = self.kernel.loop.call_later_ns(delay_ns, self._expire)

    def _expire(self) -> None:
        self._timer = None
        deadline_ns = self.deadline_ns
        if deadline_ns is None:
            return
        now_ns = self.kernel.clock.monotonic_ns()
        if self.interval_ns:
            missed = max(now_ns - deadline_ns, 0) // self.interval_ns
            self.expirations += 1 + missed
            self.deadline_ns = deadline_ns + (missed + 1) * self.interval_ns
            self._start(max(self.deadline_ns - now_ns, 0))
        else:
            self.expirations += 1
            self.deadline_ns = None
        self.queue.wake_all()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def read(self, count: int) -> MaybeAwait[bytes]:
        if count < _WORD_BYTES:
            raise KernelError(Errno.EINVAL)
        if self.expirations:
            return self._take()
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._wait_and_take()

    def _take(self) -> bytes:
        taken, self.expirations = self.expirations, 0
        return _U64.pack(taken)

    async def _wait_and_take(self) -> bytes:
        while not self.expirations:
            await self.queue.wait()
        return self._take()

    def write(self, data: bytes) -> int:
        raise KernelError(Errno.EINVAL)

    def poll(self) -> int:
        return POLL_READABLE if self.expirations else 0

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.queue,)

    def release(self) -> None:
        self._cancel()
        super().release()


class SignalfdSiginfo(Struct):
    """struct signalfd_siginfo (linux/signalfd.h)."""

    ssi_signo: int = u32()
    ssi_errno: int = s32()
    ssi_code: int = s32()
    ssi_pid: int = u32()
    ssi_uid: int = u32()
    ssi_fd: int = s32()
    ssi_tid: int = u32()
    ssi_band: int = u32()
    ssi_overrun: int = u32()
    ssi_trapno: int = u32()
    ssi_status: int = s32()
    ssi_int: int = s32()
    ssi_ptr: int = u64()
    ssi_utime: int = u64()
    ssi_stime: int = u64()
    ssi_addr: int = u64()
    ssi_addr_lsb: int = u16()
    _pad = pad(46)


class SignalFile(AnonymousFile):
    """signalfd(2): takes the blocked signals of ``mask`` that are pending for whoever reads it."""

    def __init__(self, kernel: Kernel, flags: int, mask: int) -> None:
        super().__init__(kernel, flags | O_RDWR, b"anon_inode:[signalfd]")
        self.mask = mask

    def read(self, count: int) -> MaybeAwait[bytes]:
        if count < SignalfdSiginfo.size:
            raise KernelError(Errno.EINVAL)
        task = self.kernel.executor.current
        if task is None:
            raise KernelError(Errno.EAGAIN)
        records = self._take(task, count)
        if records:
            return records
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._wait_and_take(task, count)

    async def _wait_and_take(self, task: Task, count: int) -> bytes:
        while not (records := self._take(task, count)):
            await task.process.signal_queue.wait()
        return records

    def _take(self, task: Task, count: int) -> bytes:
        records: list[bytes] = []
        for pending in (task.pending, task.process.pending):
            while len(records) < count // SignalfdSiginfo.size:
                info = _next(pending, self.mask)
                if info is None:
                    break
                records.append(signalfd_record(info))
        return b"".join(records)

    def write(self, data: bytes) -> int:
        raise KernelError(Errno.EINVAL)

    def poll(self) -> int:
        task = self.kernel.executor.current
        if task is None:
            return 0
        return POLL_READABLE if (task.pending.mask | task.process.pending.mask) & self.mask else 0

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        task = self.kernel.executor.current
        return () if task is None else (task.process.signal_queue,)


def _next(pending: PendingSignals, mask: int) -> SignalInfo | None:
    return pending.take(mask) if pending.mask & mask else None


def signalfd_record(info: SignalInfo) -> bytes:
    """What a signalfd's reader gets for a signal."""
    low = info.value & 0xFFFF_FFFF
    return SignalfdSiginfo(
        ssi_signo=info.signo,
        ssi_code=info.code,
        ssi_pid=info.pid,
        ssi_uid=info.uid,
        ssi_tid=info.timer_id,
        ssi_overrun=info.overrun,
        ssi_trapno=info.vector,
        ssi_status=info.status,
        ssi_int=(low ^ 0x8000_0000) - 0x8000_0000,
        ssi_ptr=info.value,
        ssi_utime=info.user_ns // 10_000_000,
        ssi_stime=info.system_ns // 10_000_000,
        ssi_addr=info.address,
    ).pack()
