"""Capability sets: root's powers, told apart and given away (capabilities(7)).

::

    execve:    permitted = bounding | inheritable for root, else ambient;     effective = permitted where euid is 0
    setuid…:   from root ids to none: permitted and effective go, unless kept (PR_SET_KEEPCAPS); ambient always goes

`Credentials.privileged` asks for SYS_ADMIN, the one for all that has no capability of its own; `Credentials.capable`
for a certain one. Files carry no capabilities here. Access to files looks at the filesystem user id alone.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from attrs import evolve, frozen

LAST_CAPABILITY: Final = 40
ALL_CAPABILITIES: Final = (1 << LAST_CAPABILITY + 1) - 1


class Capability(IntEnum):
    """Bits of a set, with Linux's numbers: those that somebody asks for."""

    KILL = 5
    SETGID = 6
    SETUID = 7
    SETPCAP = 8
    IPC_LOCK = 14
    SYS_CHROOT = 18
    SYS_ADMIN = 21
    SYS_BOOT = 22
    SYS_TIME = 25


class SecureBit(IntEnum):
    """prctl(PR_SET_SECUREBITS): where root's ids no longer mean root's powers. Each has a lock bit above it."""

    NO_ROOT = 1
    NO_SETUID_FIXUP = 4
    KEEP_CAPS = 16
    NO_AMBIENT_RAISE = 64


@frozen
class CapabilitySets:
    """The sets of one process, as bits."""

    permitted: int = ALL_CAPABILITIES
    effective: int = ALL_CAPABILITIES
    inheritable: int = 0
    bounding: int = ALL_CAPABILITIES
    ambient: int = 0
    secure_bits: int = 0

    def after_ids(self, before: tuple[int, int, int], after: tuple[int, int, int]) -> CapabilitySets:
        """What is left when real, effective and saved user id changed."""
        if self.secure_bits & SecureBit.NO_SETUID_FIXUP:
            return self
        permitted, effective, ambient = self.permitted, self.effective, self.ambient
        if 0 in before and 0 not in after:
            ambient = 0
            if not self.secure_bits & SecureBit.KEEP_CAPS:
                permitted = effective = 0
        if before[1] == 0 != after[1]:
            effective = 0
        elif before[1] != 0 == after[1]:
            effective = permitted
        return evolve(self, permitted=permitted, effective=effective, ambient=ambient)

    def after_exec(self, uid: int, euid: int, *, ids_changed: bool) -> CapabilitySets:
        """What the next program has."""
        ambient = 0 if ids_changed else self.ambient
        permitted = effective = ambient
        if 0 in (uid, euid) and not self.secure_bits & SecureBit.NO_ROOT:
            permitted = self.inheritable | self.bounding
            effective = permitted if euid == 0 else ambient
        return evolve(
            self,
            permitted=permitted,
            effective=effective,
            ambient=ambient,
            secure_bits=self.secure_bits & ~SecureBit.KEEP_CAPS,
        )

    def with_sets(self, permitted: int, effective: int, inheritable: int) -> CapabilitySets | None:
        """capset(2); None if that is not for this process to have."""
        may_inherit = self.inheritable | (self.bounding if self.has(Capability.SETPCAP) else self.permitted)
        if inheritable & ~may_inherit or inheritable & ~(self.inheritable | self.bounding):
            return None
        if permitted & ~self.permitted or effective & ~permitted:
            return None
        ambient = self.ambient & permitted & inheritable
        return evolve(self, permitted=permitted, effective=effective, inheritable=inheritable, ambient=ambient)

    def has(self, capability: Capability) -> bool:
        """Whether it can be used now."""
        return bool(self.effective >> capability & 1)


NO_CAPABILITIES: Final = CapabilitySets(permitted=0, effective=0)
