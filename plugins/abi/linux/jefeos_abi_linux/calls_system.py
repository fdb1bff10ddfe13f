"""The system as a whole: uname, sysinfo, limits, randomness, reboot, and small things with no family."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.cpu.paging import TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.proc.capabilities import Capability
from jefeos.proc.credentials import RLimit
from jefeos.proc.process import Process
from jefeos.proc.task import Task
from jefeos.structs import Struct, raw
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Flags, Int, Size, UInt, ULong, UserPtr

from jefeos_abi_linux.calls_identity import find_process

UTS_BYTES: Final = 65
UTS_LIMIT: Final = 64
RELEASE: Final = b"6.1.0-jefeos"
VERSION: Final = b"#1 SMP JefeOS"
MACHINE: Final = b"x86_64"
MACHINE_32: Final = b"i686"
PER_MASK: Final = 0xFF
PER_LINUX32: Final = 8

GRND_NONBLOCK: Final = 1
GRND_RANDOM: Final = 2
GRND_INSECURE: Final = 4
RANDOM_LIMIT_BYTES: Final = 0x1FFFFFF
RANDOM_CHUNK: Final = 1 << 16

FILES_LIMIT: Final = 1048576
"""Ceiling of RLIMIT_NOFILE (sysctl fs.nr_open)."""

REBOOT_MAGIC: Final = 0xFEE1DEAD
REBOOT_MAGIC_2: Final = frozenset((672274793, 85072278, 369367448, 537993216))
REBOOT_ACTIONS: Final = {
    0x01234567: "restart",
    0xA1B2C3D4: "restart",
    0xCDEF0123: "halt",
    0x4321FEDC: "poweroff",
}
REBOOT_CAD: Final = frozenset((0x89ABCDEF, 0))

PRIO_PROCESS: Final = 0
PRIO_PGRP: Final = 1
PRIO_USER: Final = 2
IOPRIO_CLASS_SHIFT: Final = 13
IOPRIO_CLASS_MASK: Final = 7
IOPRIO_CLASSES: Final = 3
IOPRIO_LEVELS: Final = 8
IOPRIO_STATE: Final = "linux.ioprio"

PERSONALITY_QUERY: Final = 0xFFFF_FFFF

_SYSINFO: Final = struct.Struct("<q3Q6QHH4xQQI4x")
_LIMIT: Final = struct.Struct("<QQ")


class UtsName(Struct):
    """struct new_utsname."""

    sysname: bytes = raw(UTS_BYTES)
    nodename: bytes = raw(UTS_BYTES)
    release: bytes = raw(UTS_BYTES)
    version: bytes = raw(UTS_BYTES)
    machine: bytes = raw(UTS_BYTES)
    domainname: bytes = raw(UTS_BYTES)


@syscall("uname")
def uname(task: Task, buffer: UserPtr) -> int:
    """uname(2). Under PER_LINUX32 the machine is a 32-bit one: so builds for it are fooled (setarch)."""
    names = task.process.names
    name = UtsName(
        sysname=b"Linux",
        nodename=names.hostname,
        release=RELEASE,
        version=VERSION,
        machine=MACHINE_32 if task.process.domain & PER_MASK == PER_LINUX32 else MACHINE,
        domainname=names.domainname,
    )
    task.mm.write(buffer, name.pack())
    return 0


def _read_name(task: Task, address: int, length: int) -> bytes:
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    if not 0 <= length <= UTS_LIMIT:
        raise KernelError(Errno.EINVAL)
    return task.mm.read(address, length).partition(b"\0")[0]


@syscall("sethostname")
def sethostname(task: Task, name: UserPtr, length: Int) -> int:
    """sethostname(2)."""
    task.process.names.hostname = _read_name(task, name, length)
    return 0


@syscall("setdomainname")
def setdomainname(task: Task, name: UserPtr, length: Int) -> int:
    """setdomainname(2)."""
    task.process.names.domainname = _read_name(task, name, length)
    return 0


@syscall("sysinfo")
def sysinfo(task: Task, buffer: UserPtr) -> int:
    """sysinfo(2)."""
    kernel = task.kernel
    memory = kernel.memory.info()
    running = sum(1 for process in kernel.processes if not process.is_dead)
    data = _SYSINFO.pack(
        kernel.clock.uptime_ns() // 1_000_000_000,
        0,
        0,
        0,
        memory.total,
        memory.free,
        memory.shared,
        0,
        0,
        0,
        min(running, 0xFFFF),
        0,
        0,
        0,
        1,
    )
    task.mm.write(buffer, data)
    return 0


@syscall("getrandom")
def getrandom(task: Task, buffer: UserPtr, length: Size, flags: Flags) -> int:
    """getrandom(2): never has to wait for entropy."""
    if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE):
        raise KernelError(Errno.EINVAL)
    if flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE:
        raise KernelError(Errno.EINVAL)
    length = min(length, RANDOM_LIMIT_BYTES)
    done = 0
    while done < length:
        count = min(RANDOM_CHUNK, length - done)
        try:
            task.mm.write(buffer + done, task.kernel.entropy.bytes(count))
        except KernelError:
            if not done:
                raise
            return done
        done += count
    return done


# --- limits ----------------------------------------------------------------------------------------------------


def _limit(resource: int) -> RLimit:
    try:
        return RLimit(resource)
    except ValueError:
        raise KernelError(Errno.EINVAL) from None


def _set_limit(task: Task, process: Process, which: RLimit, soft: int, hard: int) -> None:
    if soft > hard:
        raise KernelError(Errno.EINVAL)
    if which is RLimit.NOFILE and hard > FILES_LIMIT:
        raise KernelError(Errno.EPERM)
    if hard > process.rlimits[which][1] and not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    process.rlimits[which] = (soft, hard)
    for thread in process.tasks:
        if which is RLimit.NOFILE:
            thread.files.limit = soft
        if thread.mm is None:
            continue
        if which is RLimit.STACK:
            thread.mm.stack_limit_bytes = min(soft, TASK_SIZE)
        elif which is RLimit.DATA:
            thread.mm.data_limit_bytes = soft if soft < TASK_SIZE else None
        elif which is RLimit.AS:
            thread.mm.address_space_limit_bytes = soft if soft < TASK_SIZE else None
    if which is RLimit.CPU:
        from jefeos.proc.timers import watch_cpu_limit

        watch_cpu_limit(process)


@syscall("getrlimit")
def getrlimit(task: Task, resource: UInt, limits: UserPtr) -> int:
    """getrlimit(2)."""
    task.mm.write(limits, _LIMIT.pack(*task.process.rlimits[_limit(resource)]))
    return 0


@syscall("setrlimit")
def setrlimit(task: Task, resource: UInt, limits: UserPtr) -> int:
    """setrlimit(2)."""
    soft, hard = _LIMIT.unpack(task.mm.read(limits, _LIMIT.size))
    _set_limit(task, task.process, _limit(resource), soft, hard)
    return 0


@syscall("prlimit64")
def prlimit64(task: Task, pid: Int, resource: UInt, new: UserPtr, old: UserPtr) -> int:
    """prlimit(2)."""
    if new:
        soft, hard = _LIMIT.unpack(task.mm.read(new, _LIMIT.size))
    process = find_process(task, pid)
    if process is not task.process:
        own, other = task.creds, process.creds
        same_user = own.uid == other.uid == other.euid == other.suid
        if not own.privileged and not (same_user and own.gid == other.gid == other.egid == other.sgid):
            raise KernelError(Errno.EPERM)
    which = _limit(resource)
    before = process.rlimits[which]
    if new:
        _set_limit(task, process, which, soft, hard)
    if old:
        task.mm.write(old, _LIMIT.pack(*before))
    return 0


# --- priorities ------------------------------------------------------------------------------------------------


def _targets(task: Task, which: int, who: int) -> list[Process]:
    """The processes that getpriority, setpriority and ioprio mean. ESRCH if there are none."""
    processes = task.kernel.processes
    if which == PRIO_PROCESS:
        return [find_process(task, who)]
    if which == PRIO_PGRP:
        found = processes.group(who or task.process.pgid)
    else:
        uid = who or task.creds.uid
        found = [process for process in processes if process.creds.uid == uid and not process.is_dead]
    if not found:
        raise KernelError(Errno.ESRCH)
    return found


@syscall("getpriority")
def getpriority(task: Task, which: Int, who: Int) -> int:
    """getpriority(2), the raw call: 20 - nice, so that it is never negative."""
    if not PRIO_PROCESS <= which <= PRIO_USER:
        raise KernelError(Errno.EINVAL)
    return max(20 - process.nice for process in _targets(task, which, who))


@syscall("setpriority")
def setpriority(task: Task, which: Int, who: Int, nice: Int) -> int:
    """setpriority(2)."""
    if not PRIO_PROCESS <= which <= PRIO_USER:
        raise KernelError(Errno.EINVAL)
    nice = max(-20, min(nice, 19))
    creds = task.creds
    for process in _targets(task, which, who):
        if not creds.privileged:
            if creds.euid not in (process.creds.uid, process.creds.euid):
                raise KernelError(Errno.EPERM)
            if nice < process.nice and 20 - nice > process.limit(RLimit.NICE):
                raise KernelError(Errno.EACCES)
        process.nice = nice
    return 0


@syscall("ioprio_get")
def ioprio_get(task: Task, which: Int, who: Int) -> int:
    """ioprio_get(2)."""
    if not 1 <= which <= 3:
        raise KernelError(Errno.EINVAL)
    process = _targets(task, which - 1, who)[0]
    return int(process.leader.extra.get(IOPRIO_STATE, 0))


@syscall("ioprio_set")
def ioprio_set(task: Task, which: Int, who: Int, priority: Int) -> int:
    """ioprio_set(2): remembered, without effect."""
    kind = priority >> IOPRIO_CLASS_SHIFT & IOPRIO_CLASS_MASK
    level = priority & (1 << IOPRIO_CLASS_SHIFT) - 1
    if kind > IOPRIO_CLASSES or kind in (1, 2) and level >= IOPRIO_LEVELS or not kind and level:
        raise KernelError(Errno.EINVAL)
    if kind == 1 and not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    if not 1 <= which <= 3:
        raise KernelError(Errno.EINVAL)
    for process in _targets(task, which - 1, who):
        process.leader.extra[IOPRIO_STATE] = priority
    return 0


# --- the rest --------------------------------------------------------------------------------------------------


@syscall("personality")
def personality(task: Task, value: UInt) -> int:
    """personality(2): kept by the process and its children, through execve; only uname looks at it."""
    old = task.process.domain
    if value != PERSONALITY_QUERY:
        task.process.domain = value
    return old


@syscall("reboot")
def reboot(task: Task, magic: UInt, magic2: UInt, command: UInt, argument: UserPtr) -> int:
    """reboot(2): halt, power off and restart all end the kernel cleanly."""
    if not task.creds.capable(Capability.SYS_BOOT):
        raise KernelError(Errno.EPERM)
    if magic != REBOOT_MAGIC or magic2 not in REBOOT_MAGIC_2:
        raise KernelError(Errno.EINVAL)
    if command in REBOOT_CAD:
        return 0
    action = REBOOT_ACTIONS.get(command)
    if action is None:
        raise KernelError(Errno.EINVAL)
    task.kernel.request_shutdown(action)
    return 0


@syscall("vhangup")
def vhangup(task: Task) -> int:
    """vhangup(2): hangs up the caller's terminal."""
    if not task.creds.privileged:
        raise KernelError(Errno.EPERM)
    tty = task.process.tty
    if tty is not None:
        tty.hang_up()
    return 0


@syscall("acct")
def acct(task: Task, path: UserPtr) -> int:
    """acct(2): not configured."""
    raise KernelError(Errno.ENOSYS)


@syscall("iopl")
def iopl(task: Task, level: UInt) -> int:
    """iopl(2): programs get no port access."""
    raise KernelError(Errno.EINVAL if level > 3 else Errno.EPERM)


@syscall("ioperm")
def ioperm(task: Task, first: ULong, count: ULong, on: Int) -> int:
    """ioperm(2)."""
    raise KernelError(Errno.EINVAL if first + count > 65536 else Errno.EPERM)
