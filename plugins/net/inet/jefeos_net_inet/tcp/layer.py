"""TCP as a whole: the table of connections, demultiplexing, listeners, resets for nobody, counters, timers.

    IP --segment_arrived, icmp_error, writable--> TcpLayer --Network.send, path, schedule--> IP
    sockets --open--> TcpSocket                      |
                                        table: (local, remote, local port, remote port) -->
                                            Connection | HalfOpen | TimeWait | Pending   (each has ``arrive``)

One dictionary holds everything that a segment can be for, so that its cost is the same with ten connections and with
ten thousand. The layer does no I/O and waits for nothing: time and packets come in by its methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jefeos.errors import Errno, KernelError

from jefeos_net_inet.tcp import arrival
from jefeos_net_inet.tcp.connection import IP_HEADER_BYTES, SMALLEST_MSS, Connection
from jefeos_net_inet.tcp.info import connection_info, record_info, socket_info
from jefeos_net_inet.tcp.listener import HalfOpen
from jefeos_net_inet.tcp.network import is_link_local
from jefeos_net_inet.tcp.pending import MOST_PENDING, Pending
from jefeos_net_inet.tcp.ports import Ports
from jefeos_net_inet.tcp.secrets import KEY_BYTES, Secrets
from jefeos_net_inet.tcp.sequence import MASK
from jefeos_net_inet.tcp.socket import TcpSocket
from jefeos_net_inet.tcp.states import Event, State
from jefeos_net_inet.tcp.timers import Timers
from jefeos_net_inet.tcp.timewait import TimeWait
from jefeos_net_inet.tcp.tuning import LARGEST_WINDOW_SCALE, SocketOptions, default_settings
from jefeos_net_inet.tcp.wire import ACK, FIN, HEADER_BYTES, RST, SYN, Segment, emit, parse, verify

if TYPE_CHECKING:
    from jefeos.net.address import Address
    from jefeos.net.stack import Interceptor, SocketInfo

    from jefeos_net_inet.tcp.ecn import Ecn
    from jefeos_net_inet.tcp.network import Network, Path
    from jefeos_net_inet.tcp.options import Options

Key: TypeAlias = "tuple[Address, Address, int, int]"
"""Local address, remote address, local port, remote port."""
MOST_SOCKETS: Final = 65_536
ANSWERS_A_SECOND: Final = 1000
"""Resets and acknowledgments to those whom no connection of ours speaks to."""
LARGEST_PACKET_BYTES: Final = 65_535
"""Of IP; the MTU of lo is one more."""
_DEFAULT_OPTIONS: Final = SocketOptions()


class TcpLayer:
    """See the module's text."""

    def __init__(self, network: Network, settings: dict[str, Any] | None = None) -> None:
        self.network = network
        self.settings: dict[str, Any] = settings if settings is not None else {}
        """By sysctl's names; may be changed at any time."""
        for name, value in default_settings().items():
            self.settings.setdefault(name, value)
        self.secrets = Secrets(network.random(KEY_BYTES))
        self.timers = Timers(network.schedule)
        self.ports = Ports(network.random, self.setting)
        self.table: dict[Key, Any] = {}
        self.listeners: dict[tuple[Address, int], list[TcpSocket]] = {}
        self.sockets_open = 0
        self.pending = 0
        self.orphans = 0
        self.time_waits = 0
        self.blocked: dict[Connection, None] = {}
        """Connections whose last segment the device had no room for."""
        self.counters: Counter[str] = Counter()
        self.segments_in = 0
        self.segments_out = 0
        self.predicted = 0
        """Segments that came the short way (express.py)."""
        self._answers_since_ns = 0
        self._answers = 0

    # --- settings and counts ----------------------------------------------------------------------------------

    def setting(self, name: str) -> Any:
        """A sysctl by its name without ``net.ipv4.``."""
        return self.settings["net.core.somaxconn" if name == "somaxconn" else "net.ipv4." + name]

    def count(self, name: str) -> None:
        """Add one to a counter (names of /proc/net/snmp and /proc/net/netstat)."""
        self.counters[name] += 1

    @property
    def largest_send_buffer(self) -> int:
        """By auto-tuning."""
        return int(self.settings["net.ipv4.tcp_wmem"][2])

    @property
    def largest_receive_buffer(self) -> int:
        """By auto-tuning."""
        return int(self.settings["net.ipv4.tcp_rmem"][2])

    def window_scale(self, options: SocketOptions) -> int:
        """The shift that lets the largest window that a socket may ever have fit."""
        largest = options.so_rcvbuf
        if not options.fixed_receive_buffer and self.settings["net.ipv4.tcp_moderate_rcvbuf"]:
            largest = max(largest, self.largest_receive_buffer)
        shift = 0
        while 0xFFFF << shift < largest // 2 and shift < LARGEST_WINDOW_SCALE:
            shift += 1
        return shift

    def mss_for(self, path: Path, address_bytes: int, options: SocketOptions) -> int:
        """What our SYN offers on a path."""
        mss = min(path.mtu, LARGEST_PACKET_BYTES) - IP_HEADER_BYTES[address_bytes] - HEADER_BYTES
        if options.tcp_maxseg:
            mss = min(mss, options.tcp_maxseg)
        return max(min(mss, 0xFFFF), SMALLEST_MSS)

    # --- the table --------------------------------------------------------------------------------------------

    def enter(self, key: Key, thing: Any) -> None:
        """A connection or a record for one."""
        self.table[key] = thing
        self.ports.connections_came(key[2], 1)

    def remove(self, key: Key) -> None:
        """It is gone, and so is its timer."""
        thing = self.table.pop(key, None)
        if thing is not None:
            self.ports.connections_came(key[2], -1)
            self.timers.cancel(thing)
            if thing.state is State.TIME_WAIT:
                self.time_waits -= 1

    def forget(self, connection: Connection) -> None:
        """A connection ended."""
        self.timers.cancel(connection)
        self.blocked.pop(connection, None)
        if self.table.get(connection.key) is connection:
            self.remove(connection.key)
        if connection.orphan:
            connection.orphan = False
            self.orphans -= 1

    def adopt_orphan(self, connection: Connection) -> bool:
        """A connection lost its user and goes on alone. False: there are too many of these."""
        if self.orphans >= self.settings["net.ipv4.tcp_max_orphans"]:
            self.count("TCPAbortOnMemory")
            return False
        connection.orphan = True
        self.orphans += 1
        return True

    def end_in_time_wait(self, connection: Connection, now_ns: int) -> None:
        """A connection ended in order: a small record takes its place."""
        if self.time_waits < self.settings["net.ipv4.tcp_max_tw_buckets"]:
            record = TimeWait(connection, now_ns)
            connection.finish()
            self.enter(connection.key, record)
            self.time_waits += 1
            self.count("TW")
        else:
            self.count("TCPTimeWaitOverflow")
            connection.finish()

    def connection_established(self, connection: Connection) -> None:
        """A handshake is complete."""
        self.count("PassiveOpens" if connection.passive else "ActiveOpens")

    def passive(
        self,
        key: Key,
        path: Path,
        options: SocketOptions,
        initial: int,
        peer_initial: int,
        window: int,
        theirs: Options,
        ecn: Ecn | None = None,
    ) -> Connection:
        """A connection in SYN-RECEIVED, entered in the table."""
        local, remote, local_port, remote_port = key
        connection = Connection(self, (local, local_port), (remote, remote_port), path, options, initial)
        connection.passive = True
        connection.step(Event.PASSIVE_OPEN)
        connection.ecn = ecn
        arrival.agree(connection, peer_initial, window, theirs, theirs.stamp)
        self.enter(key, connection)
        return connection

    # --- from below -------------------------------------------------------------------------------------------

    def segment_arrived(
        self,
        source: Address,
        destination: Address,
        data: bytes | memoryview,
        now_ns: int,
        checksum_good: bool = False,
        interface: int = 0,
        interceptor: Interceptor | None = None,
        congested: bool = False,
    ) -> None:
        """A segment from the network; ``data`` is header and payload and must not change afterwards. HOT.

        ``checksum_good``: the device has looked at it. With an ``interceptor`` the destination is not ours, and a SYN
        that no connection knows is given to it. ``congested``: a router has marked the packet.
        """
        self.segments_in += 1
        segment = parse(data)
        if segment is None:
            self.counters["InErrs"] += 1
            return
        if not checksum_good and not verify(source, destination, data):
            self.counters["InErrs"] += 1
            self.counters["InCsumErrors"] += 1
            return
        key = (destination, source, segment.destination_port, segment.source_port)
        thing = self.table.get(key)
        if thing is not None:
            if congested:
                segment = segment._replace(congested=True)
            if type(thing) is not TimeWait or not thing.allows(segment):
                thing.arrive(segment, now_ns)
                return
            # A new connection in place of one that is over, if somebody is there to take it.
            if self._listener(key, interface) is None and interceptor is None:
                thing.arrive(segment, now_ns)
                return
            self.remove(key)
            self._for_nobody(key, segment, data, now_ns, interface, interceptor, thing.send_next)
            return
        self._for_nobody(key, segment, data, now_ns, interface, interceptor, None)

    def _for_nobody(
        self,
        key: Key,
        segment: Segment,
        data: bytes | memoryview,
        now_ns: int,
        interface: int,
        interceptor: Interceptor | None,
        least_sequence: int | None,
    ) -> None:
        """A segment of no connection: RFC 9293, sections 3.10.7.1 and 3.10.7.2."""
        flags = segment.flags
        if interceptor is not None:
            if flags & (SYN | ACK | RST | FIN) == SYN:
                if self.pending < MOST_PENDING:
                    interceptor.stream(Pending(self, key, segment, bytes(data), now_ns, interface))
                return
            self.reset_for(key[0], key[1], segment)
            return
        socket = self._listener(key, interface)
        link = interface if is_link_local(key[1]) else 0
        if socket is not None and socket.listener is not None and not flags & RST:
            if flags & (SYN | ACK | FIN) == SYN:
                socket.listener.syn(key, segment, now_ns, least_sequence, link)
                return
            if flags & (SYN | ACK) == ACK and socket.listener.cookie(key, segment, now_ns, link):
                return
            if not flags & (ACK | SYN):
                return
        if not flags & RST:
            self.reset_for(key[0], key[1], segment, link)

    def _listener(self, key: Key, interface: int) -> TcpSocket | None:
        local, remote, local_port, remote_port = key
        for address in (local, bytes(len(local)), b""):
            group = self.listeners.get((address, local_port))
            if group:
                usable = [one for one in group if one.options.interface in (0, interface)]
                if len(usable) > 1:  # SO_REUSEPORT: the same peer always gets the same of them
                    return usable[(int.from_bytes(remote, "big") * 31 + remote_port) % len(usable)]
                if usable:
                    return usable[0]
        return None

    def may_answer(self, now_ns: int) -> bool:
        """Answers to strangers are limited, so that nobody can use us to flood somebody else."""
        if now_ns - self._answers_since_ns >= 1_000_000_000:
            self._answers_since_ns = now_ns
            self._answers = 0
        self._answers += 1
        return self._answers <= ANSWERS_A_SECOND

    def reset_for(self, local: Address, remote: Address, segment: Segment, interface: int = 0) -> None:
        """Answer a segment that belongs to nothing with RST (RFC 9293, section 3.10.7.1)."""
        if segment.flags & RST:
            return
        self.count("OutRsts")
        if segment.flags & ACK:
            sequence, ack, flags = segment.acknowledgment, 0, RST
        else:
            length = len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
            sequence, ack, flags = 0, (segment.sequence + length) & MASK, RST | ACK
        header = emit(segment.destination_port, segment.source_port, sequence, ack, flags, 0)
        self.send(local, remote, header, interface=interface)

    def send(
        self,
        local: Address,
        remote: Address,
        header: bytes,
        options: SocketOptions = _DEFAULT_OPTIONS,
        interface: int = 0,
    ) -> None:
        """A segment without data, of no connection."""
        self.segments_out += 1
        if len(local) == 4:
            hop_limit, traffic_class = options.ip_ttl, options.ip_tos
        else:
            hop_limit, traffic_class = options.ipv6_unicast_hops, options.ipv6_tclass
        interface = interface or options.interface
        self.network.send(local, remote, header, b"", 0, max(hop_limit, 0), max(traffic_class, 0), interface)

    def icmp_error(
        self,
        local: Address,
        remote: Address,
        local_port: int,
        remote_port: int,
        sequence: int,
        errno: int,
        hard: bool,
        now_ns: int,
        mtu: int = 0,
    ) -> None:
        """An ICMP error that quotes a segment of ours. ``mtu``: "too big"; the path has been told already.

        Quotes of what is not under way are not believed (RFC 5927, section 4.1).
        """
        thing = self.table.get((local, remote, local_port, remote_port))
        if isinstance(thing, Connection):
            sender = thing.sender
            if (sequence - sender.una) & MASK > sender.limit - sender.una:
                self.count("OutOfWindowIcmps")
            elif mtu:
                before = sender.segment_bytes
                thing.path_changed()
                if sender.nxt > sender.una and sender.segment_bytes < before:
                    sender.send_again(sender.una, sender.nxt, now_ns)
            else:
                thing.icmp(errno, hard, now_ns)
        elif isinstance(thing, HalfOpen) and sequence == thing.initial:
            thing.icmp(errno, hard, now_ns)

    def writable(self, now_ns: int) -> None:
        """The device has room again."""
        blocked, self.blocked = self.blocked, {}
        for connection in blocked:
            if not connection.is_over and connection.state not in (State.SYN_SENT, State.SYN_RECEIVED):
                connection.sender.transmit(now_ns)

    def run_timers(self, now_ns: int) -> None:
        """The time that `Network.schedule` asked for."""
        self.timers.run(now_ns)

    # --- from above -------------------------------------------------------------------------------------------

    def open(self, family: int) -> TcpSocket:
        """A new socket. ENOBUFS at the limit."""
        if self.sockets_open >= MOST_SOCKETS:
            raise KernelError(Errno.ENOBUFS)
        return TcpSocket(self, family)

    def infos(self) -> Iterator[SocketInfo]:
        """Everything there is: listeners, connections, handshakes, TIME-WAIT."""
        now_ns = self.network.now_ns()
        for group in self.listeners.values():
            for socket in group:
                yield socket_info(socket)
        for thing in list(self.table.values()):
            yield connection_info(thing, now_ns) if isinstance(thing, Connection) else record_info(thing, now_ns)

    def statistics(self) -> dict[str, dict[str, int]]:
        """MIB counters as /proc/net/snmp (``Tcp``) and /proc/net/netstat (``TcpExt``) have them."""
        counters = dict(self.counters)
        current = sum(
            isinstance(thing, Connection) and thing.state in (State.ESTABLISHED, State.CLOSE_WAIT)
            for thing in self.table.values()
        )
        base = {
            "RtoAlgorithm": 1,
            "RtoMin": 200,
            "RtoMax": 120_000,
            "MaxConn": -1,
            **{name: counters.pop(name, 0) for name in ("ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets")},
            "CurrEstab": current,
            "InSegs": self.segments_in,
            "OutSegs": self.segments_out,
            **{name: counters.pop(name, 0) for name in ("RetransSegs", "InErrs", "OutRsts", "InCsumErrors")},
        }
        return {"Tcp": base, "TcpExt": {"TCPHPHits": self.predicted, **counters}}

    def close(self) -> None:
        """Abort everything."""
        for group in list(self.listeners.values()):
            for socket in list(group):
                socket.close()
        for key, thing in list(self.table.items()):
            if isinstance(thing, Connection):
                thing.abort(self.network.now_ns())
            self.remove(key)
        self.blocked.clear()
