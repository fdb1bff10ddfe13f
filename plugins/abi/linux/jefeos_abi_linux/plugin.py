"""Hooks of jefeos-abi-linux: the Linux x86-64 personality. Its system calls come with it, in its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.personality import Personality

JEFEOS_API = 1


@hookimpl
def jefeos_personalities() -> list[Personality]:
    """One object for all Linux processes."""
    from jefeos_abi_linux.personality import LinuxPersonality

    return [LinuxPersonality()]


@hookimpl
def jefeos_shutdown(kernel: Kernel) -> None:
    """Shared memory segments outlive processes: give their frames back."""
    from jefeos_abi_linux.personality import LinuxPersonality

    for personality in kernel.personalities:
        if isinstance(personality, LinuxPersonality):
            personality.ipc.clear()
