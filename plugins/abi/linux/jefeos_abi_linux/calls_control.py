"""Control of processes beyond their making and ending: prctl, pidfds, other processes' memory, namespaces.

The only namespaces here are those of host and domain name (UTS, for whole processes). unshare of what is not shared
anyway works (files, directory state), everything else is refused the way a kernel without namespaces refuses.
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.mm.space import Advice
from jefeos.proc.namespaces import SystemNames
from jefeos.proc.process import Process, ProcessState
from jefeos.proc.signals import SIGNAL_COUNT, SignalCode, SignalInfo
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Long, Size, UInt, ULong, UserPtr
from jefeos.vfs.flags import O_NONBLOCK
from jefeos.vfs.mount_trees import translated
from jefeos.vfs.path import Mount
from jefeos.vfs.procfs.details import NamespaceInode

from jefeos_abi_linux.calls_capabilities import CAPABILITY_OPTIONS, prctl_capabilities
from jefeos_abi_linux.calls_process import (
    CLONE_FILES,
    CLONE_FS,
    CLONE_NEW_ANY,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    CLONE_SIGHAND,
    CLONE_SYSVSEM,
    CLONE_THREAD,
    CLONE_VM,
)
from jefeos_abi_linux.calls_seccomp import set_by_prctl
from jefeos_abi_linux.calls_signals import may_signal
from jefeos_abi_linux.pidfd import give_pidfd, process_of, signal_target
from jefeos_abi_linux.siginfo import read_siginfo
from jefeos_abi_linux.structs_common import read_iovecs

NAME_BYTES: Final = 16
STATE_KEY: Final = "linux.prctl"
DEFAULT_TIMER_SLACK_NS: Final = 50_000
VMA_NAME_LIMIT: Final = 80
TRANSFER_CHUNK: Final = 1 << 16

PR_SET_PDEATHSIG: Final = 1
PR_GET_PDEATHSIG: Final = 2
PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_GET_TIMING: Final = 13
PR_SET_TIMING: Final = 14
PR_SET_NAME: Final = 15
PR_GET_NAME: Final = 16
PR_GET_SECCOMP: Final = 21
PR_SET_SECCOMP: Final = 22
PR_GET_TSC: Final = 25
PR_SET_TSC: Final = 26
PR_SET_TIMERSLACK: Final = 29
PR_GET_TIMERSLACK: Final = 30
PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_CHILD_SUBREAPER: Final = 37
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
PR_GET_TID_ADDRESS: Final = 40
PR_SET_THP_DISABLE: Final = 41
PR_GET_THP_DISABLE: Final = 42
PR_SET_VMA: Final = 0x53564D41
PR_SET_PTRACER: Final = 0x59616D61

KCMP_FILE: Final = 0
KCMP_VM: Final = 1
KCMP_FILES: Final = 2
KCMP_FS: Final = 3
KCMP_SIGHAND: Final = 4


# --- prctl -----------------------------------------------------------------------------------------------------


@syscall("prctl")
def prctl(task: Task, option: Int, a: ULong, b: ULong, c: ULong, d: ULong) -> int:
    """prctl(2)."""
    process = task.process
    if option == PR_SET_NAME:
        try:
            name = task.mm.read_cstr(a, NAME_BYTES)
        except KernelError as error:
            if error.errno != Errno.ENAMETOOLONG:
                raise
            name = task.mm.read(a, NAME_BYTES - 1)
        task.name = name
        if task.tid == process.pid:
            process.name = name
        return 0
    if option == PR_GET_NAME:
        task.mm.write(a, (task.name or process.name)[: NAME_BYTES - 1].ljust(NAME_BYTES, b"\0"))
        return 0
    if option == PR_SET_PDEATHSIG:
        if a > SIGNAL_COUNT:
            raise KernelError(Errno.EINVAL)
        process.parent_death_signal = a
        return 0
    if option == PR_GET_PDEATHSIG:
        task.mm.write_u32(a, process.parent_death_signal)
        return 0
    if option == PR_GET_DUMPABLE:
        return int(process.dumpable)
    if option == PR_SET_DUMPABLE:
        if a > 1:
            raise KernelError(Errno.EINVAL)
        process.dumpable = bool(a)
        return 0
    if option == PR_SET_CHILD_SUBREAPER:
        process.is_subreaper = bool(a)
        return 0
    if option == PR_GET_CHILD_SUBREAPER:
        task.mm.write_u32(a, int(process.is_subreaper))
        return 0
    if option == PR_SET_NO_NEW_PRIVS:
        if a != 1 or b or c or d:
            raise KernelError(Errno.EINVAL)
        process.no_new_privileges = True
        return 0
    if option == PR_GET_NO_NEW_PRIVS:
        if a or b or c or d:
            raise KernelError(Errno.EINVAL)
        return int(process.no_new_privileges)
    if option == PR_GET_SECCOMP:
        return task.screen.mode if task.screen is not None else 0
    if option == PR_SET_SECCOMP:
        return set_by_prctl(task, a, b)
    if option in CAPABILITY_OPTIONS:
        return prctl_capabilities(task, option, a, b, c, d)
    return _prctl_remembered(task, option, a, b, c, d)


def _prctl_remembered(task: Task, option: int, a: int, b: int, c: int, d: int) -> int:
    """Options whose value is only kept and reported, per thread."""
    state: dict[str, int] = task.extra.setdefault(STATE_KEY, {})
    if option == PR_GET_TIMERSLACK:
        return state.get("timerslack", DEFAULT_TIMER_SLACK_NS)
    elif option == PR_SET_TIMERSLACK:
        state["timerslack"] = a or DEFAULT_TIMER_SLACK_NS
    elif option == PR_GET_THP_DISABLE:
        if a or b or c or d:
            raise KernelError(Errno.EINVAL)
        return state.get("thp", 0)
    elif option == PR_SET_THP_DISABLE:
        if b or c or d:
            raise KernelError(Errno.EINVAL)
        state["thp"] = int(bool(a))
    elif option == PR_GET_TIMING:
        return 0
    elif option == PR_SET_TIMING:
        if a:
            raise KernelError(Errno.EINVAL)
    elif option == PR_GET_TSC:
        task.mm.write_u32(a, 1)
    elif option == PR_SET_TSC:
        if a not in (1, 2):
            raise KernelError(Errno.EINVAL)
    elif option == PR_GET_TID_ADDRESS:
        task.mm.write_u64(a, task.clear_child_tid)
    elif option == PR_SET_VMA:
        if a:
            raise KernelError(Errno.EINVAL)
        if d:
            task.mm.read_cstr(d, VMA_NAME_LIMIT)
    elif option != PR_SET_PTRACER:
        raise KernelError(Errno.EINVAL)
    return 0


# --- pidfds ----------------------------------------------------------------------------------------------------


@syscall("pidfd_open")
def pidfd_open(task: Task, pid: Int, flags: Flags) -> int:
    """pidfd_open(2)."""
    if flags & ~O_NONBLOCK or pid <= 0:
        raise KernelError(Errno.EINVAL)
    process = task.kernel.processes.processes.get(pid)
    if process is None:
        raise KernelError(Errno.EINVAL if pid in task.kernel.processes.tasks else Errno.ESRCH)
    return give_pidfd(task, process, flags)


@syscall("pidfd_send_signal")
def pidfd_send_signal(task: Task, pidfd: Fd, signo: Int, info: UserPtr, flags: Flags) -> int:
    """pidfd_send_signal(2)."""
    if flags:
        raise KernelError(Errno.EINVAL)
    process = signal_target(task, pidfd)
    if info:
        details = read_siginfo(task.mm, info, signo)
        if int.from_bytes(task.mm.read(info, 4), "little") != signo & 0xFFFF_FFFF:
            raise KernelError(Errno.EINVAL)
        if process is not task.process and (details.code >= 0 or details.code == SignalCode.SI_TKILL):
            raise KernelError(Errno.EPERM)
    else:
        details = SignalInfo(signo, SignalCode.SI_USER, task.process.pid, task.creds.uid)
    if process.state is ProcessState.REAPED:
        raise KernelError(Errno.ESRCH)
    if not 0 <= signo <= SIGNAL_COUNT:
        raise KernelError(Errno.EINVAL)
    if not may_signal(task, process, signo):
        raise KernelError(Errno.EPERM)
    if not task.kernel.signals.send_process(process, signo, details):
        raise KernelError(Errno.EAGAIN)
    return 0


@syscall("pidfd_getfd")
def pidfd_getfd(task: Task, pidfd: Fd, fd: Fd, flags: Flags) -> int:
    """pidfd_getfd(2)."""
    if flags:
        raise KernelError(Errno.EINVAL)
    process, _ = process_of(task, pidfd)
    if not process.tasks:
        raise KernelError(Errno.ESRCH)
    may_inspect(task, process)
    file = process.tasks[0].files.get(fd).ref()
    try:
        return task.files.install(file, cloexec=True)
    except KernelError:
        file.unref()
        raise


# --- another process's memory ----------------------------------------------------------------------------------


def may_inspect(task: Task, process: Process) -> None:
    """ptrace(2)'s access check. EPERM."""
    own, other = task.creds, process.creds
    if process is task.process or own.privileged:
        return
    if own.uid != other.uid or own.uid != other.euid or own.gid != other.gid or not process.dumpable:
        raise KernelError(Errno.EPERM)


