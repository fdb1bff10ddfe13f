"""inotify(7): instances, their watches, and the queue of events that a program reads.

    InotifyFile -- by number --> InotifyWatch --- one inode each (`jefeos.vfs.watches`)
         |
         +-- queue of struct inotify_event, bounded by fs.inotify.max_queued_events

An event equal to the last one queued is not queued again. A full queue gets one IN_Q_OVERFLOW and loses the rest until
it is read. Watch numbers are never used twice. The limits of instances and watches are for each user, in
/proc/sys/fs/inotify.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import define, field
from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import MaybeAwait, WaitQueue
from jefeos.vfs.flags import POLL_READABLE
from jefeos.vfs.watches import IN_DELETE_SELF, IN_MOVE_SELF

from jefeos_abi_linux.events import AnonymousFile

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.vfs.inode import Inode
    from jefeos.vfs.path import Path

IN_ALL_EVENTS: Final = 0xFFF
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x0100_0000
IN_DONT_FOLLOW: Final = 0x0200_0000
IN_EXCL_UNLINK: Final = 0x0400_0000
IN_MASK_CREATE: Final = 0x1000_0000
IN_MASK_ADD: Final = 0x2000_0000
IN_ISDIR: Final = 0x4000_0000
IN_ONESHOT: Final = 0x8000_0000
_KEPT_IN_MASK: Final = IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT
_HEADER: Final = struct.Struct("<iIII")


class Event(NamedTuple):
    """struct inotify_event."""

    watch: int
    mask: int
    cookie: int
    name: bytes

    def pack(self) -> bytes:
        """The record: the name is padded with NULs to a multiple of the header's size."""
        length = (len(self.name) // _HEADER.size + 1) * _HEADER.size if self.name else 0
        return _HEADER.pack(self.watch, self.mask, self.cookie, length) + self.name.ljust(length, b"\0")


@define(eq=False)
class InotifyWatch:
    """A watch: one inode, seen by one instance."""

    instance: InotifyFile
    number: int
    inode: Inode
    mask: int

    def tell(self, event: int, name: bytes, cookie: int, unlinked: bool) -> None:
        """`jefeos.vfs.watches.Watcher`."""
        mask = self.mask
        if not event & (mask | IN_UNMOUNT) & ~IN_ISDIR or unlinked and mask & IN_EXCL_UNLINK:
            return
        if event & (IN_DELETE_SELF | IN_MOVE_SELF):
            event &= ~IN_ISDIR
        self.instance.queue_event(Event(self.number, event, cookie, name))
        if mask & IN_ONESHOT:
            self.instance.remove(self.number)

    def inode_gone(self) -> None:
        """`jefeos.vfs.watches.Watcher`."""
        self.instance.forget(self)


@define(eq=False)
class UserCounts:
    """What each user has of instances and watches."""

    instances: dict[int, int] = field(factory=dict)
    watches: dict[int, int] = field(factory=dict)


class InotifyFile(AnonymousFile):
    """inotify_init(2)."""

    def __init__(self, kernel: Kernel, flags: int, uid: int) -> None:
        self.counts: UserCounts = _counts(kernel)
        self.uid = uid
        if self.counts.instances.get(uid, 0) >= kernel.settings.number("fs/inotify/max_user_instances"):
            raise KernelError(Errno.EMFILE)
        super().__init__(kernel, flags, b"anon_inode:inotify")
        self.counts.instances[uid] = self.counts.instances.get(uid, 0) + 1
        self.watches: dict[int, InotifyWatch] = {}
        self.queue = WaitQueue()
        self._events: deque[Event] = deque()
        self._last_number = 0

    # --- watches -------------------------------------------------------------------------------------------

    def watch(self, place: Path, mask: int) -> int:
        """inotify_add_watch(2): the number of a new watch, or of the one that the inode has. EEXIST, ENOSPC."""
        inode = place.inode
        for watch in self.watches.values():
            if watch.inode is inode:
                if mask & IN_MASK_CREATE:
                    raise KernelError(Errno.EEXIST)
                kept = watch.mask if mask & IN_MASK_ADD else 0
                watch.mask = kept | mask & _KEPT_IN_MASK
                return watch.number
        used = self.counts.watches.get(self.uid, 0)
        if used >= self.kernel.settings.number("fs/inotify/max_user_watches"):
            raise KernelError(Errno.ENOSPC)
        self.counts.watches[self.uid] = used + 1
        self._last_number += 1
        watch = InotifyWatch(self, self._last_number, inode, mask & _KEPT_IN_MASK)
        self.watches[watch.number] = watch
        self.kernel.vfs.watches.add(place, watch)
        return watch.number

    def remove(self, number: int) -> None:
        """inotify_rm_watch(2). EINVAL for a number that is none."""
        watch = self.watches.get(number)
        if watch is None:
            raise KernelError(Errno.EINVAL)
        self.kernel.vfs.watches.remove(watch.inode, watch)
        self.forget(watch)

    def forget(self, watch: InotifyWatch) -> None:
        """The watch has ended; the reader is told so."""
        if self.watches.pop(watch.number, None) is not None:
            self.counts.watches[self.uid] -= 1
            self.queue_event(Event(watch.number, IN_IGNORED, 0, b""))

    # --- the queue -----------------------------------------------------------------------------------------

    def queue_event(self, event: Event) -> None:
        """Something to be read."""
        events = self._events
        last = events[-1] if events else None
        if last is not None and last.mask & IN_Q_OVERFLOW:
            return
        if last is not None and last[:2] == event[:2] and last.name == event.name:
            return
        if len(events) >= self.kernel.settings.number("fs/inotify/max_queued_events"):
            event = Event(-1, IN_Q_OVERFLOW, 0, b"")
        events.append(event)
        self.queue.wake_all()

    @property
    def available(self) -> int:
        """Bytes that could be read (FIONREAD)."""
        return sum(len(event.pack()) for event in self._events)

    def read(self, count: int) -> MaybeAwait[bytes]:
        if self._events:
            return self._take(count)
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._wait_and_take(count)

    def _take(self, count: int) -> bytes:
        """Whole events, as many as fit. EINVAL if the first one does not."""
        records = b""
        while self._events:
            record = self._events[0].pack()
            if len(records) + len(record) > count:
                if not records:
                    raise KernelError(Errno.EINVAL)
                break
            self._events.popleft()
            records += record
        return records

    async def _wait_and_take(self, count: int) -> bytes:
        while not self._events:
            await self.queue.wait()
        return self._take(count)

    def poll(self) -> int:
        return POLL_READABLE if self._events else 0

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.queue,)

    def release(self) -> None:
        for watch in self.watches.values():
            self.kernel.vfs.watches.remove(watch.inode, watch)
        self.counts.watches[self.uid] = self.counts.watches.get(self.uid, 0) - len(self.watches)
        self.watches.clear()
        self.counts.instances[self.uid] -= 1
        super().release()


def _counts(kernel: Kernel) -> UserCounts:
    """One for each kernel, made at first use."""
    counts: UserCounts | None = getattr(kernel, "inotify_counts", None)
    if counts is None:
        counts = UserCounts()
        kernel.inotify_counts = counts  # type: ignore[attr-defined]
    return counts
