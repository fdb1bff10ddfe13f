"""Capabilities: capget, capset, and the options of prctl that are about them. The rules are `CapabilitySets`'s."""

from __future__ import annotations

import struct
from typing import Final

from attrs import evolve
from jefeos.errors import Errno, KernelError
from jefeos.proc.capabilities import ALL_CAPABILITIES, LAST_CAPABILITY, Capability, SecureBit
from jefeos.proc.task import Task
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import UserPtr

from jefeos_abi_linux.calls_identity import find_process

CAPABILITY_V1: Final = 0x19980330
CAPABILITY_V2: Final = 0x20071026
CAPABILITY_V3: Final = 0x20080522
HALF: Final = 0xFFFF_FFFF

PR_GET_KEEPCAPS: Final = 7
PR_SET_KEEPCAPS: Final = 8
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_GET_SECUREBITS: Final = 27
PR_SET_SECUREBITS: Final = 28
PR_CAP_AMBIENT: Final = 47
AMBIENT_IS_SET, AMBIENT_RAISE, AMBIENT_LOWER, AMBIENT_CLEAR_ALL = 1, 2, 3, 4
CAPABILITY_OPTIONS: Final = frozenset(
    (PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS,
     PR_CAP_AMBIENT)
)  # fmt: skip
SECURE_BITS: Final = 0xFF


def _header(task: Task, header: int) -> tuple[int, int]:
    """Number of 32-bit halves that the header's version means, and its pid. EINVAL with the version we prefer."""
    mm = task.mm
    version = mm.read_u32(header)
    if version not in (CAPABILITY_V1, CAPABILITY_V2, CAPABILITY_V3):
        mm.write_u32(header, CAPABILITY_V3)
        raise KernelError(Errno.EINVAL)
    pid = struct.unpack("<i", mm.read(header + 4, 4))[0]
    if pid < 0:
        raise KernelError(Errno.EINVAL)
    return 1 if version == CAPABILITY_V1 else 2, pid


@syscall("capget")
def capget(task: Task, header: UserPtr, data: UserPtr) -> int:
    """capget(2)."""
    try:
        words, pid = _header(task, header)
    except KernelError as error:
        if error.errno == Errno.EINVAL and not data:
            return 0
        raise
    sets = find_process(task, pid).creds.capabilities
    if data:
        three = (sets.effective, sets.permitted, sets.inheritable)
        halves = [held >> 32 * index & HALF for index in range(words) for held in three]
        task.mm.write(data, struct.pack(f"<{3 * words}I", *halves))
    return 0


@syscall("capset")
def capset(task: Task, header: UserPtr, data: UserPtr) -> int:
    """capset(2)."""
    words, pid = _header(task, header)
    if pid not in (0, task.tid, task.process.pid):
        raise KernelError(Errno.EPERM)
    halves = struct.unpack(f"<{3 * words}I", task.mm.read(data, 12 * words))
    effective, permitted, inheritable = (
        sum(halves[3 * index + which] << 32 * index for index in range(words)) & ALL_CAPABILITIES for which in range(3)
    )
    changed = task.creds.capabilities.with_sets(permitted, effective, inheritable)
    if changed is None:
        raise KernelError(Errno.EPERM)
    task.creds.capabilities = changed
    return 0


def prctl_capabilities(task: Task, option: int, a: int, b: int, c: int, d: int) -> int:
    """The options of `CAPABILITY_OPTIONS`."""
    creds = task.creds
    sets = creds.capabilities
    if option == PR_GET_KEEPCAPS:
        return int(bool(sets.secure_bits & SecureBit.KEEP_CAPS))
    if option == PR_GET_SECUREBITS:
        return sets.secure_bits
    if option == PR_SET_KEEPCAPS:
        if a > 1:
            raise KernelError(Errno.EINVAL)
        bits = sets.secure_bits | SecureBit.KEEP_CAPS if a else sets.secure_bits & ~SecureBit.KEEP_CAPS
        creds.capabilities = evolve(sets, secure_bits=bits)
    elif option == PR_SET_SECUREBITS:
        locked = sets.secure_bits >> 1 & 0x55
        if not sets.has(Capability.SETPCAP) or a & ~SECURE_BITS or (a ^ sets.secure_bits) & (locked | locked << 1):
            raise KernelError(Errno.EPERM)
        creds.capabilities = evolve(sets, secure_bits=a)
    elif option == PR_CAP_AMBIENT:
        return _ambient(task, a, b, c, d)
    elif option == PR_CAPBSET_READ:
        return sets.bounding >> _known(a) & 1
    else:
        if not sets.has(Capability.SETPCAP):
            raise KernelError(Errno.EPERM)
        creds.capabilities = evolve(sets, bounding=sets.bounding & ~(1 << _known(a)))
    return 0


def _ambient(task: Task, action: int, capability: int, c: int, d: int) -> int:
    sets = task.creds.capabilities
    if action == AMBIENT_CLEAR_ALL:
        if capability or c or d:
            raise KernelError(Errno.EINVAL)
        task.creds.capabilities = evolve(sets, ambient=0)
        return 0
    if c or d or not AMBIENT_IS_SET <= action <= AMBIENT_LOWER:
        raise KernelError(Errno.EINVAL)
    bit = 1 << _known(capability)
    if action == AMBIENT_IS_SET:
        return int(bool(sets.ambient & bit))
    if action == AMBIENT_RAISE:
        if not sets.permitted & sets.inheritable & bit or sets.secure_bits & SecureBit.NO_AMBIENT_RAISE:
            raise KernelError(Errno.EPERM)
        task.creds.capabilities = evolve(sets, ambient=sets.ambient | bit)
    else:
        task.creds.capabilities = evolve(sets, ambient=sets.ambient & ~bit)
    return 0


def _known(capability: int) -> int:
    if capability > LAST_CAPABILITY:
        raise KernelError(Errno.EINVAL)
    return capability
