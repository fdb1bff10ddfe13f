"""The directories /proc/PID and /proc/PID/task/TID.

Entries are declared in one table: name, kind, mode, and the function that makes the text. Inode numbers are computed
from thread id and entry, so that they stay the same while the process lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from attrs import frozen

from jefeos.errors import Errno, KernelError
from jefeos.proc import oom
from jefeos.proc.process import NO_LOGIN_UID
from jefeos.vfs.flags import S_IFDIR, S_IFLNK, S_IFREG
from jefeos.vfs.inode import DirEntry, Inode
from jefeos.vfs.path import Path, path_string
from jefeos.vfs.procfs import details, memory, mounts, smaps, status
from jefeos.vfs.procfs.descriptors import DescriptorDirectory, DescriptorInfoDirectory
from jefeos.vfs.procfs.details import MemoryNode, NamespaceDirectory
from jefeos.vfs.procfs.nodes import ProcDirectory, ProcFile, ProcLink

if TYPE_CHECKING:
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task
    from jefeos.vfs.procfs.filesystem import ProcFilesystem
    from jefeos.vfs.vfs import Vfs

COMM_LENGTH: Final = 15
_ENTRY_SHIFT: Final = 32  # of the inode number: below it room for descriptors
_THREAD_SHIFT: Final = 40
_THREAD_FLAG: Final = 1 << 39  # the entry belongs to /proc/PID/task/TID


@frozen
class Entry:
    """One name in a process's directory."""

    name: bytes
    kind: int
    mode: int
    text: Callable[[TaskDirectory], bytes] | None = None
    place: Callable[[TaskDirectory], Path] | None = None
    store: Callable[[TaskDirectory, bytes], None] | None = None
    leader_only: bool = False
    """Not below task/."""


