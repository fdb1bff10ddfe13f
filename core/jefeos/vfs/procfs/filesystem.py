"""The root of /proc: fixed names, ``self``, and a directory for each process.

Nothing is cached: names come and go with processes. "Caller" is the task on the CPU; for path calls of the kernel
itself there is none, then ``self`` leads nowhere and everything may be inspected.

Does not do: hidepid, network namespaces (/proc/net is one for all); most of what is written to /proc/sys outside of
net is only remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jefeos.errors import Errno, KernelError
from jefeos.kmsg import StreamFile
from jefeos.vfs.flags import S_IFDIR, S_IFREG, FilesystemMagic
from jefeos.vfs.inode import DirEntry, Filesystem, FilesystemStat, Inode, OpenContext
from jefeos.vfs.path import Path
from jefeos.vfs.procfs import sysctl
from jefeos.vfs.procfs.locks import locks
from jefeos.vfs.procfs.network import NetworkText
from jefeos.vfs.procfs.nodes import ProcDirectory, ProcFile, ProcLink, ProcNode, StaticDirectory
from jefeos.vfs.procfs.processes import TaskDirectory
from jefeos.vfs.procfs.system import SystemText

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.process import Process
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.file import File

_ROOT_INODE = 1
_LOG_MODE = 0o400
_PROCESS_INODE_SHIFT = 40


class ProcFilesystem(Filesystem):
    """The filesystem at /proc; one for each kernel."""

    name = "proc"
    cacheable_dentries = False
    no_access_times = True

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel.clock)
        self.kernel: Kernel = kernel
        self._last_inode = _ROOT_INODE
        self._root = ProcRoot(self, self._fixed_nodes())

    @property
    def root(self) -> Inode:
        return self._root

    def statfs(self) -> FilesystemStat:
        return FilesystemStat(type=FilesystemMagic.PROC, fsid=self.device)

    # -- the caller ---------------------------------------------------------------------------------

    def caller(self) -> Task | None:
        """The task that makes the current call."""
        task: Task | None = self.kernel.executor.current
        return task

    def viewer_root(self) -> Path | None:
        """The root that names are shown from."""
        task = self.caller()
        return task.fs.root if task is not None else None

    def check_inspect(self, process: Process) -> None:
        """The rule of ptrace for looking into a process: root, or the same user throughout. Raises EACCES."""
        task = self.caller()
        if task is None or task.process is process or task.creds.fsuid == 0:
            return
        theirs = process.creds
        if {theirs.uid, theirs.euid, theirs.suid} != {task.creds.fsuid} or not process.dumpable:
            raise KernelError(Errno.EACCES)

    # -- the fixed part -----------------------------------------------------------------------------

    def _next_inode(self) -> int:
        self._last_inode += 1
        return self._last_inode

    def _fixed_nodes(self) -> dict[bytes, Inode]:
        text = SystemText(self.kernel)
        files: dict[bytes, Callable[[], bytes]] = {
            b"cmdline": lambda: b"jefeos\n",
            b"consoles": lambda: b"console              -W- (EC p  )    5:1\n",
            b"cpuinfo": text.cpuinfo,
            b"devices": text.devices,
            b"diskstats": lambda: b"",
            b"filesystems": text.filesystems,
            b"interrupts": text.interrupts,
            b"loadavg": text.loadavg,
            b"locks": lambda: locks(self.kernel),
            b"softirqs": text.softirqs,
            b"meminfo": text.meminfo,
            b"modules": lambda: b"",
            b"partitions": lambda: b"major minor  #blocks  name\n\n",
            b"stat": text.stat,
            b"swaps": lambda: b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
            b"uptime": text.uptime,
            b"version": self._version,
            b"vmstat": text.vmstat,
        }
        nodes: dict[bytes, Inode] = {
            name: ProcFile(self, self._next_inode(), generate) for name, generate in files.items()
        }
        nodes[b"kmsg"] = ProcLog(self, self._next_inode(), S_IFREG | _LOG_MODE)
        nodes[b"self"] = ProcLink(self, self._next_inode(), self._self)
        nodes[b"thread-self"] = ProcLink(self, self._next_inode(), self._thread_self)
        nodes[b"mounts"] = ProcLink(self, self._next_inode(), lambda: b"self/mounts")
        network = {
            name: ProcFile(self, self._next_inode(), text) for name, text in NetworkText(self.kernel).files().items()
        }
        nodes[b"net"] = StaticDirectory(self, self._next_inode(), network)
        nodes[b"sys"] = sysctl.build(self, self.kernel, self._next_inode)
        return nodes

    def _self(self) -> bytes:
        task = self.caller()
        if task is None:
            raise KernelError(Errno.ENOENT)
        return b"%d" % task.process.pid

    def _thread_self(self) -> bytes:
        task = self.caller()
        if task is None:
            raise KernelError(Errno.ENOENT)
        return b"%d/task/%d" % (task.process.pid, task.tid)

    def _version(self) -> bytes:
        return b"%s version %s (jefeos@jefeos) (python) %s\n" % (
            sysctl.OSTYPE, sysctl.release_of(self.kernel), sysctl.version_of(self.kernel),
        )  # fmt: skip


class ProcLog(ProcNode):
    """/proc/kmsg."""

    fs: ProcFilesystem

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        return StreamFile(self.fs.kernel.messages, self, flags, context.path)


class ProcRoot(ProcDirectory):
    """/proc."""

    fs: ProcFilesystem

    def __init__(self, fs: ProcFilesystem, nodes: dict[bytes, Inode]) -> None:
        super().__init__(fs, _ROOT_INODE)
        self.nodes = nodes

    def refresh(self) -> None:
        self.nlink = 3 + len(self.fs.kernel.processes.processes)

    def lookup(self, name: bytes) -> Inode:
        node = self.nodes.get(name)
        if node is not None:
            return node
        if name.isdigit() and name[:1] != b"0" and len(name) <= 10:
            table = self.fs.kernel.processes
            number = int(name)
            process = table.processes.get(number)
            if process is None and number in table.tasks:
                process = table.tasks[number].process  # a thread's id: not listed, but found
            if process is not None:
                return TaskDirectory(self.fs, process)
        raise KernelError(Errno.ENOENT)

    def readdir(self) -> Iterable[DirEntry]:
        fixed = [DirEntry(name, node.ino, node.kind) for name, node in self.nodes.items()]
        pids = sorted(self.fs.kernel.processes.processes)
        return fixed + [DirEntry(b"%d" % pid, pid << _PROCESS_INODE_SHIFT, S_IFDIR) for pid in pids]
