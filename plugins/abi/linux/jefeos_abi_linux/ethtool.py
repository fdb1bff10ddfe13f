"""SIOCETHTOOL: what `ethtool` and sniffers ask of a network card (linux/ethtool.h).

    ifreq.ifr_data --> u32 command, and the structure of the command, which is answered in place

Here are questions only: drivers, links, counters, features. Settings cannot be changed by it (EOPNOTSUPP), and neither
can what the hardware does, so every feature is a fixed one. The netlink family of ethtool is not there; `ethtool` falls
back to these requests by itself. The request of Linux 4.5 for link settings is refused, and the older one answered.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import fields
from jefeos.errors import Errno, KernelError
from jefeos.net.device import Features, NetDevice, Statistics
from jefeos.net.flags import InterfaceFlags
from jefeos.net.stack import Interface
from jefeos.structs import Struct, raw, u8, u16, u32

from jefeos_abi_linux.calls_system import RELEASE

if TYPE_CHECKING:
    from jefeos.proc.task import Task

GSET, GDRVINFO, GLINK, GSTRINGS, GSTATS, GPERMADDR = 0x01, 0x03, 0x0A, 0x1B, 0x1D, 0x20
GRXCSUM, GTXCSUM, GSG, GTSO, GGSO, GFLAGS, GGRO = 0x14, 0x16, 0x18, 0x1E, 0x23, 0x25, 0x2B
GSSET_INFO, GFEATURES, GET_TS_INFO = 0x37, 0x3A, 0x41
SS_STATS, SS_FEATURES = 1, 4
STRING_BYTES: Final = 32
SPEED_UNKNOWN, DUPLEX_UNKNOWN = 0xFFFF_FFFF, 0xFF
SUPPORTED_TP: Final = 1 << 7
_TIMESTAMPS_IN_SOFTWARE: Final = 1 << 3 | 1 << 4
"""SOF_TIMESTAMPING_RX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE."""
_CHECKSUM, _TSO, _VERIFIES = Features.TX_CHECKSUM, Features.TSO, Features.RX_CHECKSUM
FEATURES: Final[dict[str, Features]] = {
    "tx-scatter-gather": Features(0), "tx-checksum-ipv4": _CHECKSUM, "tx-checksum-ip-generic": Features(0),
    "tx-checksum-ipv6": _CHECKSUM, "highdma": Features(0), "tx-vlan-hw-insert": Features(0),
    "rx-vlan-hw-parse": Features(0), "rx-vlan-filter": Features(0), "tx-generic-segmentation": Features(0),
    "rx-gro": Features(0), "rx-lro": Features(0), "tx-tcp-segmentation": _TSO, "tx-tcp6-segmentation": _TSO,
    "rx-ntuple-filter": Features(0), "rx-hashing": Features(0), "rx-checksum": _VERIFIES,
}  # fmt: skip
"""Linux's names, and which feature of a device each is; none for what no device here does."""
COUNTERS: Final = tuple(field.name for field in fields(Statistics))


class Settings(Struct):
    """struct ethtool_cmd."""

    command: int = u32()
    supported: int = u32()
    advertising: int = u32()
    speed: int = u16()
    duplex: int = u8()
    port: int = u8()
    phy_address: int = u8()
    transceiver: int = u8()
    autoneg: int = u8()
    mdio_support: int = u8()
    max_tx_packets: int = u32()
    max_rx_packets: int = u32()
    speed_high: int = u16()
    eth_tp_mdix: int = u8()
    eth_tp_mdix_ctrl: int = u8()
    lp_advertising: int = u32()
    reserved: bytes = raw(8)


class DriverInfo(Struct):
    """struct ethtool_drvinfo."""

    command: int = u32()
    driver: bytes = raw(32)
    version: bytes = raw(32)
    fw_version: bytes = raw(32)
    bus_info: bytes = raw(32)
    erom_version: bytes = raw(32)
    reserved: bytes = raw(12)
    n_priv_flags: int = u32()
    n_stats: int = u32()
    testinfo_len: int = u32()
    eedump_len: int = u32()
    regdump_len: int = u32()


def ethtool_request(task: Task, interface: Interface, address: int) -> int:
    """Answer the request at ``address``. EOPNOTSUPP, EFAULT."""
    command = task.mm.read_u32(address)
    handler = _HANDLERS.get(command)
    if handler is None:
        raise KernelError(Errno.EOPNOTSUPP)
    task.mm.write(address, handler(task, interface, address))
    return 0


def _card(interface: Interface) -> NetDevice:
    """The hardware of an interface. EOPNOTSUPP."""
    device = interface.device
    if device is None or not device.driver:
        raise KernelError(Errno.EOPNOTSUPP)
    return device


