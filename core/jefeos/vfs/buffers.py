"""The account of buffers: what pipes and sockets may hold of the host's memory, all together.

Their contents are Python objects and not guest frames, so ``--ram`` does not bound them by itself. Pipes claim
their capacity when they are made: all of it while half of the account is free, a single page after that (as Linux
does past pipe-user-pages-soft), nothing at its end (ENFILE). Sockets claim each message while it waits (ENOBUFS).
"""

from __future__ import annotations

from typing import Final

from jefeos.errors import Errno, KernelError

DEFAULT_LIMIT_BYTES: Final = 64 << 20


class BufferAccount:
    """Bytes granted, of a fixed limit."""

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def claim_capacity(self, wanted_bytes: int, least_bytes: int) -> int:
        """Grant ``wanted_bytes``, or ``least_bytes`` when more than half is in use. Raises ENFILE at the limit."""
        if self.used_bytes + wanted_bytes <= self.limit_bytes // 2:
            granted = wanted_bytes
        else:
            granted = least_bytes
            if self.used_bytes + granted > self.limit_bytes:
                raise KernelError(Errno.ENFILE)
        self.used_bytes += granted
        return granted

    def claim(self, count: int, errno: int = Errno.ENOBUFS) -> None:
        """Grant exactly ``count`` bytes, or raise ``errno``."""
        if self.used_bytes + count > self.limit_bytes:
            raise KernelError(errno)
        self.used_bytes += count

    def give_back(self, count: int) -> None:
        """End a grant of ``count`` bytes."""
        self.used_bytes -= count
