"""epoll: the interest list and the ready list (epoll(7); the calls are in calls_events.py).

    EpollFile.items   (descriptor, file) -> Item        everything of interest
    EpollFile.ready   Items that may be ready, in order

An `Item` sits on its file's wait queues like a task would. When a queue is woken, the item moves to the ready
list and whoever waits on the epoll is woken. `collect` looks at the ready items only: those whose file has no
event any more go back onto the queues; a reported one stays on the list if it is level-triggered, and goes back
onto the queues if it is edge-triggered (so it is reported again at the next wake-up, and not before).

A file is not kept open by being in an epoll: its item is told when it is released, and goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.sched.wait import WaitQueue
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_RDWR, POLL_READABLE, POLLERR, POLLHUP

from jefeos_abi_linux.events import AnonymousFile

if TYPE_CHECKING:
    from jefeos.kernel import Kernel

EPOLLEXCLUSIVE: Final = 1 << 28
EPOLLWAKEUP: Final = 1 << 29
EPOLLONESHOT: Final = 1 << 30
EPOLLET: Final = 1 << 31
_PRIVATE_BITS: Final = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET
_ALWAYS: Final = POLLERR | POLLHUP
NESTING_LIMIT: Final = 5


class Item:
    """One descriptor's entry. A waiter in the sense of `WaitQueue`, and a `Watcher` of its file."""

    __slots__ = ("data", "enabled", "epoll", "events", "fd", "file", "queues")

    def __init__(self, epoll: EpollFile, fd: int, file: File, events: int, data: int) -> None:
        self.epoll = epoll
        self.fd = fd
        self.file = file
        self.queues: tuple[WaitQueue, ...] = ()
        self.change(events, data)

    def change(self, events: int, data: int) -> None:
        """EPOLL_CTL_MOD."""
        self.events = events | _ALWAYS
        self.data = data
        self.enabled = True

    def arm(self) -> None:
        """Wait for the file's next change."""
        self.queues = self.file.poll_queues()
        for queue in self.queues:
            queue.add(self)

    def disarm(self) -> None:
        """Leave the file's queues."""
        for queue in self.queues:
            queue.discard(self)
        self.queues = ()

    def wake(self) -> bool:
        """The file changed."""
        self.disarm()
        self.epoll.mark_ready(self)
        return True

    def file_released(self, file: File) -> None:
        """The last descriptor was closed."""
        self.epoll.drop(self)

    def current(self) -> int:
        """The events that hold now and are wanted."""
        return self.file.poll() & self.events & ~_PRIVATE_BITS if self.enabled else 0


class EpollFile(AnonymousFile):
    """An epoll instance."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, O_RDWR, b"anon_inode:[eventpoll]")
        self.items: dict[tuple[int, File], Item] = {}
        self.ready: dict[Item, None] = {}
        self.queue = WaitQueue()

    # --- the interest list ---------------------------------------------------------------------------------

    def add(self, fd: int, file: File, events: int, data: int) -> None:
        """EPOLL_CTL_ADD. EEXIST, ELOOP; EPERM for files that are always ready."""
        if type(file).poll is File.poll:
            raise KernelError(Errno.EPERM)
        if (fd, file) in self.items:
            raise KernelError(Errno.EEXIST)
        if isinstance(file, EpollFile) and (file.reaches(self) or file.depth() >= NESTING_LIMIT):
            raise KernelError(Errno.ELOOP)
        item = self.items[fd, file] = Item(self, fd, file, events, data)
        if file.watchers is None:
            file.watchers = set()
        file.watchers.add(item)
        self._check(item)

    def modify(self, fd: int, file: File, events: int, data: int) -> None:
        """EPOLL_CTL_MOD. ENOENT."""
        item = self._item(fd, file)
        if (item.events | events) & EPOLLEXCLUSIVE:
            raise KernelError(Errno.EINVAL)
        item.disarm()
        self.ready.pop(item, None)
        item.change(events, data)
        self._check(item)

    def remove(self, fd: int, file: File) -> None:
        """EPOLL_CTL_DEL. ENOENT."""
        self.drop(self._item(fd, file))

    def _item(self, fd: int, file: File) -> Item:
        item = self.items.get((fd, file))
        if item is None:
            raise KernelError(Errno.ENOENT)
        return item

    def drop(self, item: Item) -> None:
        """Forget an item."""
        item.disarm()
        self.ready.pop(item, None)
        self.items.pop((item.fd, item.file), None)
        if item.file.watchers is not None:
            item.file.watchers.discard(item)

    def _check(self, item: Item) -> None:
        if item.current():
            self.mark_ready(item)
        else:
            item.arm()

    def reaches(self, other: EpollFile) -> bool:
        """Whether ``other`` is this epoll or watched from it, directly or not."""
        if self is other:
            return True
        return any(isinstance(file, EpollFile) and file.reaches(other) for _, file in self.items)

    def depth(self) -> int:
        """How many epolls deep the nesting below goes."""
        return 1 + max((file.depth() for _, file in self.items if isinstance(file, EpollFile)), default=0)

    # --- the ready list ------------------------------------------------------------------------------------

    def mark_ready(self, item: Item) -> None:
        """``item`` may have events now."""
        self.ready[item] = None
        self.queue.wake_all()

    def collect(self, limit: int) -> list[tuple[int, int]]:
        """Up to ``limit`` (events, data) of ready items; reported level-triggered ones go to the list's end."""
        found: list[tuple[int, int]] = []
        for item in list(self.ready):
            if len(found) >= limit:
                break
            del self.ready[item]
            item.disarm()
            item.arm()  # before looking, so that nothing is missed
            events = item.current()
            if not events:
                continue
            found.append((events, item.data))
            if item.events & EPOLLONESHOT:
                item.enabled = False
            elif not item.events & EPOLLET:
                item.disarm()
                self.ready[item] = None
        return found

    def _has_ready(self) -> bool:
        for item in list(self.ready):
            if item.current():
                return True
            else:
                del self.ready[item]
                item.arm()
        return False

    # --- as a file -----------------------------------------------------------------------------------------

    def poll(self) -> int:
        return POLL_READABLE if self._has_ready() else 0

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.queue,)

    def release(self) -> None:
        for item in list(self.items.values()):
            self.drop(item)
        super().release()
