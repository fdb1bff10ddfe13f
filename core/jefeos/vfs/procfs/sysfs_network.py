"""/sys/class/net: interfaces with their state and counters, as they are at each look.

The names and their meaning are those of Linux's Documentation/ABI/testing/sysfs-class-net.

    /sys/class/net/NAME                       a link to one of
    /sys/devices/virtual/net/NAME             lo, VLANs, a wire without a card
    /sys/devices/pci0000:00/WHERE/net/NAME    the interface of a card, whose `device` links to WHERE

What Linux keeps and this kernel does not know (how often the carrier was lost, settings of queues) is left out. The
MTU and the flags can be written. As with /proc/net, no stack is made for those who only look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.flags import InterfaceFlags
from jefeos.vfs.flags import O_ACCMODE, O_RDONLY
from jefeos.vfs.inode import Filesystem, Inode, OpenContext
from jefeos.vfs.procfs.nodes import MadeDirectory, ProcFile, ProcLink

if TYPE_CHECKING:
    from jefeos.net.device import NetDevice, Statistics
    from jefeos.net.networking import Networking
    from jefeos.net.stack import Interface
    from jefeos.sched.wait import MaybeAwait
    from jefeos.vfs.file import File

BUS: Final = b"pci0000:00"
ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
QUEUE_LENGTH: Final = 1000
_FIRST_INODE: Final = 1 << 20
"""Behind those of the fixed part of /sys; each interface has `_INODES_EACH`."""
_INODES_EACH: Final = 1 << 10
_WRITABLE: Final = 0o644
COUNTERS: Final = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
    "multicast", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors",
    "rx_fifo_errors", "rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors",
    "tx_heartbeat_errors", "tx_window_errors", "rx_compressed", "tx_compressed", "rx_nohandler",
)
"""Linux's (struct rtnl_link_stats64). What no device here counts is 0."""


def counter(statistics: Statistics, name: str) -> int:
    """A counter by Linux's name."""
    return int(getattr(statistics, name, 0))


def _settled(value: int) -> int:
    """A setting of a link, which can only be asked for while it is known."""
    if value < 0:
        raise KernelError(Errno.EINVAL)
    return value


class SysFile(ProcFile):
    """A file of /sys. One that takes no values cannot be opened to write one, not even by root."""

    def open(self, flags: int, context: OpenContext) -> MaybeAwait[File]:
        if self.store is None and flags & O_ACCMODE != O_RDONLY:
            raise KernelError(Errno.EACCES)
        return super().open(flags, context)


class InterfaceNodes:
    """Makes the three directories and what is in them."""

    def __init__(self, fs: Filesystem, net: Networking) -> None:
        self._fs = fs
        self._net = net

    def links(self) -> Inode:
        """/sys/class/net."""
        return MadeDirectory(self._fs, _FIRST_INODE, lambda: {
            interface.name.encode(): self._link(interface, 1, b"../../devices/" + _home(interface))
            for interface in self._interfaces()
        })

    def virtual(self) -> Inode:
        """/sys/devices/virtual/net."""
        return MadeDirectory(self._fs, _FIRST_INODE + 1, lambda: {
            interface.name.encode(): self._interface(interface)
            for interface in self._interfaces() if not _where(interface)
        })

    def cards(self) -> Inode:
        """/sys/devices/pci0000:00."""
        return MadeDirectory(self._fs, _FIRST_INODE + 2, lambda: {
            _where(interface): self._card(interface) for interface in self._interfaces() if _where(interface)
        })

    def _interfaces(self) -> list[Interface]:
        return list(self._net.stack.interfaces()) if self._net.in_use else []

    # --- one interface -------------------------------------------------------------------------------------

    def _ino(self, interface: Interface, number: int) -> int:
        return _FIRST_INODE + interface.index * _INODES_EACH + number

    def _link(self, interface: Interface, number: int, text: bytes) -> Inode:
        return ProcLink(self._fs, self._ino(interface, number), lambda: text)

    def _folder(self, interface: Interface, number: int, make: Callable[[], Mapping[bytes, Inode]]) -> Inode:
        return MadeDirectory(self._fs, self._ino(interface, number), make)

    def _file(
        self, interface: Interface, number: int, value: Callable[[], object],
        store: Callable[[Interface, int], None] | None = None,
    ) -> Inode:
        def write(text: bytes) -> None:
            assert store is not None
            store(interface, _number(text))

        return SysFile(
            self._fs, self._ino(interface, number), lambda: f"{value()}\n".encode(),
            mode=_WRITABLE if store is not None else 0o444, store=None if store is None else write,
        )

    def _card(self, interface: Interface) -> Inode:
        """The folder of the hardware."""
        device = interface.device
        assert device is not None
        uevent = f"DRIVER={device.driver}\nPCI_SLOT_NAME={device.location}"
        inside = {interface.name.encode(): self._interface(interface)}
        return self._folder(interface, 2, lambda: {
            b"net": self._folder(interface, 3, lambda: inside), b"uevent": self._file(interface, 4, lambda: uevent),
        })

    def _interface(self, interface: Interface) -> Inode:
        return self._folder(interface, 5, lambda: self._attributes(interface))

    def _attributes(self, interface: Interface) -> dict[bytes, Inode]:
        stores = {"mtu": lambda one, value: one.set_mtu(value), "flags": _set_flags}
        nodes = {
            name.encode(): self._file(interface, 100 + number, value, stores.get(name))
            for number, (name, value) in enumerate(values_of(interface).items())
        }
        depth = b"../" * (_home(interface).count(b"/") + 2)
        nodes[b"subsystem"] = self._link(interface, 6, depth + b"class/net")
        if _where(interface):
            nodes[b"device"] = self._link(interface, 7, b"../../../" + _where(interface))
        statistics = interface.statistics
        nodes[b"statistics"] = self._folder(interface, 8, lambda: {
            name.encode(): self._file(interface, 200 + number, partial(counter, statistics, name))
            for number, name in enumerate(COUNTERS)
        })
        nodes[b"queues"] = self._folder(interface, 9, lambda: {
            name: self._folder(interface, 10 + number, dict) for number, name in enumerate((b"rx-0", b"tx-0"))
        })
        return nodes


