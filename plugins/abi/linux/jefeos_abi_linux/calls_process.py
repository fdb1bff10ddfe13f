"""Making, replacing, ending and awaiting processes: clone and fork, execve, exit, wait4 and waitid.

The work is `proc.lifecycle`; here are Linux's flags and structures, and the checks whose errnos programs see.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from jefeos.cpu.paging import TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import RLimit
from jefeos.proc.lifecycle import CloneRequest
from jefeos.proc.process import Process
from jefeos.proc.signals import SIGNAL_COUNT, Signal, SignalCode, SignalInfo
from jefeos.proc.task import Task
from jefeos.proc.waiting import ChildKind, WaitReport
from jefeos.sched.executor import ProgramReplaced
from jefeos.sched.wait import MaybeAwait
from jefeos.structs import Struct, u64
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import CStr, Fd, Flags, Int, Size, ULong, UserPtr
from jefeos.vfs.flags import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW

from jefeos_abi_linux.auxv import ARGUMENT_LIMIT_BYTES, POINTER_BYTES, argument_limit_bytes
from jefeos_abi_linux.calls_time import drop_posix_timers
from jefeos_abi_linux.elf import FatalLoadError
from jefeos_abi_linux.files_common import directory_of
from jefeos_abi_linux.siginfo import SIGINFO_BYTES, siginfo_bytes
from jefeos_abi_linux.usage import rusage_bytes

CSIGNAL: Final = 0xFF
CLONE_VM: Final = 0x100
CLONE_FS: Final = 0x200
CLONE_FILES: Final = 0x400
CLONE_SIGHAND: Final = 0x800
CLONE_PIDFD: Final = 0x1000
CLONE_PTRACE: Final = 0x2000
CLONE_VFORK: Final = 0x4000
CLONE_PARENT: Final = 0x8000
CLONE_THREAD: Final = 0x10000
CLONE_NEWNS: Final = 0x20000
CLONE_SYSVSEM: Final = 0x40000
CLONE_SETTLS: Final = 0x80000
CLONE_PARENT_SETTID: Final = 0x100000
CLONE_CHILD_CLEARTID: Final = 0x200000
CLONE_DETACHED: Final = 0x400000
CLONE_UNTRACED: Final = 0x800000
CLONE_CHILD_SETTID: Final = 0x1000000
CLONE_NEWCGROUP: Final = 0x2000000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_IO: Final = 0x80000000
CLONE_CLEAR_SIGHAND: Final = 0x1_0000_0000
CLONE_INTO_CGROUP: Final = 0x2_0000_0000
CLONE_NEWTIME: Final = 0x80
CLONE_NEW_ANY: Final = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
)
CLONE3_KNOWN: Final = 0x3_FFFF_FFFF & ~CSIGNAL | CLONE_NEWTIME
CLONE_ARGS_V0: Final = 64

WNOHANG: Final = 1
WUNTRACED: Final = 2
WEXITED: Final = 4
WCONTINUED: Final = 8
WNOWAIT: Final = 0x01000000
W_NOTHREAD: Final = 0x20000000
W_ALL: Final = 0x40000000
W_CLONE: Final = 0x80000000
W_EXTRA: Final = W_NOTHREAD | W_ALL | W_CLONE
P_ALL: Final = 0
P_PID: Final = 1
P_PGID: Final = 2
P_PIDFD: Final = 3
WAITID_FIELDS: Final = ((0, 12), (16, 28))
"""Where waitid's siginfo has si_signo, si_errno, si_code; si_pid, si_uid, si_status: it leaves the rest alone."""
INT_MIN: Final = -(1 << 31)


class CloneArgs(Struct):
    """struct clone_args (linux/sched.h)."""

    flags: int = u64()
    pidfd: int = u64()
    child_tid: int = u64()
    parent_tid: int = u64()
    exit_signal: int = u64()
    stack: int = u64()
    stack_size: int = u64()
    tls: int = u64()
    set_tid: int = u64()
    set_tid_size: int = u64()
    cgroup: int = u64()


# --- clone -----------------------------------------------------------------------------------------------------


@syscall("fork")
def fork(task: Task) -> Coroutine[Any, Any, int]:
    """fork(2)."""
    return task.kernel.lifecycle.clone(task, CloneRequest())


@syscall("vfork")
def vfork(task: Task) -> Coroutine[Any, Any, int]:
    """vfork(2)."""
    return task.kernel.lifecycle.clone(task, CloneRequest(share_memory=True, vfork=True))


