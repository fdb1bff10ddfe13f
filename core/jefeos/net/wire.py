"""Wires: what a network card is plugged into.

    card model --send(frame)--> Port =====wire===== Port --receiver(frame)--> another card, a host's tap, a gateway

A `Port` is one end of a wire. Kinds of wire (a LAN segment with faults, a tap, QEMU's and passt's framings) make ports;
card models use them. Frames are whole Ethernet frames without preamble and check sequence, 14 to 1518 bytes. A port may
take a large TCP segment whole if its other end cuts it or has no need to (``takes_segments``): what a card with TSO was
given then crosses the wire in one piece, as between Linux's own virtual devices, its TCP checksum not filled in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from jefeos.net.device import Offload

if TYPE_CHECKING:
    import logging

    from jefeos.config import Forward
    from jefeos.plugins import Plugins
    from jefeos.sched.clock import Clock, Entropy
    from jefeos.sched.loop import KernelLoop

FrameReceiver = Callable[[bytes], None]


class Port(ABC):
    """One end of a wire."""

    takes_segments: bool = False
    """Whether `send` takes frames longer than the wire's, together with their `Offload`."""
    accepts_segments: bool = False
    """Whether the `receiver` takes such frames: whoever is plugged in says so."""
    forwards_ports: bool = False
    """Whether it does what `WireContext.forwards` asks."""

    def __init__(self) -> None:
        self.receiver: FrameReceiver = _nobody
        """Called with each frame that arrives. Never from inside `send`."""
        self.link_changed: Callable[[bool], None] = _no_change
        """Called when the wire is pulled out (False) or plugged in (True)."""
        self.link_up = True

    @abstractmethod
    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        """Put a frame on the wire. Never waits, never fails: what the wire cannot carry is lost, and counted there."""

    def close(self) -> None:
        """Let go of whatever of the host's the wire needs."""

    def set_link(self, up: bool) -> None:
        """Pull the wire out, or plug it in."""
        if up != self.link_up:
            self.link_up = up
            self.link_changed(up)


@frozen
class WireContext:
    """What the opener of a wire is given of the kernel."""

    loop: KernelLoop
    clock: Clock
    entropy: Entropy
    log: logging.Logger
    plugins: Plugins
    """For wires that need what other plugins provide, as a network stack or a DHCP server."""
    forwards: tuple[Forward, ...] = ()
    """Host ports that lead into the system (``--forward``), for wires that can do it (`Port.forwards_ports`)."""


WireOpener: TypeAlias = Callable[[str, WireContext], Port]
"""From what follows ``KIND:`` in ``--net`` to an end of the wire. Raises ConfigError."""


def _nobody(frame: bytes) -> None:
    """Nobody is plugged in."""


def _no_change(up: bool) -> None:
    """Nobody cares."""
