"""siginfo_t: what a handler, sigwaitinfo, waitid and signalfd learn about a signal (asm-generic/siginfo.h).

128 bytes: si_signo, si_errno, si_code, four bytes of padding, then a union whose member follows from signal and code:

    SI_USER, SI_TKILL   pid uid              SIGCHLD (code > 0)   pid uid status utime stime
    SI_QUEUE, others<0  pid uid value        SIGSEGV SIGBUS SIGILL SIGFPE SIGTRAP (code > 0)   address
    SI_TIMER            id overrun value     SIGSYS               address, call number, architecture
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.mm.space import AddressSpace
from jefeos.proc.signals import Signal, SignalCode, SignalInfo

SIGINFO_BYTES: Final = 128
NS_PER_TICK: Final = 10_000_000
"""One clock_t of CLKTCK 100."""

_HEAD: Final = struct.Struct("<iii4x")
_SENDER: Final = struct.Struct("<iIQ")
_TIMER: Final = struct.Struct("<iiQ")
_CHILD: Final = struct.Struct("<iIi4xqq")
_ADDRESS: Final = struct.Struct("<Q")
_CALL: Final = struct.Struct("<QQ")
_FAULTS: Final = frozenset(
    (Signal.SIGSEGV, Signal.SIGBUS, Signal.SIGILL, Signal.SIGFPE, Signal.SIGTRAP)
)


def siginfo_bytes(info: SignalInfo) -> bytes:
    """The structure for ``info``, 128 bytes."""
    code = info.code
    error = 0
    if info.signo == Signal.SIGSYS and 0 < code < SignalCode.SI_KERNEL:
        union, error = _CALL.pack(info.address, info.value), info.status
    elif info.signo == Signal.SIGCHLD and 0 < code < SignalCode.SI_KERNEL:
        union = _CHILD.pack(
            info.pid, info.uid, info.status, info.user_ns // NS_PER_TICK, info.system_ns // NS_PER_TICK
        )
    elif info.signo in _FAULTS and code > 0:
        union = _ADDRESS.pack(info.address)
    elif code == SignalCode.SI_TIMER:
        union = _TIMER.pack(info.timer_id, info.overrun, info.value)
    else:
        union = _SENDER.pack(info.pid, info.uid, info.value)
    return (_HEAD.pack(info.signo, error, code) + union).ljust(SIGINFO_BYTES, b"\0")


def read_siginfo(mm: AddressSpace, address: int, signo: int) -> SignalInfo:
    """A siginfo_t that a program made for ``signo`` (rt_sigqueueinfo). Raises EFAULT."""
    data = mm.read(address, SIGINFO_BYTES)
    _, _, code = _HEAD.unpack_from(data)
    if code == SignalCode.SI_TIMER:
        timer_id, overrun, value = _TIMER.unpack_from(data, _HEAD.size)
        return SignalInfo(signo, code, timer_id=timer_id, overrun=overrun, value=value)
    pid, uid, value = _SENDER.unpack_from(data, _HEAD.size)
    return SignalInfo(signo, code, pid, uid, value=value)