@syscall("clone")
def clone(
    task: Task, flags: ULong, stack: UserPtr, parent_tid: UserPtr, child_tid: UserPtr, tls: ULong
) -> Coroutine[Any, Any, int]:
    """clone(2)."""
    arguments = CloneArgs(
        flags=flags & 0xFFFF_FFFF & ~CSIGNAL,
        exit_signal=flags & CSIGNAL,
        stack=stack,
        parent_tid=parent_tid,
        child_tid=child_tid,
        tls=tls,
        pidfd=parent_tid,
    )
    if flags & CLONE_PIDFD and flags & CLONE_PARENT_SETTID:
        raise KernelError(Errno.EINVAL)
    return _clone(task, arguments)


@syscall("clone3")
def clone3(task: Task, arguments: UserPtr, size: Size) -> Coroutine[Any, Any, int]:
    """clone3(2)."""
    if size > 4096:
        raise KernelError(Errno.E2BIG)
    if size < CLONE_ARGS_V0:
        raise KernelError(Errno.EINVAL)
    data = task.mm.read(arguments, size)
    if any(data[CloneArgs.size :]):
        raise KernelError(Errno.E2BIG)
    wanted = CloneArgs.parse(data[: CloneArgs.size].ljust(CloneArgs.size, b"\0"))
    if wanted.flags & ~CLONE3_KNOWN or wanted.flags & CLONE_DETACHED or wanted.exit_signal & ~CSIGNAL:
        raise KernelError(Errno.EINVAL)
    if wanted.exit_signal > 64 or wanted.set_tid_size > 32 or bool(wanted.set_tid) != bool(wanted.set_tid_size):
        raise KernelError(Errno.EINVAL)
    if wanted.flags & CLONE_SIGHAND and wanted.flags & CLONE_CLEAR_SIGHAND:
        raise KernelError(Errno.EINVAL)
    if wanted.flags & (CLONE_THREAD | CLONE_PARENT) and wanted.exit_signal:
        raise KernelError(Errno.EINVAL)
    if wanted.stack:
        if not wanted.stack_size or wanted.stack + wanted.stack_size > TASK_SIZE:
            raise KernelError(Errno.EINVAL)
        wanted.stack += wanted.stack_size
    elif wanted.stack_size:
        raise KernelError(Errno.EINVAL)
    if wanted.set_tid or wanted.flags & CLONE_INTO_CGROUP:
        raise KernelError(Errno.EPERM if wanted.set_tid else Errno.EOPNOTSUPP)
    return _clone(task, wanted)


def _clone(task: Task, wanted: CloneArgs) -> Coroutine[Any, Any, int]:
    flags = wanted.flags
    if flags & (CLONE_NEWNS | CLONE_FS) == CLONE_NEWNS | CLONE_FS:
        raise KernelError(Errno.EINVAL)
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND or flags & CLONE_SIGHAND and not flags & CLONE_VM:
        raise KernelError(Errno.EINVAL)
    if flags & CLONE_PARENT and task.process.pid == 1:
        raise KernelError(Errno.EINVAL)
    if flags & CLONE_PIDFD and flags & (CLONE_THREAD | CLONE_DETACHED):
        raise KernelError(Errno.EINVAL)
    if flags & CLONE_NEW_ANY:
        if flags & CLONE_THREAD and flags & (CLONE_NEWUSER | CLONE_NEWPID):
            raise KernelError(Errno.EINVAL)
        if not task.creds.privileged or flags & CLONE_NEW_ANY & ~(CLONE_NEWUTS | CLONE_NEWNS):
            raise KernelError(Errno.ENOSPC if task.creds.privileged else Errno.EPERM)  # no such namespaces to be had
    request = CloneRequest(
        thread=bool(flags & CLONE_THREAD),
        share_memory=bool(flags & CLONE_VM),
        share_files=bool(flags & CLONE_FILES),
        share_fs=bool(flags & CLONE_FS),
        share_handlers=bool(flags & CLONE_SIGHAND),
        clear_handlers=bool(flags & CLONE_CLEAR_SIGHAND),
        vfork=bool(flags & CLONE_VFORK),
        same_parent=bool(flags & CLONE_PARENT),
        new_names=bool(flags & CLONE_NEWUTS),
        new_mounts=bool(flags & CLONE_NEWNS),
        exit_signal=task.process.exit_signal if flags & CLONE_PARENT else _sendable(wanted.exit_signal),
        stack=wanted.stack,
        tls=wanted.tls if flags & CLONE_SETTLS else None,
        parent_tid_ptr=wanted.parent_tid if flags & CLONE_PARENT_SETTID else 0,
        child_tid_ptr=wanted.child_tid if flags & CLONE_CHILD_SETTID else 0,
        clear_tid_ptr=wanted.child_tid if flags & CLONE_CHILD_CLEARTID else 0,
    )
    if request.tls is not None and request.tls >= TASK_SIZE:
        raise KernelError(Errno.EPERM)
    if not flags & CLONE_PIDFD:
        return task.kernel.lifecycle.clone(task, request)
    return _clone_with_pidfd(task, request, wanted.pidfd)