def _transfer(
    task: Task, pid: int, local: int, local_count: int, remote: int, remote_count: int, flags: int, *, write: bool
) -> int:
    if flags:
        raise KernelError(Errno.EINVAL)
    own = read_iovecs(task.mm, local, local_count)
    if remote_count > 1024:
        raise KernelError(Errno.EINVAL)
    theirs = list(struct.iter_unpack("<QQ", task.mm.read(remote, 16 * remote_count))) if remote_count else []
    target = task.kernel.processes.tasks.get(pid)
    if target is None or target.mm is None:
        raise KernelError(Errno.ESRCH)
    may_inspect(task, target.process)
    done = 0
    own_at = own_used = 0
    for base, length in theirs:
        moved = 0
        while moved < length and own_at < len(own):
            own_base, own_length = own[own_at]
            count = min(length - moved, own_length - own_used, TRANSFER_CHUNK)
            if count:
                try:
                    if write:
                        target.mm.write(base + moved, task.mm.read(own_base + own_used, count))
                    else:
                        task.mm.write(own_base + own_used, target.mm.read(base + moved, count))
                except KernelError:
                    if done:
                        return done
                    raise
                done += count
                moved += count
                own_used += count
            if own_used == own_length:
                own_at, own_used = own_at + 1, 0
    return done


