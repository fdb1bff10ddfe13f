"""Who a process is: process, group and session ids; users and groups."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.capabilities import Capability
from jefeos.proc.process import Process
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Int, UInt, UserPtr

GROUPS_LIMIT: Final = 65536
NO_CHANGE: Final = 0xFFFF_FFFF


# --- processes -------------------------------------------------------------------------------------------------


@syscall("getpid")
def getpid(task: Task) -> int:
    """getpid(2)."""
    return task.process.pid


@syscall("gettid")
def gettid(task: Task) -> int:
    """gettid(2)."""
    return task.tid


@syscall("getppid")
def getppid(task: Task) -> int:
    """getppid(2)."""
    parent = task.process.parent
    return parent.pid if parent is not None else 0


@syscall("getpgrp")
def getpgrp(task: Task) -> int:
    """getpgrp(2)."""
    return task.process.pgid


def find_process(task: Task, pid: int) -> Process:
    """The process with this id (or that of one of its threads), 0 for the caller's. Raises ESRCH."""
    if pid == 0:
        return task.process
    table = task.kernel.processes
    process = table.processes.get(pid)
    if process is None:
        thread = table.tasks.get(pid)
        if thread is None:
            raise KernelError(Errno.ESRCH)
        process = thread.process
    return process


@syscall("getpgid")
def getpgid(task: Task, pid: Int) -> int:
    """getpgid(2)."""
    return find_process(task, pid).pgid


@syscall("getsid")
def getsid(task: Task, pid: Int) -> int:
    """getsid(2)."""
    return find_process(task, pid).sid


@syscall("setpgid")
def setpgid(task: Task, pid: Int, pgid: Int) -> int:
    """setpgid(2)."""
    own = task.process
    pid = pid or own.pid
    pgid = pgid or pid
    if pgid < 0:
        raise KernelError(Errno.EINVAL)
    processes = task.kernel.processes
    process = processes.processes.get(pid)
    if process is None:
        if pid in processes.tasks:
            raise KernelError(Errno.EINVAL)
        raise KernelError(Errno.ESRCH)
    if process.parent is own:
        if process.sid != own.sid:
            raise KernelError(Errno.EPERM)
        if process.has_execed:
            raise KernelError(Errno.EACCES)
    elif process is not own:
        raise KernelError(Errno.ESRCH)
    if process.sid == process.pid:
        raise KernelError(Errno.EPERM)
    if pgid != pid and not any(member.sid == own.sid for member in processes.group(pgid)):
        raise KernelError(Errno.EPERM)
    process.pgid = pgid
    return 0


@syscall("setsid")
def setsid(task: Task) -> int:
    """setsid(2)."""
    process = task.process
    if process.sid == process.pid or task.kernel.processes.group(process.pid):
        raise KernelError(Errno.EPERM)
    process.sid = process.pgid = process.pid
    process.tty = None
    return process.pid


# --- users -----------------------------------------------------------------------------------------------------


@syscall("getuid")
def getuid(task: Task) -> int:
    """getuid(2)."""
    return task.creds.uid


@syscall("geteuid")
def geteuid(task: Task) -> int:
    """geteuid(2)."""
    return task.creds.euid


@syscall("getgid")
def getgid(task: Task) -> int:
    """getgid(2)."""
    return task.creds.gid


@syscall("getegid")
def getegid(task: Task) -> int:
    """getegid(2)."""
    return task.creds.egid


def _set_users(task: Task, uid: int, euid: int, suid: int) -> None:
    creds = task.creds
    if euid != creds.euid:
        task.process.dumpable = False
    creds.set_users(uid, euid, suid)


def _set_groups(task: Task, gid: int, egid: int, sgid: int) -> None:
    creds = task.creds
    if egid != creds.egid:
        task.process.dumpable = False
    creds.gid, creds.egid, creds.sgid, creds.fsgid = gid, egid, sgid, egid


@syscall("setuid")
def setuid(task: Task, uid: UInt) -> int:
    """setuid(2)."""
    creds = task.creds
    if uid == NO_CHANGE:
        raise KernelError(Errno.EINVAL)
    if creds.capable(Capability.SETUID):
        _set_users(task, uid, uid, uid)
    elif uid in (creds.uid, creds.suid):
        _set_users(task, creds.uid, uid, creds.suid)
    else:
        raise KernelError(Errno.EPERM)
    return 0


@syscall("setgid")
def setgid(task: Task, gid: UInt) -> int:
    """setgid(2)."""
    creds = task.creds
    if gid == NO_CHANGE:
        raise KernelError(Errno.EINVAL)
    if creds.capable(Capability.SETGID):
        _set_groups(task, gid, gid, gid)
    elif gid in (creds.gid, creds.sgid):
        _set_groups(task, creds.gid, gid, creds.sgid)
    else:
        raise KernelError(Errno.EPERM)
    return 0


