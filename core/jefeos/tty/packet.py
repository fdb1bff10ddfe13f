"""Packet mode of a pty (TIOCPKT): what the master is told besides the data.

A master in packet mode reads packets: one byte, then either data (the byte is 0) or nothing (the byte says what
happened to the slave). `PacketStatus` are the things that can happen; several of them share a byte. rlogin was the
first to want it; screen turns it on to learn of flushed output and of ^S being the program's own. ioctl_tty(2).
"""

from __future__ import annotations

from enum import IntFlag

from jefeos.tty.termios import ControlChar, InputFlag, LocalFlag, Termios

_XON, _XOFF = 0x11, 0x13


class PacketStatus(IntFlag):
    """The first byte of a packet; 0 (TIOCPKT_DATA) goes before data."""

    DATA = 0
    FLUSH_READ = 1
    FLUSH_WRITE = 2
    STOP = 4
    START = 8
    NO_STOP = 16
    DO_STOP = 32
    IOCTL = 64


#: What replaces what, if the master has not read it yet.
_OPPOSITES = {
    PacketStatus.STOP: PacketStatus.START,
    PacketStatus.START: PacketStatus.STOP,
    PacketStatus.DO_STOP: PacketStatus.NO_STOP,
    PacketStatus.NO_STOP: PacketStatus.DO_STOP,
}


def combined(status: PacketStatus, event: PacketStatus) -> PacketStatus:
    """What the next packet says if it was to say ``status`` and now ``event`` happened."""
    return status & ~_OPPOSITES.get(event, PacketStatus.DATA) | event


def settings_events(old: Termios, new: Termios) -> list[PacketStatus]:
    """What a change of the slave's settings means: who handles ^S and ^Q; and, under EXTPROC, that there was one."""
    events = []
    if _handles_flow(old) != _handles_flow(new):
        events.append(PacketStatus.DO_STOP if _handles_flow(new) else PacketStatus.NO_STOP)
    if (old.lflag | new.lflag) & LocalFlag.EXTPROC:
        events.append(PacketStatus.IOCTL)
    return events


def _handles_flow(termios: Termios) -> bool:
    characters = termios.control_chars
    stop, start = characters[ControlChar.VSTOP], characters[ControlChar.VSTART]
    return bool(termios.iflag & InputFlag.IXON) and (stop, start) == (_XOFF, _XON)
