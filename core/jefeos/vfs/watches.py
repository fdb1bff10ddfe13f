"""Watches: who wants to hear what happens to a file or in a directory (the kernel's side of inotify(7)).

    Watches ── inode ── [Watcher, …]        a Watcher is what a notification instance keeps for one inode

Something happens to an inode or to a name:

    file event    read, written, opened, closed       told to the inode, and to the directory it was opened through
    name event    created, deleted, moved             told to the directory only
    self event    deleted, moved                      told to the inode only

Nobody pays for this who is not watched: ``inode.watches`` is None, and the calls of the Vfs and the open files look at
nothing else. It becomes the table when a watch is set on the inode, or on a directory that is known to have it: then
already cached names are marked here, later ones by `Dentry` as it looks them up. A mark is never taken away; it only
says that the table has to be asked.

Bits and order are Linux's (fs/notify/fsnotify.c). Not told: reads and writes of devices, FIFOs and sockets, and what
happens through shared mappings (Linux does not tell the latter either).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from jefeos.vfs.file import File
    from jefeos.vfs.inode import Filesystem, Inode
    from jefeos.vfs.path import Dentry, Path

IN_ACCESS: Final = 0x1
IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
IN_CLOSE_WRITE: Final = 0x8
IN_CLOSE_NOWRITE: Final = 0x10
IN_OPEN: Final = 0x20
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_ISDIR: Final = 0x4000_0000


class Watcher(Protocol):
    """One watch of one inode."""

    def tell(self, event: int, name: bytes, cookie: int, unlinked: bool) -> None:
        """Something happened: one IN_* bit, maybe with IN_ISDIR. ``name`` is of an entry of the watched directory;
        ``unlinked``: the entry's name is gone already."""
        ...

    def inode_gone(self) -> None:
        """The inode has ended; nothing more will come."""
        ...


class Watches:
    """The watchers of every inode of a Vfs."""

    def __init__(self) -> None:
        self._watchers: dict[Inode, list[Watcher]] = {}
        self._last_cookie = 0

    # --- watching ------------------------------------------------------------------------------------------

    def add(self, place: Path, watcher: Watcher) -> None:
        """Watch what is at ``place``."""
        inode = place.inode
        self._watchers.setdefault(inode, []).append(watcher)
        inode.watches = self
        for child in place.dentry.children.values():
            if child.inode is not None:
                child.inode.watches = self

    def remove(self, inode: Inode, watcher: Watcher) -> None:
        """Watch it no more."""
        watchers = self._watchers.get(inode, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(inode, None)

    # --- telling: called only for inodes that are marked -----------------------------------------------------

    def inode_event(self, inode: Inode, event: int) -> None:
        """A self event."""
        self._tell(inode, event | _directory_bit(inode), b"", 0, False)

    def event_at(self, dentry: Dentry | None, inode: Inode, event: int) -> None:
        """A file event seen through the name ``dentry``."""
        event |= _directory_bit(inode)
        if dentry is not None and dentry.parent is not None and dentry.parent.inode is not None:
            self._tell(dentry.parent.inode, event, dentry.name, 0, dentry.deleted)
        self._tell(inode, event, b"", 0, False)

    def file_event(self, file: File, event: int) -> None:
        """A file event through an open file."""
        self.event_at(file.path.dentry if file.path is not None else None, file.inode, event)

    def name_event(self, directory: Inode, name: bytes, inode: Inode, event: int, cookie: int = 0) -> None:
        """A name event in ``directory``; ``inode`` is what the name meant."""
        self._tell(directory, event | _directory_bit(inode), name, cookie, False)

    def moved(self, old: Inode, old_name: bytes, new: Inode, new_name: bytes, inode: Inode) -> None:
        """A rename: both halves have one cookie, by which the reader puts them together."""
        self._last_cookie += 1
        self.name_event(old, old_name, inode, IN_MOVED_FROM, self._last_cookie)
        self.name_event(new, new_name, inode, IN_MOVED_TO, self._last_cookie)

    def ended(self, inode: Inode) -> None:
        """The last name and the last open file are gone."""
        self.inode_event(inode, IN_DELETE_SELF)
        self._end(inode)

    def unmounted(self, fs: Filesystem) -> None:
        """A filesystem is no longer mounted anywhere."""
        for inode in [inode for inode in self._watchers if inode.fs is fs]:
            self._tell(inode, IN_UNMOUNT, b"", 0, False)
            self._end(inode)

    def _end(self, inode: Inode) -> None:
        for watcher in self._watchers.pop(inode, ()):
            watcher.inode_gone()

    def _tell(self, inode: Inode, event: int, name: bytes, cookie: int, unlinked: bool) -> None:
        for watcher in tuple(self._watchers.get(inode, ())):
            watcher.tell(event, name, cookie, unlinked)


def _directory_bit(inode: Inode) -> int:
    return IN_ISDIR if inode.is_directory else 0