@syscall("process_vm_readv")
def process_vm_readv(
    task: Task, pid: Int, local: UserPtr, local_count: ULong, remote: UserPtr, remote_count: ULong, flags: ULong
) -> int:
    """process_vm_readv(2)."""
    return _transfer(task, pid, local, local_count, remote, remote_count, flags, write=False)


@syscall("process_vm_writev")
def process_vm_writev(
    task: Task, pid: Int, local: UserPtr, local_count: ULong, remote: UserPtr, remote_count: ULong, flags: ULong
) -> int:
    """process_vm_writev(2)."""
    return _transfer(task, pid, local, local_count, remote, remote_count, flags, write=True)


@syscall("process_madvise")
def process_madvise(
    task: Task, pidfd: Fd, vector: UserPtr, count: Size, advice: Int, flags: UInt
) -> int:
    """process_madvise(2)."""
    if flags:
        raise KernelError(Errno.EINVAL)
    pieces = read_iovecs(task.mm, vector, count)
    process, _ = process_of(task, pidfd)
    if advice not in (Advice.COLD, Advice.PAGEOUT, Advice.WILLNEED):
        raise KernelError(Errno.EINVAL)
    may_inspect(task, process)
    if not process.tasks:
        raise KernelError(Errno.ESRCH)
    for base, length in pieces:
        process.tasks[0].mm.advise(base, length, advice)
    return sum(length for _, length in pieces)


@syscall("kcmp")
def kcmp(task: Task, pid1: Int, pid2: Int, kind: Int, first: ULong, second: ULong) -> int:
    """kcmp(2): 0 if two processes share something, 1 or 2 by an arbitrary order if not."""
    tasks = task.kernel.processes.tasks
    one, two = tasks.get(pid1), tasks.get(pid2)
    if one is None or two is None:
        raise KernelError(Errno.ESRCH)
    may_inspect(task, one.process)
    may_inspect(task, two.process)
    pairs: dict[int, tuple[object, object]] = {
        KCMP_VM: (one.mm, two.mm),
        KCMP_FILES: (one.files, two.files),
        KCMP_FS: (one.fs, two.fs),
        KCMP_SIGHAND: (one.process.handlers, two.process.handlers),
    }
    if kind == KCMP_FILE:
        pair: tuple[object, object] = (one.files.get(first), two.files.get(second))
    elif kind in pairs:
        pair = pairs[kind]
    else:
        raise KernelError(Errno.EINVAL if not 0 <= kind <= 7 else Errno.EOPNOTSUPP)
    return 0 if pair[0] is pair[1] else 1 if id(pair[0]) < id(pair[1]) else 2


