"""A LAN between systems of this host, in as many processes as you like: ``--net lan:NAME`` in each.

    folder of NAME:   1234-0   1235-0   1240-0      a Unix datagram socket for each station; a datagram is a frame

Who comes binds its own socket first, and then greets every other in the folder with its name, a datagram that is too
short for a frame; who is greeted knows the newcomer from then on. So of two that come together at least one sees the
other. A station that answers no more is forgotten, and its socket removed if it left it behind.

It is a hub: everybody sees every frame. A station that is slow loses frames once MOST_WAITING_BYTES wait for it, and
holds nobody else up. Only the user who made the folder can plug in.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from jefeos.errors import ConfigError
from jefeos.net.device import ETHERNET_HEADER_BYTES, Offload
from jefeos.net.wire import Port
from jefeos.net.wires.sockets import DatagramPort, open_datagram, unix_socket

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")
_STATION: Final = re.compile(rb"[0-9]{1,9}-[0-9]{1,3}")
"""Shorter than a frame's header."""
_numbers: Final = count()


class SegmentPort(Port):
    """A station of the segment whose sockets are in ``folder``. Raises ConfigError."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._folder = folder
        self._loop = loop
        self._name = f"{os.getpid()}-{next(_numbers) % 1000}"
        self._stations: dict[str, _Station] = {}
        try:
            self._inbox = open_datagram(str(folder / self._name), "", loop)
        except ConfigError as error:
            raise ConfigError(f"lan:{folder}: {error}") from None
        self._inbox.receiver = self._arrived
        for entry in os.scandir(folder):
            if entry.name != self._name and _STATION.fullmatch(os.fsencode(entry.name)):
                self._meet(entry.name)
        for station in list(self._stations.values()):
            station.send(self._name.encode())

    @property
    def lost_frames(self) -> int:
        """Frames that stations who are there now were too slow for."""
        return sum(station.lost_frames for station in self._stations.values())

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        if self.link_up:
            for station in list(self._stations.values()):
                station.send(frame)

    def close(self) -> None:
        self._inbox.close()
        for station in self._stations.values():
            station.close()
        self._stations.clear()

    def _arrived(self, frame: bytes) -> None:
        if len(frame) >= ETHERNET_HEADER_BYTES:
            if self.link_up:
                self.receiver(frame)
        elif _STATION.fullmatch(frame):
            self._meet(frame.decode())

    def _meet(self, name: str) -> None:
        old = self._stations.pop(name, None)
        if old is not None:
            old.close()
        sock = unix_socket(socket.SOCK_DGRAM)
        try:
            sock.connect(str(self._folder / name))
        except ConnectionRefusedError:
            sock.close()
            self._sweep(name)
        except OSError:
            sock.close()
        else:
            self._stations[name] = _Station(sock, self._loop, lambda: self._lost(name))

    def _lost(self, name: str) -> None:
        station = self._stations.pop(name, None)
        if station is not None:
            station.close()
            self._sweep(name)

    def _sweep(self, name: str) -> None:
        """Remove the socket of a process that ended without doing it."""
        with suppress(OSError):
            os.unlink(self._folder / name)


class _Station(DatagramPort):
    """The way to another station: ``sock`` is connected to it."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, lost: Callable[[], None]) -> None:
        super().__init__(sock, loop)
        self._lost = lost

    def _send_now(self, frame: bytes | memoryview) -> bool:
        if self._socket is not None:
            try:
                self._socket.send(frame)
            except BlockingIOError:
                return False
            except OSError:
                self._lost()
        return True


def open_segment(name: str, loop: asyncio.AbstractEventLoop) -> SegmentPort:
    """A port of the segment ``name``, or of the one in the folder ``name`` if it has a slash. Raises ConfigError."""
    if "/" in name:
        folder = Path(name)
    elif _NAME.fullmatch(name):
        folder = _runtime_folder() / f"lan-{name}"
    else:
        raise ConfigError(f"lan:{name} is not lan:NAME, of up to 32 letters, digits, '.', '_' and '-', or a folder")
    _make_private(folder)
    return SegmentPort(folder, loop)


def _runtime_folder() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.path.isdir(given):
        return Path(given) / "jefeos"
    return Path(tempfile.gettempdir()) / f"jefeos-{os.getuid() if hasattr(os, 'getuid') else 'lan'}"


def _make_private(folder: Path) -> None:
    """Make ``folder``; one that is there must be a directory of this user that nobody else can enter or write to."""
    try:
        for made in (folder.parent, folder):
            if not made.exists():
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(f"lan:{folder}: {error.strerror or error}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"lan:{folder} is not a folder")
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        raise ConfigError(f"lan:{folder}: others can enter this folder; it must be yours, with mode 0700")
