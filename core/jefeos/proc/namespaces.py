"""What processes may have an own view of: so far only the system's names (a UTS namespace)."""

from __future__ import annotations

from attrs import define, field


@define(eq=False)
class SystemNames:
    """The names that uname(2) gives; processes that share the object share the names."""

    hostname: bytes
    domainname: bytes = b"(none)"
    serial: int = 0
    """Tells it apart from the others of the system, whose own has 0."""
    _made: list[int] = field(factory=lambda: [0])
    """How many there are; one list for all of a system."""

    def copy(self) -> SystemNames:
        """The names of a process that takes leave of the others."""
        self._made[0] += 1
        return SystemNames(self.hostname, self.domainname, self._made[0], self._made)