class TaskDirectory(ProcDirectory):
    """The directory of a process, or of one thread if ``task`` is given."""

    fs: ProcFilesystem

    def __init__(self, fs: ProcFilesystem, process: Process, task: Task | None = None) -> None:
        number = (task.tid << _THREAD_SHIFT | _THREAD_FLAG) if task is not None else process.pid << _THREAD_SHIFT
        creds = process.creds
        super().__init__(fs, number, uid=creds.euid, gid=creds.egid)
        self.process = process
        self.task = task
        self.nlink = 9

    def lookup(self, name: bytes) -> Inode:
        entry = _TABLE.get(name)
        if entry is None or (entry.leader_only and self.task is not None) or self.process.state.value == "reaped":
            raise KernelError(Errno.ENOENT)
        return self._node(entry)

    def readdir(self) -> Iterable[DirEntry]:
        return [
            DirEntry(entry.name, self._ino(entry), entry.kind)
            for entry in _TABLE.values()
            if not (entry.leader_only and self.task is not None)
        ]

    def _ino(self, entry: Entry) -> int:
        return self.ino | _INDEX[entry.name] << _ENTRY_SHIFT

    def _node(self, entry: Entry) -> Inode:
        fs, ino, uid, gid = self.fs, self._ino(entry), self.uid, self.gid
        if entry.name == b"task":
            return ThreadsDirectory(fs, ino, self.process, uid, gid)
        if entry.name in (b"fd", b"fdinfo"):
            kind = DescriptorDirectory if entry.name == b"fd" else DescriptorInfoDirectory
            return kind(fs, ino, self.process, self.first_thread(), mode=entry.mode)
        if entry.name == b"ns":
            return NamespaceDirectory(fs, ino, self.process)
        if entry.name == b"mem":
            return MemoryNode(fs, ino, self.process)
        text = entry.text
        assert text is not None
        if entry.kind == S_IFLNK:
            place = entry.place
            lead = (lambda: place(self)) if place is not None else None
            return ProcLink(fs, ino, lambda: text(self), lead=lead, uid=uid, gid=gid)
        store = entry.store
        return ProcFile(
            fs, ino, lambda: self._text(text), mode=entry.mode, uid=uid, gid=gid,
            store=(lambda data: store(self, data)) if store is not None else None,
        )  # fmt: skip

    def _text(self, text: Callable[[TaskDirectory], bytes]) -> bytes:
        if self.process.state.value == "reaped":
            raise KernelError(Errno.ESRCH)
        return text(self)

    def first_thread(self) -> Task | None:
        """The thread shown: in a process's own directory the first one. None after the end."""
        if self.task is not None:
            return self.task
        return self.process.tasks[0] if self.process.tasks else None

    def thread(self) -> Task:
        """The same. ENOENT after the end."""
        task = self.first_thread()
        if task is None:
            raise KernelError(Errno.ENOENT)
        return task

    # -- magic links --------------------------------------------------------------------------------

    def executable(self) -> Path:
        """exe. ENOENT for what has none: applets, zombies."""
        self.fs.check_inspect(self.process)
        if self.process.exe is None or self.process.is_dead:
            raise KernelError(Errno.ENOENT)
        return self.process.exe

    def working_directory(self) -> Path:
        """cwd."""
        self.fs.check_inspect(self.process)
        return self.thread().fs.cwd

    def root_directory(self) -> Path:
        """root."""
        self.fs.check_inspect(self.process)
        return self.thread().fs.root

    def link_text(self, place: Path) -> bytes:
        """What such a link says to the caller."""
        return path_string(place, self.fs.viewer_root())

    def inspected(self) -> Process:
        """The process, for what only those may see who may look into it. EACCES."""
        self.fs.check_inspect(self.process)
        return self.process

    # -- texts --------------------------------------------------------------------------------------

    def command_line(self) -> bytes:
        """cmdline: the arguments, each ended by NUL; nothing for a zombie."""
        if self.process.is_dead:
            return b""
        return b"".join(word + b"\0" for word in self.process.argv)

    def environment(self) -> bytes:
        """environ, as it was at exec."""
        self.fs.check_inspect(self.process)
        return b"" if self.process.is_dead else b"".join(word + b"\0" for word in self.process.environ)

    def set_comm(self, data: bytes) -> None:
        """comm takes a new name from a thread of the same process."""
        caller = self.fs.caller()
        if caller is None or caller.process is not self.process:
            raise KernelError(Errno.EINVAL)
        name = data.rstrip(b"\n")[:COMM_LENGTH]
        if self.task is not None:
            self.task.name = name
        else:
            self.process.name = name
            if self.process.tasks:
                self.process.tasks[0].name = name

    def own_root(self) -> Path:
        """The root that its mounts are seen from."""
        task = self.first_thread()
        return task.fs.root if task is not None else self.fs.kernel.vfs.root

    def mount_table(self) -> bytes:
        """mounts."""
        vfs: Vfs = self.fs.kernel.vfs
        return mounts.mounts(vfs, self.own_root())

    def mount_information(self) -> bytes:
        """mountinfo."""
        vfs: Vfs = self.fs.kernel.vfs
        return mounts.mountinfo(vfs, self.own_root())

    def children(self) -> bytes:
        """task/TID/children: ids of the children."""
        return b"".join(b"%d " % child.pid for child in self.process.children)

    def oom_score_adjustment(self) -> bytes:
        """oom_score_adj as it was set, here or for an ancestor."""
        return b"%d\n" % self.process.oom_score_adjustment

    def oom_score(self) -> bytes:
        """How soon the process ends when memory does."""
        return b"%d\n" % oom.score(self.process, self.fs.kernel.memory.frames.total)

    def set_login_uid(self, value: bytes) -> None:
        """As who the process logged in (audit): set by pam_loginuid, for oneself only, kept by children."""
        task = self.fs.caller()
        if task is None or task.process is not self.process or not task.creds.privileged:
            raise KernelError(Errno.EPERM)
        text = value.rstrip(b"\n\0")
        if not text.isdigit() or int(text) > NO_LOGIN_UID:
            raise KernelError(Errno.EINVAL)
        self.process.login_uid = int(text)

    def set_oom_score_adjustment(self, data: bytes) -> None:
        """A number from -1000 to 1000. EINVAL; EACCES for less than before, unless privileged."""
        try:
            value = int(data)
        except ValueError:
            raise KernelError(Errno.EINVAL) from None
        if not -1000 <= value <= 1000:
            raise KernelError(Errno.EINVAL)
        task = self.fs.caller()
        if value < self.process.oom_score_adjustment and (task is None or not task.creds.privileged):
            raise KernelError(Errno.EACCES)
        self.process.oom_score_adjustment = value


class ThreadsDirectory(ProcDirectory):
    """/proc/PID/task."""

    fs: ProcFilesystem

    def __init__(self, fs: ProcFilesystem, ino: int, process: Process, uid: int, gid: int) -> None:
        super().__init__(fs, ino, uid=uid, gid=gid)
        self.process = process
        self.nlink = 2 + len(process.tasks)

    def lookup(self, name: bytes) -> Inode:
        for task in self.process.tasks:
            if name == b"%d" % task.tid:
                return TaskDirectory(self.fs, self.process, task)
        raise KernelError(Errno.ENOENT)

    def readdir(self) -> Iterable[DirEntry]:
        return [
            DirEntry(b"%d" % task.tid, task.tid << _THREAD_SHIFT | _THREAD_FLAG, S_IFDIR)
            for task in self.process.tasks
        ]


