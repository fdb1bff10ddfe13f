"""Structures that many calls share: times and I/O vectors (linux/time_types.h, linux/uio.h, linux/time.h).

Times cross into the kernel as integers of nanoseconds; these helpers do the checking that Linux does: EFAULT for
the address, EINVAL for a fraction outside of one second or a negative whole.
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.mm.space import AddressSpace
from jefeos.structs import Struct, s64, u64

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_US: Final = 1_000
US_PER_SECOND: Final = 1_000_000

IOV_MAX: Final = 1024
"""Most pieces in one readv or writev (UIO_MAXIOV)."""
MAX_TRANSFER: Final = 0x7FFF_F000
"""Most bytes that one call moves (MAX_RW_COUNT: INT_MAX down to a page)."""

_PAIR: Final = struct.Struct("<qq")
_IOVEC: Final = struct.Struct("<QQ")


class Timespec(Struct):
    """struct __kernel_timespec."""

    tv_sec: int = s64()
    tv_nsec: int = s64()


class Timeval(Struct):
    """struct __kernel_old_timeval."""

    tv_sec: int = s64()
    tv_usec: int = s64()


class Itimerspec(Struct):
    """struct __kernel_itimerspec, flattened: the period, then the first expiry."""

    interval_sec: int = s64()
    interval_nsec: int = s64()
    value_sec: int = s64()
    value_nsec: int = s64()


class Iovec(Struct):
    """struct iovec."""

    iov_base: int = u64()
    iov_len: int = u64()


def read_timespec(mm: AddressSpace, address: int) -> int:
    """A non-negative duration or point in time at ``address``, in nanoseconds. EFAULT, EINVAL."""
    seconds, nanoseconds = _PAIR.unpack(mm.read(address, 16))
    if seconds < 0 or not 0 <= nanoseconds < NS_PER_SECOND:
        raise KernelError(Errno.EINVAL)
    return int(seconds * NS_PER_SECOND + nanoseconds)


def read_timeval(mm: AddressSpace, address: int) -> int:
    """The same for a timeval, in nanoseconds. EFAULT, EINVAL."""
    seconds, microseconds = _PAIR.unpack(mm.read(address, 16))
    if seconds < 0 or not 0 <= microseconds < US_PER_SECOND:
        raise KernelError(Errno.EINVAL)
    return int(seconds * NS_PER_SECOND + microseconds * NS_PER_US)


def timespec_bytes(time_ns: int) -> bytes:
    """A struct timespec of ``time_ns`` nanoseconds."""
    return _PAIR.pack(*divmod(time_ns, NS_PER_SECOND))


def timeval_bytes(time_ns: int) -> bytes:
    """A struct timeval of ``time_ns`` nanoseconds, rounded down."""
    seconds, rest_ns = divmod(time_ns, NS_PER_SECOND)
    return _PAIR.pack(seconds, rest_ns // NS_PER_US)


def itimerspec_bytes(interval_ns: int, value_ns: int) -> bytes:
    """A struct itimerspec."""
    return timespec_bytes(interval_ns) + timespec_bytes(value_ns)


def read_itimerspec(mm: AddressSpace, address: int) -> tuple[int, int]:
    """(interval, value) in nanoseconds. EFAULT, EINVAL."""
    return read_timespec(mm, address), read_timespec(mm, address + 16)


def read_iovecs(mm: AddressSpace, address: int, count: int) -> list[tuple[int, int]]:
    """The (base, length) pieces of a vector; together at most MAX_TRANSFER bytes. EINVAL, EFAULT."""
    if not 0 <= count <= IOV_MAX:
        raise KernelError(Errno.EINVAL)
    if not count:
        return []
    pieces = list(_IOVEC.iter_unpack(mm.read(address, count * 16)))
    total = 0
    for index, (base, length) in enumerate(pieces):
        if length >> 63:
            raise KernelError(Errno.EINVAL)
        if total + length > MAX_TRANSFER:
            pieces[index] = (base, MAX_TRANSFER - total)
            pieces[index + 1 :] = [(base, 0) for base, _ in pieces[index + 1 :]]
            break
        total += length
    return pieces
