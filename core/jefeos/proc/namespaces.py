"""What processes may have an own view of: so far only the system's names (a UTS namespace)."""

from __future__ import annotations

from attrs import define


@define(eq=False)
class SystemNames:
    """The names that uname(2) gives; processes that share the object share the names."""

    hostname: bytes
    domainname: bytes = b"(none)"

    def copy(self) -> SystemNames:
        """The names of a process that takes leave of the others."""
        return SystemNames(self.hostname, self.domainname)
