"""The hardware clock: /dev/rtc0, a date that goes on while the system is off.

It is the clock that the kernel's own date was taken from at boot, in seconds since 1970 (UTC). A program that sets it
moves this boot's copy: the host's clock stays as it is. One program at a time has it open (EBUSY), as on Linux.

With update interrupts on, a read waits for the second to change. Numbers and structures of the ioctls are the ABI
layer's. Does not do: alarms, periodic interrupts.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import MaybeAwait, WaitQueue
from jefeos.vfs.devices import DeviceRegistry
from jefeos.vfs.file import File
from jefeos.vfs.flags import POLL_READABLE, make_device
from jefeos.vfs.inode import Inode, OpenContext

if TYPE_CHECKING:
    from jefeos.sched.clock import Clock
    from jefeos.sched.loop import KernelLoop
    from jefeos.vfs.path import Path

RTC_DEVICE = make_device(254, 0)  # of the range that devices.txt leaves to be given out at boot
NS = 1_000_000_000
_WORD = struct.Struct("<Q")
_UPDATE_FLAGS = 0x90  # RTC_IRQF | RTC_UF, below the count


class HardwareClock:
    """The clock itself; there is one."""

    def __init__(self, clock: Clock, loop: KernelLoop) -> None:
        self._clock = clock
        self.loop = loop
        self._offset_s = 0
        self.is_open = False

    def register(self, devices: DeviceRegistry) -> None:
        """Makes /dev/rtc0."""
        devices.register(b"rtc0", RTC_DEVICE, self.open, mode=0o600)

    def open(self, inode: Inode, flags: int, context: OpenContext) -> File:
        """EBUSY while somebody has it."""
        if self.is_open:
            raise KernelError(Errno.EBUSY)
        return RtcFile(inode, flags, context.path, self)

    @property
    def seconds(self) -> int:
        """The date, in seconds since 1970."""
        return self._clock.hardware_ns() // NS + self._offset_s

    @seconds.setter
    def seconds(self, seconds: int) -> None:
        self._offset_s = seconds - self._clock.hardware_ns() // NS

    @property
    def until_next_second_ns(self) -> int:
        """How long the date stays what it is."""
        return NS - self._clock.hardware_ns() % NS


class RtcFile(File):
    """The clock, opened."""

    def __init__(self, inode: Inode, flags: int, path: Path | None, clock: HardwareClock) -> None:
        super().__init__(inode, flags, path)
        self.clock = clock
        clock.is_open = True
        self._queue = WaitQueue()
        self._updates = 0
        self._timer: Any = None

    def set_update_interrupts(self, on: bool) -> None:
        """RTC_UIE_ON, RTC_UIE_OFF: count the seconds that begin."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if on:
            self._start()

    def _start(self) -> None:
        self._timer = self.clock.loop.call_later_ns(self.clock.until_next_second_ns, self._second_began)

    def _second_began(self) -> None:
        self._updates += 1
        self._queue.wake_all()
        self._start()

    def read(self, count: int) -> MaybeAwait[bytes]:
        """A word: flags, and above them how many seconds began since the last read. Waits for the first."""
        if count < _WORD.size:
            raise KernelError(Errno.EINVAL)
        if self._updates:
            return self._take()
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._wait_and_take()

    def _take(self) -> bytes:
        updates, self._updates = self._updates, 0
        return _WORD.pack(updates << 8 | _UPDATE_FLAGS)

    async def _wait_and_take(self) -> bytes:
        while not self._updates:
            await self._queue.wait()
        return self._take()

    def poll(self) -> int:
        return POLL_READABLE if self._updates else 0

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self._queue,)

    def release(self) -> None:
        self.set_update_interrupts(False)
        self.clock.is_open = False
        super().release()