def _constant(text: bytes) -> Callable[[TaskDirectory], bytes]:
    return lambda directory: text


def _file(name: bytes, text: Callable[[TaskDirectory], bytes], mode: int = 0o444, *, leader_only: bool = False,
          store: Callable[[TaskDirectory, bytes], None] | None = None) -> Entry:
    return Entry(name, S_IFREG, mode, text, store=store, leader_only=leader_only)


def _link(name: bytes, place: Callable[[TaskDirectory], Path]) -> Entry:
    return Entry(name, S_IFLNK, 0o777, lambda directory: directory.link_text(place(directory)), place)


_ID_MAP = b"%10d %10d %10d\n" % (0, 0, 4294967295)

_TABLE: Final[dict[bytes, Entry]] = {
    entry.name: entry
    for entry in (
        Entry(b"fd", S_IFDIR, 0o500),
        Entry(b"fdinfo", S_IFDIR, 0o555),
        Entry(b"ns", S_IFDIR, 0o511),
        Entry(b"mem", S_IFREG, 0o600),
        Entry(b"task", S_IFDIR, 0o555, leader_only=True),
        _link(b"cwd", TaskDirectory.working_directory),
        _link(b"exe", TaskDirectory.executable),
        _link(b"root", TaskDirectory.root_directory),
        _file(b"auxv", lambda d: b"" if d.process.is_dead else d.process.auxv, 0o400),
        _file(b"cgroup", _constant(b"0::/\n")),
        _file(b"cpuset", _constant(b"/\n")),
        _file(b"children", TaskDirectory.children),
        _file(b"cmdline", TaskDirectory.command_line),
        _file(b"comm", lambda d: status.command_name(d.process, d.task) + b"\n", 0o644, store=TaskDirectory.set_comm),
        _file(b"coredump_filter", _constant(b"00000033\n"), leader_only=True),
        _file(b"environ", TaskDirectory.environment, 0o400),
        _file(b"gid_map", _constant(_ID_MAP)),
        _file(b"io", lambda d: status.io(d.process), 0o400),
        _file(b"limits", lambda d: status.limits(d.process)),
        _file(b"loginuid", lambda d: b"%d" % d.process.login_uid, 0o644, store=TaskDirectory.set_login_uid),
        _file(b"maps", lambda d: memory.maps(d.process, d.fs.viewer_root())),
        _file(b"mountinfo", TaskDirectory.mount_information),
        _file(b"mounts", TaskDirectory.mount_table),
        _file(b"oom_adj", TaskDirectory.oom_score_adjustment, 0o644, store=TaskDirectory.set_oom_score_adjustment),
        _file(b"oom_score", TaskDirectory.oom_score),
        _file(b"oom_score_adj", TaskDirectory.oom_score_adjustment, 0o644,
              store=TaskDirectory.set_oom_score_adjustment),
        _file(b"personality", _constant(b"00000000\n"), 0o400),
        _file(b"projid_map", _constant(_ID_MAP)),
        _file(b"schedstat", lambda d: details.schedstat(d.process)),
        _file(b"sessionid", _constant(b"4294967295")),
        _file(b"setgroups", _constant(b"allow\n")),
        _file(b"smaps", lambda d: smaps.smaps(d.inspected(), d.fs.viewer_root())),
        _file(b"smaps_rollup", lambda d: smaps.smaps_rollup(d.inspected(), d.fs.viewer_root())),
        _file(b"stat", lambda d: status.stat(d.process, d.task)),
        _file(b"statm", lambda d: status.statm(d.process)),
        _file(b"status", lambda d: status.status(d.process, d.task)),
        _file(b"syscall", lambda d: details.current_call(d.first_thread()), 0o400),
        _file(b"timens_offsets", _constant(b"monotonic           0         0\nboottime            0         0\n"),
              leader_only=True),
        _file(b"timerslack_ns", _constant(b"50000\n"), 0o644, leader_only=True),
        _file(b"uid_map", _constant(_ID_MAP)),
        _file(b"wchan", _constant(b"0")),
    )
}
_INDEX: Final = {name: index for index, name in enumerate(_TABLE, 1)}