@syscall("setreuid")
def setreuid(task: Task, ruid: UInt, euid: UInt) -> int:
    """setreuid(2)."""
    creds = task.creds
    if not creds.capable(Capability.SETUID):
        if ruid not in (NO_CHANGE, creds.uid, creds.euid):
            raise KernelError(Errno.EPERM)
        if euid not in (NO_CHANGE, creds.uid, creds.euid, creds.suid):
            raise KernelError(Errno.EPERM)
    new_uid = creds.uid if ruid == NO_CHANGE else ruid
    new_euid = creds.euid if euid == NO_CHANGE else euid
    saved = new_euid if ruid != NO_CHANGE or euid not in (NO_CHANGE, creds.uid) else creds.suid
    _set_users(task, new_uid, new_euid, saved)
    return 0


@syscall("setregid")
def setregid(task: Task, rgid: UInt, egid: UInt) -> int:
    """setregid(2)."""
    creds = task.creds
    if not creds.capable(Capability.SETGID):
        if rgid not in (NO_CHANGE, creds.gid, creds.egid):
            raise KernelError(Errno.EPERM)
        if egid not in (NO_CHANGE, creds.gid, creds.egid, creds.sgid):
            raise KernelError(Errno.EPERM)
    new_gid = creds.gid if rgid == NO_CHANGE else rgid
    new_egid = creds.egid if egid == NO_CHANGE else egid
    saved = new_egid if rgid != NO_CHANGE or egid not in (NO_CHANGE, creds.gid) else creds.sgid
    _set_groups(task, new_gid, new_egid, saved)
    return 0


@syscall("setresuid")
def setresuid(task: Task, ruid: UInt, euid: UInt, suid: UInt) -> int:
    """setresuid(2)."""
    creds = task.creds
    old = (creds.uid, creds.euid, creds.suid)
    if not creds.capable(Capability.SETUID) and any(new not in (NO_CHANGE, *old) for new in (ruid, euid, suid)):
        raise KernelError(Errno.EPERM)
    chosen = [was if new == NO_CHANGE else new for new, was in zip((ruid, euid, suid), old, strict=True)]
    _set_users(task, *chosen)
    return 0


@syscall("setresgid")
def setresgid(task: Task, rgid: UInt, egid: UInt, sgid: UInt) -> int:
    """setresgid(2)."""
    creds = task.creds
    old = (creds.gid, creds.egid, creds.sgid)
    if not creds.capable(Capability.SETGID) and any(new not in (NO_CHANGE, *old) for new in (rgid, egid, sgid)):
        raise KernelError(Errno.EPERM)
    chosen = [was if new == NO_CHANGE else new for new, was in zip((rgid, egid, sgid), old, strict=True)]
    _set_groups(task, *chosen)
    return 0


@syscall("getresuid")
def getresuid(task: Task, ruid: UserPtr, euid: UserPtr, suid: UserPtr) -> int:
    """getresuid(2)."""
    creds = task.creds
    for address, value in ((ruid, creds.uid), (euid, creds.euid), (suid, creds.suid)):
        task.mm.write_u32(address, value)
    return 0


@syscall("getresgid")
def getresgid(task: Task, rgid: UserPtr, egid: UserPtr, sgid: UserPtr) -> int:
    """getresgid(2)."""
    creds = task.creds
    for address, value in ((rgid, creds.gid), (egid, creds.egid), (sgid, creds.sgid)):
        task.mm.write_u32(address, value)
    return 0


@syscall("setfsuid")
def setfsuid(task: Task, uid: UInt) -> int:
    """setfsuid(2): gives the old one, whatever happens."""
    creds = task.creds
    old = creds.fsuid
    if uid != NO_CHANGE and (creds.capable(Capability.SETUID) or uid in (creds.uid, creds.euid, creds.suid, old)):
        creds.fsuid = uid
    return old


@syscall("setfsgid")
def setfsgid(task: Task, gid: UInt) -> int:
    """setfsgid(2): gives the old one, whatever happens."""
    creds = task.creds
    old = creds.fsgid
    if gid != NO_CHANGE and (creds.capable(Capability.SETGID) or gid in (creds.gid, creds.egid, creds.sgid, old)):
        creds.fsgid = gid
    return old


@syscall("getgroups")
def getgroups(task: Task, count: Int, groups: UserPtr) -> int:
    """getgroups(2)."""
    own = task.creds.groups
    if count < 0:
        raise KernelError(Errno.EINVAL)
    if count:
        if count < len(own):
            raise KernelError(Errno.EINVAL)
        if own:
            task.mm.write(groups, struct.pack(f"<{len(own)}I", *own))
    return len(own)


@syscall("setgroups")
def setgroups(task: Task, count: Int, groups: UserPtr) -> int:
    """setgroups(2)."""
    if not task.creds.capable(Capability.SETGID):
        raise KernelError(Errno.EPERM)
    if not 0 <= count <= GROUPS_LIMIT:
        raise KernelError(Errno.EINVAL)
    data = task.mm.read(groups, 4 * count) if count else b""
    task.creds.groups = tuple(sorted(struct.unpack(f"<{count}I", data)))
    return 0