def _sendable(signo: int) -> int:
    """clone(2) takes any low byte as the exit signal; a number that is no signal is just never sent."""
    return signo if signo <= SIGNAL_COUNT else 0


async def _clone_with_pidfd(task: Task, request: CloneRequest, address: int) -> int:
    from jefeos_abi_linux.pidfd import give_pidfd

    def prepare(process: Process) -> None:
        fd = give_pidfd(task, process, 0)
        try:
            task.mm.write_u32(address, fd)
        except KernelError:
            task.files.close(fd)
            raise

    return await task.kernel.lifecycle.clone(task, request, prepare)


# --- execve ----------------------------------------------------------------------------------------------------


@syscall("execve")
def execve(task: Task, path: CStr, argv: UserPtr, envp: UserPtr) -> Coroutine[Any, Any, int]:
    """execve(2)."""
    arguments, environ = _read_arguments(task, argv, envp)
    return _execute(task, path, arguments, environ)


@syscall("execveat")
def execveat(
    task: Task, dirfd: Fd, path: CStr, argv: UserPtr, envp: UserPtr, flags: Flags
) -> Coroutine[Any, Any, int]:
    """execveat(2)."""
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise KernelError(Errno.EINVAL)
    location = None
    shown = path
    if not path:
        if not flags & AT_EMPTY_PATH:
            raise KernelError(Errno.ENOENT)
        location = task.files.get(dirfd).path
        if location is None:
            raise KernelError(Errno.EACCES)
        shown = b"/dev/fd/%d" % dirfd
    at = directory_of(task, dirfd, path)
    if at is not None:
        shown = b"/dev/fd/%d/%s" % (dirfd, path)
    arguments, environ = _read_arguments(task, argv, envp)
    place = {"at": at, "follow": not flags & AT_SYMLINK_NOFOLLOW, "location": location}
    return _execute(task, path if location is None else shown, arguments, environ, **place)


async def _execute(task: Task, path: bytes, argv: list[bytes], environ: list[bytes], **place: Any) -> int:
    try:
        return await task.kernel.lifecycle.execute(task, path, argv, environ, **place)
    except ProgramReplaced:
        drop_posix_timers(task.process)
        raise
    except FatalLoadError as error:
        name = path.decode("utf-8", "replace")
        task.kernel.log.info("pid %d: %s cannot be loaded: %s", task.process.pid, name, str(error))
        task.kernel.signals.force(task, SignalInfo(Signal.SIGSEGV, SignalCode.SI_KERNEL))
        raise


def _read_arguments(task: Task, argv: int, envp: int) -> tuple[list[bytes], list[bytes]]:
    """Both string vectors, within execve's limits. EFAULT, E2BIG."""
    room = argument_limit_bytes(task.process.limit(RLimit.STACK))
    arguments, room = _read_strings(task, argv, room)
    environ, _ = _read_strings(task, envp, room)
    return arguments or [b""], environ


def _read_strings(task: Task, vector: int, room: int) -> tuple[list[bytes], int]:
    strings: list[bytes] = []
    mm = task.mm
    if not vector:
        return strings, room
    while True:
        pointer = mm.read_u64(vector)
        if not pointer:
            return strings, room
        try:
            text = mm.read_cstr(pointer, ARGUMENT_LIMIT_BYTES)
        except KernelError as error:
            raise KernelError(Errno.E2BIG if error.errno == Errno.ENAMETOOLONG else error.errno) from None
        room -= len(text) + 1 + POINTER_BYTES
        if room < 0:
            raise KernelError(Errno.E2BIG)
        strings.append(text)
        vector += POINTER_BYTES


# --- exit ------------------------------------------------------------------------------------------------------


@syscall("exit")
def exit_(task: Task, status: Int) -> int:
    """_exit(2) of one thread."""
    return task.kernel.lifecycle.exit_thread(task, status & 0xFF)


@syscall("exit_group")
def exit_group(task: Task, status: Int) -> int:
    """exit_group(2)."""
    return task.kernel.lifecycle.exit_group(task, status & 0xFF)