def _where(interface: Interface) -> bytes:
    device = interface.device
    return device.location.encode() if device is not None else b""


def _home(interface: Interface) -> bytes:
    """Where the interface is, below /sys/devices."""
    where = _where(interface)
    return b"/".join((BUS, where, b"net") if where else (b"virtual", b"net")) + b"/" + interface.name.encode()


def values_of(interface: Interface) -> dict[str, Callable[[], object]]:
    """The files of an interface that hold one value each."""
    loopback = bool(interface.flags & InterfaceFlags.LOOPBACK)
    device = interface.device
    return {
        "addr_assign_type": lambda: 0,
        "addr_len": lambda: len(interface.mac),
        "address": lambda: interface.mac.hex(":"),
        "broadcast": lambda: (bytes(6) if loopback else b"\xff" * 6).hex(":"),
        "carrier": lambda: _settled(carrier(interface)),
        "dev_id": lambda: "0x0",
        "dev_port": lambda: 0,
        "dormant": lambda: _never(interface),
        "duplex": lambda: duplex(_linked(interface, device)),
        "flags": lambda: hex(interface.flags & 0xFFFF & ~InterfaceFlags.RUNNING),
        "ifalias": lambda: "",
        "ifindex": lambda: interface.index,
        "iflink": lambda: interface.index,
        "link_mode": lambda: 0,
        "mtu": lambda: interface.mtu,
        "netdev_group": lambda: 0,
        "operstate": lambda: operational_state(interface),
        "speed": lambda: _linked(interface, device).speed_mbps or -1,
        "testing": lambda: _never(interface),
        "tx_queue_len": lambda: QUEUE_LENGTH,
        "type": lambda: ARPHRD_LOOPBACK if loopback else ARPHRD_ETHER,
        "uevent": lambda: f"INTERFACE={interface.name}\nIFINDEX={interface.index}",
    }


def carrier(interface: Interface) -> int:
    """1 or 0; -1 while the interface is down, when Linux does not say."""
    if not interface.flags & InterfaceFlags.UP:
        return -1
    return int(bool(interface.flags & InterfaceFlags.RUNNING))


def _never(interface: Interface) -> int:
    """A state that no device here is ever in; while the interface is down, Linux does not say. EINVAL."""
    _settled(carrier(interface))
    return 0


def _linked(interface: Interface, device: NetDevice | None) -> NetDevice:
    """The device of an interface that is up and has a link with a speed. EINVAL."""
    if device is None or not device.driver or carrier(interface) < 0:
        raise KernelError(Errno.EINVAL)
    return device


def duplex(device: NetDevice) -> str:
    """In words."""
    return "unknown" if device.full_duplex is None else "full" if device.full_duplex else "half"


def operational_state(interface: Interface) -> str:
    """RFC 2863's, as Linux tells it."""
    if interface.flags & InterfaceFlags.LOOPBACK:
        return "unknown" if interface.flags & InterfaceFlags.UP else "down"
    return "up" if carrier(interface) == 1 else "down"


def _number(text: bytes) -> int:
    try:
        return int(text.strip() or b"x", 0)
    except ValueError:
        raise KernelError(Errno.EINVAL) from None


def _set_flags(interface: Interface, flags: int) -> None:
    interface.set_promiscuous(bool(flags & InterfaceFlags.PROMISC))
    interface.set_up(bool(flags & InterfaceFlags.UP))
