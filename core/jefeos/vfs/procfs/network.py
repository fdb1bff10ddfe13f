"""/proc/net: what `ifconfig`, `netstat`, `arp`, `route` and libraries read (Documentation/filesystems/proc.rst).

Every text is made from the stack's listings when it is read. A kernel that has had no use for its network yet gives the
headings alone, and no stack is made for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from jefeos.net.address import AF_INET, AF_INET6, SocketAddress, multicast_mac, netmask
from jefeos.net.flags import InterfaceFlags
from jefeos.net.socket import TCP_STATE_NUMBERS

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.net.address import Address
    from jefeos.net.stack import Interface, NetworkStack, SocketInfo

TICKS_A_SECOND: Final = 100
_TICK_NS: Final = 1_000_000_000 // TICKS_A_SECOND
_LINK_SCOPE: Final = 2
_ALL_NODES: Final = bytes(13) + b"\1"
"""The group of every node, of either scope, after the first two bytes."""
RTF_UP, RTF_GATEWAY, RTF_HOST = 0x1, 0x2, 0x4
_TIMERS: Final = {"on": 1, "keepalive": 2, "timewait": 3, "persist": 4}
_ARP_STATES: Final = {0x02: 2, 0x04: 2, 0x08: 2, 0x10: 2, 0x80: 6}
_DEVICE_HEADING: Final = (
    b"Inter-|   Receive                                                |  Transmit\n"
    b" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier "
    b"compressed\n"
)
_ROUTE_HEADING: Final = (
    b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT".ljust(127) + b"\n"
)
_ARP_HEADING: Final = b"IP address       HW type     Flags       HW address            Mask     Device\n"
_TCP_HEADING: Final = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)
_TCP6_HEADING: Final = (
    "  sl  local_address                         remote_address                        st tx_queue rx_queue "
    "tr tm->when retrnsmt   uid  timeout inode"
)


class NetworkText:
    """Makes the texts."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def files(self) -> dict[bytes, Callable[[], bytes]]:
        """What is in the directory."""
        return {
            b"arp": self.arp,
            b"dev": self.devices,
            b"dev_mcast": self.device_groups,
            b"if_inet6": self.addresses6,
            b"icmp": lambda: self._sockets("ping", AF_INET),
            b"icmp6": lambda: self._sockets("ping", AF_INET6),
            b"igmp": self.groups4,
            b"igmp6": self.groups6,
            b"ipv6_route": self.routes6,
            b"packet": self.packets,
            b"raw": lambda: self._sockets("raw", AF_INET),
            b"raw6": lambda: self._sockets("raw", AF_INET6),
            b"route": self.routes,
            b"netstat": self.more_counters,
            b"snmp": self.counters,
            b"snmp6": self.counters6,
            b"sockstat": self.socket_counts,
            b"sockstat6": self.socket_counts6,
            b"tcp": lambda: self._sockets("tcp", AF_INET),
            b"tcp6": lambda: self._sockets("tcp", AF_INET6),
            b"udp": lambda: self._sockets("udp", AF_INET),
            b"udp6": lambda: self._sockets("udp", AF_INET6),
            b"unix": self.local_sockets,
        }

    def _stack(self) -> NetworkStack | None:
        net = self.kernel.net
        return net.stack if net.in_use else None

    # --- interfaces, routes, neighbours --------------------------------------------------------------------

    def devices(self) -> bytes:
        """/proc/net/dev."""
        lines = [_DEVICE_HEADING]
        stack = self._stack()
        for interface in stack.interfaces() if stack is not None else ():
            s = interface.statistics
            lines.append(
                b"%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n" % (
                    interface.name.encode(), s.rx_bytes, s.rx_packets, s.rx_errors, s.rx_dropped, s.rx_fifo_errors,
                    s.rx_frame_errors, 0, s.multicast, s.tx_bytes, s.tx_packets, s.tx_errors, s.tx_dropped, 0, 0, 0, 0,
                )
            )  # fmt: skip
        return b"".join(lines)

    def routes(self) -> bytes:
        """/proc/net/route: addresses as the little-endian words that they are in memory."""
        lines = [_ROUTE_HEADING]
        stack = self._stack()
        for route in stack.routes() if stack is not None else ():
            if len(route.destination) != 4:
                continue
            flags = RTF_UP | (RTF_GATEWAY if route.gateway else 0) | (RTF_HOST if route.prefix_length == 32 else 0)
            line = b"%s\t%08X\t%08X\t%04X\t0\t0\t%d\t%08X\t%d\t0\t0" % (
                stack.interface(route.interface).name.encode(),  # type: ignore[union-attr]
                _word(route.destination), _word(route.gateway or bytes(4)), flags, route.metric,
                _word(netmask(route.prefix_length)), route.mtu,
            )  # fmt: skip
            lines.append(line.ljust(127) + b"\n")
        return b"".join(lines)

    def routes6(self) -> bytes:
        """/proc/net/ipv6_route."""
        lines = []
        stack = self._stack()
        for route in stack.routes() if stack is not None else ():
            if len(route.destination) != 16:
                continue
            flags = RTF_UP | (RTF_GATEWAY if route.gateway else 0) | (RTF_HOST if route.prefix_length == 128 else 0)
            lines.append(
                f"{route.destination.hex()} {route.prefix_length:02x} {'0' * 32} 00 "
                f"{(route.gateway or bytes(16)).hex()} {route.metric:08x} {0:08x} {0:08x} {flags:08x} "
                f"{stack.interface(route.interface).name:>8}\n"  # type: ignore[union-attr]
            )
        return "".join(lines).encode()

    def arp(self) -> bytes:
        """/proc/net/arp."""
        lines = [_ARP_HEADING]
        stack = self._stack()
        for neighbour in stack.neighbours() if stack is not None else ():
            if len(neighbour.address) == 4:
                name = stack.interface(neighbour.interface).name  # type: ignore[union-attr]
                host = ".".join(str(byte) for byte in neighbour.address)
                mac = (neighbour.mac or bytes(6)).hex(":")
                flags = _ARP_STATES.get(int(neighbour.state), 0)
                lines.append(f"{host:<16} 0x{1:<10x}0x{flags:<10x}{mac}     *        {name}\n".encode())
        return b"".join(lines)

    def addresses6(self) -> bytes:
        """/proc/net/if_inet6."""
        scopes = {253: 0x20, 254: 0x10}
        lines = []
        stack = self._stack()
        for interface in stack.interfaces() if stack is not None else ():
            for own in interface.addresses:
                if len(own.address) == 16:
                    flags = 0x40 if own.tentative else 0x80 if own.valid_until_ns is None else 0
                    lines.append(
                        f"{own.address.hex()} {interface.index:02x} {own.prefix_length:02x} "
                        f"{scopes.get(own.scope, 0):02x} {flags:02x} {interface.name:>8}\n"
                    )
        return "".join(lines).encode()

    def _groups_of(self, size: int) -> Iterable[tuple[Interface, list[tuple[Address, int]]]]:
        """The multicast groups of each interface that has some, of addresses of ``size`` bytes; the newest first."""
        stack = self._stack()
        for interface in stack.interfaces() if stack is not None else ():
            groups = [(group, users) for group, users in interface.groups.items() if len(group) == size]
            if groups:
                yield interface, groups[::-1]

    def device_groups(self) -> bytes:
        """/proc/net/dev_mcast: what is asked of the filters of cards."""
        stack = self._stack()
        lines = []
        for interface in stack.interfaces() if stack is not None else ():
            if interface.flags & InterfaceFlags.MULTICAST:
                groups = (group for group in interface.groups if len(group) == 4 or _scope(group) >= _LINK_SCOPE)
                lines += [
                    f"{interface.index:<4d} {interface.name:<15} {users:<5d} {0:<5d} {mac.hex()}\n"
                    for mac, users in Counter(map(multicast_mac, groups)).items()
                ]
        return "".join(lines).encode()

    def groups4(self) -> bytes:
        """/proc/net/igmp."""
        lines = ["Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"]
        for interface, groups in self._groups_of(4):
            lines.append(f"{interface.index}\t{interface.name:<10}: {len(groups):5d} {'V3':>7}\n")
            lines += [f"\t\t\t\t{_word(group):08X} {users:5d} 0:{0:08X}\t\t0\n" for group, users in groups]
        return "".join(lines).encode()

    def groups6(self) -> bytes:
        """/proc/net/igmp6. The flags say whether a card's filter has it (4) and that nobody is told of it (8)."""
        return "".join(
            f"{interface.index:<4d} {interface.name:<15} {group.hex()} {users:5d} "
            f"{(4 if _scope(group) >= _LINK_SCOPE else 0) | (8 if group[2:] == _ALL_NODES else 0):08X} 0\n"
            for interface, groups in self._groups_of(16) for group, users in groups
        ).encode()

    # --- sockets -------------------------------------------------------------------------------------------

    def _listed(self, kind: str) -> Iterable[SocketInfo]:
        stack = self._stack()
        return (info for info in stack.sockets() if info.kind == kind) if stack is not None else ()

    def _sockets(self, kind: str, family: int) -> bytes:
        """/proc/net/tcp and those of the same shape."""
        lines = [(_TCP_HEADING if family == AF_INET else _TCP6_HEADING).ljust(149) + "\n"]
        number = 0
        for info in self._listed(kind):
            if info.family != family:
                continue
            uid, inode = info.owner if isinstance(info.owner, tuple) else (0, 0)
            state = TCP_STATE_NUMBERS.get(info.state, 7) if kind == "tcp" else 1 if info.remote is not None else 7
            line = (
                f"{number:4d}: {_end(info.local, family)} {_end(info.remote, family)} {state:02X} "
                f"{info.send_queue:08X}:{info.receive_queue:08X} {_TIMERS.get(info.timer, 0):02X}:"
                f"{max(info.expires_ns, 0) // _TICK_NS:08X} {info.retransmits:08X} {uid:5d} {0:8d} {inode}"
            )
            lines.append(line.ljust(149) + "\n")
            number += 1
        return "".join(lines).encode()

    def local_sockets(self) -> bytes:
        """/proc/net/unix."""
        lines = self.kernel.net.local_sockets
        return b"Num       RefCount Protocol Flags    Type St Inode Path\n" + (lines() if lines is not None else b"")

    def packets(self) -> bytes:
        """/proc/net/packet."""
        lines = ["sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"]
        for info in self._listed("packet"):
            uid, inode = info.owner if isinstance(info.owner, tuple) else (0, 0)
            details = info.details
            lines.append(
                f"{0:016x} 2      {2 if details.get('cooked') else 3:<4d} {details.get('protocol', 0):04x}   "
                f"{details.get('interface', 0):<5d} 1 {info.receive_queue:<6d} {uid:<6d} {inode:<6d}\n"
            )
        return "".join(lines).encode()

    def _counts(self) -> Counter[tuple[str, int]]:
        """Sockets by kind and family; ``timewait`` and ``orphan`` are kinds apart."""
        stack = self._stack()
        counts: Counter[tuple[str, int]] = Counter()
        for info in stack.sockets() if stack is not None else ():
            if info.timer == "timewait":
                counts["timewait", AF_INET] += 1  # of both families, as on Linux
                continue
            counts[info.kind, info.family] += 1
            if info.kind == "tcp" and info.owner is None and info.details.get("shutdown") == 3:
                counts["orphan", AF_INET] += 1
        return counts

    def socket_counts(self) -> bytes:
        """/proc/net/sockstat."""
        counts = self._counts()
        used = sum(count for (kind, _), count in counts.items() if kind not in ("timewait", "orphan"))
        tcp = counts["tcp", AF_INET]
        return (
            f"sockets: used {used}\nTCP: inuse {tcp} orphan {counts['orphan', AF_INET]} "
            f"tw {counts['timewait', AF_INET]} alloc {tcp + counts['tcp', AF_INET6]} mem 0\n"
            f"UDP: inuse {counts['udp', AF_INET]} mem 0\nUDPLITE: inuse {counts['udplite', AF_INET]}\n"
            f"RAW: inuse {counts['raw', AF_INET]}\nFRAG: inuse 0 memory 0\n"
        ).encode()

    def socket_counts6(self) -> bytes:
        """/proc/net/sockstat6."""
        counts = self._counts()
        names = (("TCP6", "tcp"), ("UDP6", "udp"), ("UDPLITE6", "udplite"), ("RAW6", "raw"))
        lines = [f"{name}: inuse {counts[kind, AF_INET6]}\n" for name, kind in names]
        return "".join([*lines, "FRAG6: inuse 0 memory 0\n"]).encode()

    def _groups(self, names: tuple[str, ...]) -> Iterable[tuple[str, Mapping[str, int]]]:
        stack = self._stack()
        counters = stack.counters() if stack is not None else {}
        return ((name, counters[name]) for name in names if counters.get(name))

    def counters(self) -> bytes:
        """/proc/net/snmp: a line of names and a line of values for each group."""
        return _two_lines(self._groups(("Ip", "Icmp", "IcmpMsg", "Tcp", "Udp", "UdpLite")))

    def more_counters(self) -> bytes:
        """/proc/net/netstat, in the same way."""
        return _two_lines(self._groups(("TcpExt", "IpExt")))

    def counters6(self) -> bytes:
        """/proc/net/snmp6: a line for each counter."""
        return "".join(
            f"{group + name:<32}\t{value}\n"
            for group, values in self._groups(("Ip6", "Icmp6", "Udp6", "UdpLite6")) for name, value in values.items()
        ).encode()


def _two_lines(groups: Iterable[tuple[str, Mapping[str, int]]]) -> bytes:
    return "".join(
        f"{group}: {' '.join(values)}\n{group}: {' '.join(str(value) for value in values.values())}\n"
        for group, values in groups
    ).encode()


def _scope(group: Address) -> int:
    """How far a group reaches (RFC 4291, section 2.7)."""
    return group[1] & 0xF


def _word(address: bytes) -> int:
    return int.from_bytes(address, "little")


def _end(end: SocketAddress | None, family: int) -> str:
    """An address as hexadecimal words of the processor's byte order, and a port."""
    size = 4 if family == AF_INET else 16
    address = end.address if end is not None else b""
    if len(address) == 4 and size == 16:
        address = bytes(10) + b"\xff\xff" + address
    address = (address or bytes(size))[-size:]
    words = "".join(f"{_word(address[at : at + 4]):08X}" for at in range(0, size, 4))
    return f"{words}:{end.port if end is not None else 0:04X}"