# --- wait ------------------------------------------------------------------------------------------------------


@syscall("wait4")
def wait4(task: Task, pid: Int, status: UserPtr, options: Flags, usage: UserPtr) -> MaybeAwait[int]:
    """wait4(2)."""
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | W_EXTRA):
        raise KernelError(Errno.EINVAL)
    if pid == INT_MIN:
        raise KernelError(Errno.ESRCH)
    found = task.kernel.lifecycle.wait(
        task,
        pid=pid,
        stopped=bool(options & WUNTRACED),
        continued=bool(options & WCONTINUED),
        no_hang=bool(options & WNOHANG),
        kind=_child_kind(options),
        own_only=bool(options & W_NOTHREAD),
    )
    if isinstance(found, Coroutine):
        return _wait4_later(task, found, status, usage)
    return _wait4_report(task, found, status, usage)


def _child_kind(options: int) -> ChildKind:
    if options & W_ALL:
        return ChildKind.ALL
    return ChildKind.CLONE if options & W_CLONE else ChildKind.USUAL


async def _wait4_later(task: Task, found: Any, status: int, usage: int) -> int:
    return _wait4_report(task, await found, status, usage)


def _wait4_report(task: Task, report: WaitReport | None, status: int, usage: int) -> int:
    if report is None:
        return 0
    if status:
        task.mm.write_u32(status, report.status_word)
    if usage:
        task.mm.write(usage, rusage_bytes(report.usage))
    return report.pid


@syscall("waitid")
def waitid(
    task: Task, kind: Int, number: Int, info: UserPtr, options: Flags, usage: UserPtr
) -> MaybeAwait[int]:
    """waitid(2)."""
    try:
        found = _waitid_find(task, kind, number, options)
    except KernelError:
        _write_info(task, info, None)
        raise
    if isinstance(found, Coroutine):
        return _waitid_later(task, found, info, usage)
    return _waitid_report(task, found, info, usage)


def _waitid_find(task: Task, kind: int, number: int, options: int) -> MaybeAwait[WaitReport | None]:
    if options & ~(WNOHANG | WNOWAIT | WEXITED | WUNTRACED | WCONTINUED | W_EXTRA):
        raise KernelError(Errno.EINVAL)
    if not options & (WEXITED | WUNTRACED | WCONTINUED):
        raise KernelError(Errno.EINVAL)
    pid, nonblocking = _waitid_child(task, kind, number)
    no_hang = bool(options & WNOHANG)
    found = task.kernel.lifecycle.wait(
        task,
        pid=pid,
        exited=bool(options & WEXITED),
        stopped=bool(options & WUNTRACED),
        continued=bool(options & WCONTINUED),
        no_hang=no_hang or nonblocking,
        keep=bool(options & WNOWAIT),
        kind=_child_kind(options),
        own_only=bool(options & W_NOTHREAD),
    )
    if found is None and not no_hang:
        raise KernelError(Errno.EAGAIN)
    return found


def _waitid_child(task: Task, kind: int, number: int) -> tuple[int, bool]:
    """Whom waitid means, as wait4 would say it, and whether a pidfd says not to wait. EINVAL, ECHILD, EBADF."""
    if kind == P_ALL:
        return -1, False
    if kind == P_PID and number > 0:
        return number, False
    if kind == P_PGID and number >= 0:
        if number == 1:  # -1 would mean any child
            raise KernelError(Errno.ECHILD)
        return -number, False
    if kind == P_PIDFD and number >= 0:
        from jefeos_abi_linux.pidfd import process_of

        process, file = process_of(task, number)
        return process.pid, file.nonblocking
    raise KernelError(Errno.EINVAL)


async def _waitid_later(task: Task, found: Any, info: int, usage: int) -> int:
    try:
        report = await found
    except KernelError:
        _write_info(task, info, None)
        raise
    return _waitid_report(task, report, info, usage)


def _waitid_report(task: Task, report: WaitReport | None, info: int, usage: int) -> int:
    if report is not None and usage:
        task.mm.write(usage, rusage_bytes(report.usage))
    _write_info(task, info, report)
    return 0


def _write_info(task: Task, info: int, report: WaitReport | None) -> None:
    """The fields of siginfo that waitid has something to say in, and no others: zeros if it failed or found nobody."""
    if not info:
        return
    found = bytes(SIGINFO_BYTES)
    if report is not None:
        found = siginfo_bytes(SignalInfo(Signal.SIGCHLD, report.code, report.pid, report.uid, report.status))
    for start, end in WAITID_FIELDS:
        task.mm.write(info + start, found[start:end])