# --- namespaces and policies -----------------------------------------------------------------------------------


@syscall("unshare")
def unshare(task: Task, flags: ULong) -> int:
    """unshare(2): descriptors, directory state, the tree of mounts, host and domain name."""
    known = CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_SYSVSEM | CLONE_THREAD | CLONE_VM
    if flags & ~(known | CLONE_NEW_ANY | CLONE_NEWTIME):
        raise KernelError(Errno.EINVAL)
    if flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) and len(task.process.tasks) > 1:
        raise KernelError(Errno.EINVAL)
    new = flags & (CLONE_NEW_ANY | CLONE_NEWTIME)
    if new and (new & ~(CLONE_NEWUTS | CLONE_NEWNS) or not task.creds.privileged):
        raise KernelError(Errno.EPERM if not task.creds.privileged else Errno.ENOSPC)
    if new & CLONE_NEWUTS:
        task.process.names = task.process.names.copy()
    if flags & (CLONE_FS | CLONE_NEWNS):
        task.fs = task.fs.copy()
    if new & CLONE_NEWNS:
        copies = task.kernel.vfs.copy_tree(task.fs)
        if task.process.exe is not None:
            task.process.exe = translated(task.process.exe, copies)
    if flags & CLONE_FILES and task.files.users > 1:
        own = task.files.copy()
        task.files.leave()
        task.files = own
    return 0


@syscall("setns")
def setns(task: Task, fd: Fd, kind: Int) -> int:
    """setns(2), with an open /proc/PID/ns/NAME. Pidfds are refused."""
    namespace = task.files.get(fd).inode
    if not isinstance(namespace, NamespaceInode) or kind and kind != _NAMESPACE_FLAGS[namespace.namespace]:
        raise KernelError(Errno.EINVAL)
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    if namespace.namespace == b"uts":
        assert isinstance(namespace.target, SystemNames)
        task.process.names = namespace.target
    elif namespace.namespace == b"mnt":
        assert isinstance(namespace.target, Mount)
        if len(task.process.tasks) > 1:
            raise KernelError(Errno.EINVAL)
        task.kernel.vfs.enter_tree(task.fs, namespace.target)
        task.kernel.vfs.drop_unused_trees(other.fs.root for other in task.kernel.processes.tasks.values())
    return 0  # of the others there is one, and everybody is in it


_NAMESPACE_FLAGS: Final = {
    b"cgroup": CLONE_NEWCGROUP,
    b"ipc": CLONE_NEWIPC,
    b"mnt": CLONE_NEWNS,
    b"net": CLONE_NEWNET,
    b"pid": CLONE_NEWPID,
    b"time": CLONE_NEWTIME,
    b"user": CLONE_NEWUSER,
    b"uts": CLONE_NEWUTS,
}


@syscall("get_mempolicy")
def get_mempolicy(
    task: Task, mode: UserPtr, nodes: UserPtr, node_count: ULong, address: ULong, flags: ULong
) -> int:
    """get_mempolicy(2): one node, default policy."""
    if flags & ~7:
        raise KernelError(Errno.EINVAL)
    if mode:
        task.mm.write_u32(mode, 0)
    if nodes and node_count:
        data = bytearray(min((node_count + 63) // 64 * 8, 4096))
        if flags & 4:  # MPOL_F_MEMS_ALLOWED
            data[0] = 1
        task.mm.write(nodes, data)
    return 0


@syscall("set_mempolicy")
def set_mempolicy(task: Task, mode: Int, nodes: UserPtr, node_count: ULong) -> int:
    """set_mempolicy(2): checked only."""
    if not 0 <= mode & 0xFFF <= 6:
        raise KernelError(Errno.EINVAL)
    return 0


@syscall("mbind")
def mbind(
    task: Task, address: ULong, length: ULong, mode: Long, nodes: UserPtr, node_count: ULong, flags: UInt
) -> int:
    """mbind(2): checked only."""
    if address & 0xFFF or not 0 <= mode & 0xFFF <= 6:
        raise KernelError(Errno.EINVAL)
    return 0


@syscall("restart_syscall")
def restart_syscall(task: Task) -> int:
    """restart_syscall(2): calls are issued again as they are, so there is never one to go on with."""
    raise KernelError(Errno.EINTR)
