"""Identity and limits of a process: user and group ids, and the resource limits of setrlimit(2)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from attrs import Factory, define, evolve, field

from jefeos.proc.capabilities import NO_CAPABILITIES, Capability, CapabilitySets

UNLIMITED: Final = 0xFFFF_FFFF_FFFF_FFFF
"""RLIM_INFINITY."""


@define
class Credentials:
    """Real, effective, saved and filesystem ids (credentials(7)). Root is 0."""

    uid: int = 0
    euid: int = 0
    suid: int = 0
    fsuid: int = 0
    gid: int = 0
    egid: int = 0
    sgid: int = 0
    fsgid: int = 0
    groups: tuple[int, ...] = ()
    capabilities: CapabilitySets = field(
        default=Factory(lambda self: NO_CAPABILITIES if self.euid else CapabilitySets(), takes_self=True)
    )

    @property
    def privileged(self) -> bool:
        """Whether checks are overridden that have no capability of their own here."""
        return self.capabilities.has(Capability.SYS_ADMIN)

    def capable(self, capability: Capability) -> bool:
        """Whether this one overrides its checks."""
        return self.capabilities.has(capability)

    def set_users(self, uid: int, euid: int, suid: int) -> None:
        """Change the user ids, and with them what they carry."""
        before = (self.uid, self.euid, self.suid)
        self.uid, self.euid, self.suid, self.fsuid = uid, euid, suid, euid
        self.capabilities = self.capabilities.after_ids(before, (uid, euid, suid))

    def in_group(self, gid: int) -> bool:
        """Whether ``gid`` is the filesystem group or a supplementary one."""
        return gid == self.fsgid or gid in self.groups

    def copy(self) -> Credentials:
        """A copy that the new process may change."""
        return evolve(self)


class RLimit(IntEnum):
    """Resources of setrlimit(2), with Linux's numbers."""

    CPU = 0
    FSIZE = 1
    DATA = 2
    STACK = 3
    CORE = 4
    RSS = 5
    NPROC = 6
    NOFILE = 7
    MEMLOCK = 8
    AS = 9
    LOCKS = 10
    SIGPENDING = 11
    MSGQUEUE = 12
    NICE = 13
    RTPRIO = 14
    RTTIME = 15


_DEFAULTS: Final = {
    RLimit.STACK: (8 << 20, UNLIMITED),
    RLimit.CORE: (0, UNLIMITED),
    RLimit.NPROC: (4096, 4096),
    RLimit.NOFILE: (1024, 1048576),
    RLimit.MEMLOCK: (8 << 20, 8 << 20),
    RLimit.SIGPENDING: (4096, 4096),
    RLimit.MSGQUEUE: (819200, 819200),
    RLimit.NICE: (0, 0),
    RLimit.RTPRIO: (0, 0),
}


def default_rlimits() -> dict[RLimit, tuple[int, int]]:
    """Soft and hard limit of each resource for the first process, in the units of setrlimit(2)."""
    return {limit: _DEFAULTS.get(limit, (UNLIMITED, UNLIMITED)) for limit in RLimit}


@define(eq=False)
class Usage:
    """Resources that a process has used (getrusage(2)); times in nanoseconds.

    ``time_ns`` is exact. How much of it was system time is worked out when somebody asks, or at a new sample.
    """

    time_ns: int = 0
    """Processor time, user and system together. HOT: added to at each task switch."""
    minor_faults: int = 0
    major_faults: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    max_resident_kib: int = 0
    system_share: float = 0.0
    """Which part of the time is system time, from now on (`jefeos.sched.systime`)."""
    sampled_ns: int = 0
    sampled_system_ns: int = 0
    _system_ns: int = 0
    _divided_ns: int = 0
    """How much of ``time_ns`` has been divided."""

    @property
    def system_ns(self) -> int:
        """Time spent in system calls."""
        self._system_ns += int((self.time_ns - self._divided_ns) * self.system_share)
        self._divided_ns = self.time_ns
        return self._system_ns

    @property
    def user_ns(self) -> int:
        """The rest of the time."""
        return self.time_ns - self.system_ns

    def sample(self, length_ns: int, system_ns: int, remembered_ns: int) -> None:
        """Of ``length_ns`` of its time, so much was seen to be system time. Older samples fade."""
        self._system_ns = self.system_ns
        self.sampled_ns += length_ns
        self.sampled_system_ns += system_ns
        self.system_share = self.sampled_system_ns / self.sampled_ns
        if self.sampled_ns > remembered_ns:
            self.sampled_ns //= 2
            self.sampled_system_ns //= 2

    def expect_as(self, other: Usage) -> None:
        """A new process: until there are samples of its own, take those of its parent."""
        self.system_share = other.system_share
        self.sampled_ns, self.sampled_system_ns = other.sampled_ns, other.sampled_system_ns

    def add(self, other: Usage) -> None:
        """Add a reaped child's usage."""
        self._system_ns = self.system_ns + other.system_ns
        self.time_ns += other.time_ns
        self._divided_ns = self.time_ns
        self.minor_faults += other.minor_faults
        self.major_faults += other.major_faults
        self.voluntary_switches += other.voluntary_switches
        self.involuntary_switches += other.involuntary_switches
        self.max_resident_kib = max(self.max_resident_kib, other.max_resident_kib)


Limits = dict[RLimit, tuple[int, int]]
__all__ = ["UNLIMITED", "Credentials", "Limits", "RLimit", "Usage", "default_rlimits"]
