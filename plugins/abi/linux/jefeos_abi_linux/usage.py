"""struct rusage and struct tms: what programs are told about the time they used (linux/resource.h, linux/times.h)."""

from __future__ import annotations

import struct
from typing import Final

from jefeos.proc.credentials import Usage

from jefeos_abi_linux.structs_common import timeval_bytes

RUSAGE_BYTES: Final = 144
NS_PER_TICK: Final = 10_000_000

_COUNTERS: Final = struct.Struct("<14q")
_TMS: Final = struct.Struct("<4q")


def rusage_bytes(usage: Usage) -> bytes:
    """struct rusage, 144 bytes: times, then fourteen counters of which Linux keeps six."""
    return (
        timeval_bytes(usage.user_ns)
        + timeval_bytes(usage.system_ns)
        + _COUNTERS.pack(
            usage.max_resident_kib,
            0,
            0,
            0,
            usage.minor_faults,
            usage.major_faults,
            0,
            0,
            0,
            0,
            0,
            0,
            usage.voluntary_switches,
            usage.involuntary_switches,
        )
    )


def tms_bytes(own: Usage, children: Usage) -> bytes:
    """struct tms, in clock ticks."""
    return _TMS.pack(
        own.user_ns // NS_PER_TICK,
        own.system_ns // NS_PER_TICK,
        children.user_ns // NS_PER_TICK,
        children.system_ns // NS_PER_TICK,
    )
