"""A port whose other end is the host's network stack: a tap device (Linux Documentation/networking/tuntap.rst).

    read(descriptor)   one frame that the host sends          write(descriptor, frame)   one frame that it receives

The host takes frames at once or not at all: what it has no room for is lost and counted, as on any wire.
"""

from __future__ import annotations

import asyncio
import os
import struct
from typing import Final

from jefeos.errors import ConfigError
from jefeos.net.device import Offload
from jefeos.net.wire import Port

TUN_DEVICE: Final = "/dev/net/tun"
TUNSETIFF: Final = 0x4004_54CA
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
NAME_BYTES: Final = 16
_IFREQ: Final = struct.Struct(f"{NAME_BYTES}sH22x")
_FRAME_BYTES: Final = 65_536
_FRAMES_A_TURN: Final = 256


class TapPort(Port):
    """A tap device. ``descriptor`` is the port's from now on."""

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.lost_frames = 0
        self._descriptor = descriptor
        self._loop = loop
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, self._readable)

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        try:
            if self._descriptor < 0 or not self.link_up:
                raise OSError
            os.write(self._descriptor, frame)
        except OSError:  # the device is down, or the host's queue is full
            self.lost_frames += 1

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)

    def _readable(self) -> None:
        for _ in range(_FRAMES_A_TURN):
            if self._descriptor < 0:
                return
            try:
                frame = os.read(self._descriptor, _FRAME_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the device was deleted
                self.close()
                self.set_link(False)
                return
            if self.link_up:
                self.receiver(frame)


def open_tap(name: str, loop: asyncio.AbstractEventLoop) -> TapPort:
    """The host's tap device ``name``. Raises ConfigError with what to do."""
    encoded = os.fsencode(name)
    if not encoded or len(encoded) >= NAME_BYTES or b"/" in encoded:
        raise ConfigError(f"tap:{name}: a device's name has 1 to {NAME_BYTES - 1} characters")
    try:
        import fcntl

        descriptor = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except (ImportError, OSError) as error:
        raise ConfigError(f"tap:{name}: this host has no usable {TUN_DEVICE} ({error})") from None
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, _IFREQ.pack(encoded, IFF_TAP | IFF_NO_PI))
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(
            f"tap:{name}: {error.strerror}; make it yours with: ip tuntap add {name} mode tap user $USER"
        ) from None
    return TapPort(descriptor, loop)