def _settings(task: Task, interface: Interface, address: int) -> bytes:
    card = _card(interface)
    speed = card.speed_mbps or SPEED_UNKNOWN
    return Settings(
        command=GSET, supported=SUPPORTED_TP, advertising=SUPPORTED_TP, speed=speed & 0xFFFF, speed_high=speed >> 16,
        duplex=DUPLEX_UNKNOWN if card.full_duplex is None else int(card.full_duplex),
    ).pack()


def _driver_info(task: Task, interface: Interface, address: int) -> bytes:
    card = _card(interface)
    return DriverInfo(
        command=GDRVINFO, driver=card.driver.encode(), version=RELEASE, bus_info=card.location.encode(),
        n_stats=len(COUNTERS),
    ).pack()


def _link(task: Task, interface: Interface, address: int) -> bytes:
    up = InterfaceFlags.UP | InterfaceFlags.RUNNING
    return struct.pack("<II", GLINK, int(interface.flags & up == up))


def _names_of(interface: Interface, which: int) -> tuple[str, ...]:
    """The strings of a set. EOPNOTSUPP for one that there is not."""
    if which == SS_FEATURES:
        return tuple(FEATURES)
    if which == SS_STATS and interface.device is not None and interface.device.driver:
        return COUNTERS
    raise KernelError(Errno.EOPNOTSUPP)


def _strings(task: Task, interface: Interface, address: int) -> bytes:
    """struct ethtool_gstrings: set, number, and 32 bytes for each."""
    which = task.mm.read_u32(address + 4)
    names = _names_of(interface, which)
    return struct.pack("<III", GSTRINGS, which, len(names)) + b"".join(
        name.encode().ljust(STRING_BYTES, b"\0") for name in names
    )


def _set_sizes(task: Task, interface: Interface, address: int) -> bytes:
    """struct ethtool_sset_info: a mask of sets, and how many strings each has that there is."""
    asked = int.from_bytes(task.mm.read(address + 8, 8), "little")
    there, counts = 0, []
    for which in range(64):
        if asked & 1 << which:
            try:
                counts.append(len(_names_of(interface, which)))
            except KernelError:
                continue
            there |= 1 << which
    return struct.pack(f"<IIQ{len(counts)}I", GSSET_INFO, 0, there, *counts)


def _statistics(task: Task, interface: Interface, address: int) -> bytes:
    """struct ethtool_stats, as many as the program has room for."""
    _card(interface)
    room = task.mm.read_u32(address + 4)
    values = [getattr(interface.statistics, name) for name in COUNTERS][:room]
    return struct.pack(f"<II{len(values)}Q", GSTATS, len(values), *values)


def _features(task: Task, interface: Interface, address: int) -> bytes:
    """struct ethtool_gfeatures: words of available, requested, active and never changed bits, 32 features each."""
    room = task.mm.read_u32(address + 4)
    device = interface.device
    has = device.features if device is not None else Features(0)
    active = sum(1 << bit for bit, feature in enumerate(FEATURES.values()) if feature & has)
    block = struct.pack("<4I", 0, active, active, (1 << len(FEATURES)) - 1)
    return struct.pack("<II", GFEATURES, 1) + (block if room else b"")


def _one_feature(command: int, feature: Features) -> Callable[[Task, Interface, int], bytes]:
    """struct ethtool_value, as features were asked for one by one."""

    def answer(task: Task, interface: Interface, address: int) -> bytes:
        device = interface.device
        return struct.pack("<II", command, int(device is not None and bool(device.features & feature)))

    return answer


def _permanent_address(task: Task, interface: Interface, address: int) -> bytes:
    """struct ethtool_perm_addr. EINVAL for too little room, as Linux says it."""
    if task.mm.read_u32(address + 4) < len(interface.mac):
        raise KernelError(Errno.EINVAL)
    return struct.pack("<II", GPERMADDR, len(interface.mac)) + interface.mac


def _timestamps(task: Task, interface: Interface, address: int) -> bytes:
    """struct ethtool_ts_info: packets are stamped when the kernel takes them in."""
    return struct.pack("<IIi", GET_TS_INFO, _TIMESTAMPS_IN_SOFTWARE, -1) + bytes(32)


_HANDLERS: Final[dict[int, Callable[[Task, Interface, int], bytes]]] = {
    GSET: _settings, GDRVINFO: _driver_info, GLINK: _link, GSTRINGS: _strings, GSSET_INFO: _set_sizes,
    GSTATS: _statistics, GFEATURES: _features, GPERMADDR: _permanent_address, GET_TS_INFO: _timestamps,
    **{
        command: _one_feature(command, feature)
        for command, feature in (
            (GRXCSUM, _VERIFIES), (GTXCSUM, _CHECKSUM), (GTSO, _TSO), (GSG, Features(0)), (GGSO, Features(0)),
            (GGRO, Features(0)), (GFLAGS, Features(0)),
        )
    },
}  # fmt: skip
