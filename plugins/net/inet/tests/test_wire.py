"""Wire formats: bytes that scapy makes are read and written alike, and cut-off ones are refused, at every length."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.errors import CorruptError
from jefeos.net.address import ANY6, multicast_mac, parse_address
from jefeos.net.stack import RouterAdvertisement
from jefeos_net_inet.wire import arp, ethernet, icmp, icmpv6, igmp, ipv4, ipv6, ndp, udp
from scapy.layers import inet, inet6, l2
from scapy.packet import Raw

logging.getLogger("scapy").setLevel(logging.ERROR)

A4, B4 = parse_address("10.1.2.3"), parse_address("192.168.254.7")
A6, B6 = parse_address("fe80::5054:ff:fe12:3456"), parse_address("2001:db8::7")
MAC = bytes.fromhex("525400123456")
MAC_TEXT = "52:54:00:12:34:56"
PAYLOADS = (b"", b"x", b"hello, world", bytes(range(256)) * 4, b"\xff" * 77)


def test_ethernet() -> None:
    theirs = bytes(l2.Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC_TEXT, type=0x0806))
    assert ethernet.emit(ethernet.BROADCAST_MAC, MAC, ethernet.EtherType.ARP) == theirs
    tagged = bytes(l2.Ether(dst=MAC_TEXT, src=MAC_TEXT) / l2.Dot1Q(vlan=5, prio=3, type=0x0800))
    information, ether_type = ethernet.TAG.unpack_from(tagged, ethernet.HEADER_BYTES)
    assert (information & ethernet.VLAN_MASK, ether_type) == (5, ethernet.EtherType.IPV4)
    assert multicast_mac(parse_address("239.129.2.3")) == bytes.fromhex("01005e010203")
    assert multicast_mac(B6[:0] + parse_address("ff02::1:ff12:3456")) == bytes.fromhex(
        "3333ff123456"
    )


@pytest.mark.parametrize("operation", [1, 2])
def test_arp(operation: int) -> None:
    theirs = bytes(l2.ARP(
        op=operation, hwsrc=MAC_TEXT, psrc="10.1.2.3", hwdst="00:00:00:00:00:00", pdst="192.168.254.7"
    ))  # fmt: skip
    packet = arp.ArpPacket(operation, MAC, A4, bytes(6), B4)
    assert arp.emit(packet) == theirs and arp.parse(theirs + b"padding") == packet
    for changed in (0, 1, 2, 3, 4, 5):  # other hardware, other protocols
        wrong = bytearray(theirs)
        wrong[changed] ^= 0x40
        with pytest.raises(CorruptError):
            arp.parse(bytes(wrong))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_ipv4(payload: bytes) -> None:
    theirs = bytes(
        inet.IP(src="10.1.2.3", dst="192.168.254.7", tos=0x28, id=777, ttl=9, proto=200, flags="DF") / payload
    )
    ours = ipv4.emit(len(payload), 0x28, 777, ipv4.DONT_FRAGMENT, 9, 200, A4, B4)
    assert ours + payload == theirs
    header = ipv4.parse(theirs + b"trailer")
    assert header == (20, 0x28, 20 + len(payload), 777, ipv4.DONT_FRAGMENT, 9, 200, A4, B4)
    alert = bytes(
        inet.IP(
            src="10.1.2.3", dst="224.0.0.22", ttl=1, proto=2, id=0, options=[inet.IPOption_Router_Alert()]
        )
    )
    assert ipv4.emit(0, 0, 0, 0, 1, 2, A4, parse_address("224.0.0.22"), ipv4.ROUTER_ALERT) == alert
    assert not ipv4.is_source_routed(ipv4.ROUTER_ALERT)
    loose = bytes(inet.IP(options=[inet.IPOption_LSRR(routers=["1.2.3.4"])]))[20:]
    assert ipv4.is_source_routed(loose)
    for bit in range(len(theirs[:20]) * 8):
        wrong = bytearray(theirs)
        wrong[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(CorruptError):
            ipv4.parse(bytes(wrong))


def test_ipv6_and_its_extensions() -> None:
    theirs = bytes(
        inet6.IPv6(src="fe80::5054:ff:fe12:3456", dst="2001:db8::7", tc=0x28, fl=0x12345, nh=59, hlim=3)
        / b"abc"
    )
    assert ipv6.emit(3, 0x28, 0x12345, 3, 59, A6, B6) + b"abc" == theirs
    assert ipv6.parse(theirs) == (0x28, 0x12345, 3, 59, 3, A6, B6)
    chained = bytes(
        inet6.IPv6(dst="::1") / inet6.IPv6ExtHdrHopByHop(options=[inet6.RouterAlert(value=0)])
        / inet6.IPv6ExtHdrDestOpt(options=[inet6.PadN(optdata=b"\0" * 9)]) / inet6.IPv6ExtHdrRouting(segleft=0)
        / inet6.IPv6ExtHdrFragment(offset=5, m=1, id=99, nh=17) / Raw(b"piece of UDP.")
    )  # fmt: skip
    chain = ipv6.walk(chained, ipv6.parse(chained).next_header)
    assert (chain.protocol, chain.fragment, chained[chain.offset :]) == (17, (40, True, 99), b"piece of UDP.")
    for length in range(40, chain.offset):
        with pytest.raises(CorruptError):
            ipv6.walk(chained[:length], 0)
    late = bytes(inet6.IPv6(dst="::1") / inet6.IPv6ExtHdrDestOpt() / inet6.IPv6ExtHdrHopByHop())
    with pytest.raises(ipv6.ParameterProblem) as caught:
        ipv6.walk(late, 60)
    assert (caught.value.code, caught.value.pointer) == (1, 40)
    routed = bytes(inet6.IPv6(dst="::1") / inet6.IPv6ExtHdrRouting(segleft=1, addresses=["::2"]))
    with pytest.raises(ipv6.ParameterProblem) as caught:
        ipv6.walk(routed, 43)
    assert (caught.value.code, caught.value.pointer) == (0, 42)
    unknown = bytes(
        inet6.IPv6(dst="::1")
        / inet6.IPv6ExtHdrDestOpt(options=[inet6.HBHOptUnknown(otype=0x8A, optdata=b"")])
    )
    with pytest.raises(ipv6.ParameterProblem) as caught:
        ipv6.walk(unknown, 60)
    assert (caught.value.code, caught.value.pointer) == (2, 42)
    endless = ipv6.emit(800, 0, 0, 64, 60, A6, B6) + bytes((60, 0, 1, 4, 0, 0, 0, 0)) * 100
    with pytest.raises(CorruptError, match="too many"):
        ipv6.walk(endless, 60)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_udp(payload: bytes) -> None:
    for over, source, destination in (
        (inet.IP(src="10.1.2.3", dst="192.168.254.7"), A4, B4),
        (inet6.IPv6(src="fe80::5054:ff:fe12:3456", dst="2001:db8::7"), A6, B6),
    ):
        theirs = bytes(over / inet.UDP(sport=1234, dport=53) / payload)[len(over) :]
        assert udp.emit(source, destination, 1234, 53, payload) + payload == theirs
        header = udp.parse(memoryview(theirs))
        assert header[:3] == (1234, 53, 8 + len(payload))
        assert udp.verify(memoryview(theirs), header, source, destination)
        for bit in range(0, len(theirs) * 8, 7):
            wrong = bytearray(theirs)
            wrong[bit >> 3] ^= 1 << (bit & 7)
            try:
                header = udp.parse(memoryview(wrong))
            except CorruptError:
                continue
            assert not udp.verify(memoryview(wrong), header, source, destination) or not header.checksum


@pytest.mark.parametrize("payload", PAYLOADS)
def test_icmp(payload: bytes) -> None:
    cases: list[tuple[Any, icmp.IcmpMessage]] = [
        (inet.ICMP(type=8, id=0x1234, seq=7), icmp.IcmpMessage(8, 0, 0x1234_0007, payload)),
        (inet.ICMP(type=0, id=1, seq=0xFFFF), icmp.IcmpMessage(0, 0, 0x1_FFFF, payload)),
        (inet.ICMP(type=3, code=4, nexthopmtu=1300), icmp.IcmpMessage(3, 4, 1300, payload)),
        (inet.ICMP(type=11, code=1), icmp.IcmpMessage(11, 1, 0, payload)),
        (inet.ICMP(type=12, code=0, ptr=20), icmp.IcmpMessage(12, 0, 20 << 24, payload)),
    ]
    for theirs, message in cases:
        whole = bytes(theirs / Raw(payload))
        assert icmp.emit(message) == whole
        parsed = icmp.parse(memoryview(whole))
        assert parsed._replace(data=bytes(parsed.data)) == message


def icmp6(message: Any) -> bytes:
    """The bytes behind the IPv6 header."""
    return bytes(inet6.IPv6(src="fe80::5054:ff:fe12:3456", dst="2001:db8::7", hlim=255) / message)[40:]


def test_icmpv6_and_neighbour_discovery() -> None:
    def same(ours: icmp.IcmpMessage, theirs: Any) -> icmp.IcmpMessage:
        whole = icmp6(theirs)
        assert icmpv6.emit(ours, A6, B6) == whole
        parsed = icmpv6.parse(memoryview(whole), A6, B6)
        assert parsed._replace(data=bytes(parsed.data)) == ours
        return parsed

    same(icmp.IcmpMessage(128, 0, 0x0005_0006, b"data"), inet6.ICMPv6EchoRequest(id=5, seq=6, data=b"data"))
    same(icmp.IcmpMessage(2, 0, 1280, b"quoted.."), inet6.ICMPv6PacketTooBig(mtu=1280) / Raw(b"quoted.."))
    same(icmp.IcmpMessage(1, 4, 0, b""), inet6.ICMPv6DestUnreach(code=4))
    asked = same(
        ndp.solicitation(B6, MAC),
        inet6.ICMPv6ND_NS(tgt="2001:db8::7") / inet6.ICMPv6NDOptSrcLLAddr(lladdr=MAC_TEXT),
    )
    assert ndp.parse_neighbour(asked) == (0, B6, MAC)
    flags = ndp.AdvertisementFlag.SOLICITED | ndp.AdvertisementFlag.OVERRIDE
    told = same(
        ndp.advertisement(B6, MAC, flags),
        inet6.ICMPv6ND_NA(tgt="2001:db8::7", R=0, S=1, O=1) / inet6.ICMPv6NDOptDstLLAddr(lladdr=MAC_TEXT),
    )
    assert ndp.parse_neighbour(told) == (flags, B6, MAC)
    same(ndp.router_solicitation(MAC), inet6.ICMPv6ND_RS() / inet6.ICMPv6NDOptSrcLLAddr(lladdr=MAC_TEXT))
    advertised = icmp6(
        inet6.ICMPv6ND_RA(chlim=63, routerlifetime=1800, reachabletime=30_000, retranstimer=1000, M=1, prf=0)
        / inet6.ICMPv6NDOptSrcLLAddr(lladdr=MAC_TEXT) / inet6.ICMPv6NDOptMTU(mtu=1400)
        / inet6.ICMPv6NDOptPrefixInfo(
            prefixlen=64, L=1, A=1, validlifetime=100, preferredlifetime=50, prefix="fd00:1::"
        )
        / inet6.ICMPv6NDOptRDNSS(dns=["fd00:1::53", "fe80::53"], lifetime=70)
        / inet6.ICMPv6NDOptRDNSS(dns=["fd00:1::54"], lifetime=0)
    )  # fmt: skip
    router = ndp.parse_router(icmpv6.parse(memoryview(advertised), A6, B6))
    assert router[:7] == (63, 0x80, 1800, 30_000, 1000, MAC, 1400)
    assert router.prefixes == (ndp.Prefix(64, 0xC0, 100, 50, parse_address("fd00:1::")),)
    assert router.name_servers == tuple(
        ndp.NameServer(parse_address(text), lifetime_s)
        for text, lifetime_s in (("fd00:1::53", 70), ("fe80::53", 70), ("fd00:1::54", 0))
    )
    solicited = icmp6(inet6.ICMPv6ND_RS() / inet6.ICMPv6NDOptSrcLLAddr(lladdr=MAC_TEXT))
    asked = icmpv6.parse(memoryview(solicited), A6, B6)
    assert ndp.parse_router_solicitation(asked, A6) == MAC
    for wrong, source in ((asked, ANY6), (asked._replace(code=1), A6), (asked._replace(data=asked.data[:7]), A6)):
        with pytest.raises(CorruptError):
            ndp.parse_router_solicitation(wrong, source)
    servers = ("fd00:1::3", "fd00:1::4")
    same(
        ndp.router_advertisement(
            RouterAdvertisement(
                parse_address("fd00:1::"), router_lifetime_s=1800, valid_s=100, preferred_s=50,
                name_servers=tuple(parse_address(server) for server in servers),
            ),
            MAC,
        ),
        inet6.ICMPv6ND_RA(chlim=0, routerlifetime=1800, prf=0)
        / inet6.ICMPv6NDOptSrcLLAddr(lladdr=MAC_TEXT)
        / inet6.ICMPv6NDOptPrefixInfo(prefix="fd00:1::", prefixlen=64, validlifetime=100, preferredlifetime=50)
        / inet6.ICMPv6NDOptRDNSS(dns=list(servers), lifetime=50),
    )


def test_name_servers_of_a_strange_length_do_not_count() -> None:
    for length in (0, 1, 2, 4, 6):
        option = bytes((25, length, 0, 0)) + (60).to_bytes(4, "big") + 2 * A6 + bytes(8)
        message = icmp.IcmpMessage(134, 0, 0, bytes(8) + option[: 8 * length or 8])
        if length:
            assert ndp.parse_router(message).name_servers == ()
        else:
            with pytest.raises(CorruptError):
                ndp.parse_router(message)
    whole = bytes(8) + bytes((25, 5, 0, 0)) + (60).to_bytes(4, "big") + A6 + B6
    for length in range(9, len(whole)):
        with pytest.raises(CorruptError):
            ndp.parse_router(icmp.IcmpMessage(134, 0, 0, whole[:length]))
    assert len(ndp.parse_router(icmp.IcmpMessage(134, 0, 0, whole)).name_servers) == 2


def test_igmp_and_mld() -> None:
    with warnings.catch_warnings():  # newer versions have them elsewhere, too
        warnings.simplefilter("ignore")
        from scapy.contrib.igmp import IGMP
        from scapy.contrib.igmpv3 import IGMPv3gr, IGMPv3mq, IGMPv3mr
    group = parse_address("239.1.2.3")
    leave = IGMP(type=0x17, gaddr="239.1.2.3")
    assert igmp.emit_old(igmp.IgmpType.LEAVE, group) == bytes(leave)
    report = IGMPv3mr(records=[IGMPv3gr(rtype=4, maddr="239.1.2.3"), IGMPv3gr(rtype=3, maddr="224.0.0.9")])
    ours = igmp.emit_report(
        [(igmp.Record.TO_EXCLUDE, group), (igmp.Record.TO_INCLUDE, parse_address("224.0.0.9"))]
    )
    assert ours == bytes(report)
    assert igmp.parse_query(memoryview(ours)) is None
    old = igmp.parse_query(memoryview(bytes(IGMP(type=0x11, mrcode=50, gaddr="239.1.2.3"))))
    assert old == (group, 5_000_000_000, True)
    new = igmp.parse_query(memoryview(bytes(IGMPv3mq(type=0x11, mrcode=248, gaddr="0.0.0.0"))))
    assert new is not None and new.group == b"" and not new.is_old and new.response_ns == 248 * 100_000_000
    records = [inet6.ICMPv6MLDMultAddrRec(rtype=4, dst="ff05::7")]
    assert icmpv6.emit(igmp.report6([(4, parse_address("ff05::7"))]), A6, B6) == icmp6(
        inet6.ICMPv6MLReport2(records=records)
    )
    query = icmpv6.parse(memoryview(icmp6(inet6.ICMPv6MLQuery2(mladdr="ff05::7", mrd=1000))), A6, B6)
    assert igmp.parse_query6(query) == (parse_address("ff05::7"), 1_000_000_000, False)


PARSERS: dict[str, tuple[Callable[[memoryview], Any], bytes]] = {
    "arp": (arp.parse, arp.emit(arp.ArpPacket(1, MAC, A4, MAC, B4))),
    "ipv4": (ipv4.parse, ipv4.emit(8, 0, 1, 0, 64, 17, A4, B4) + bytes(8)),
    "ipv6": (ipv6.parse, ipv6.emit(8, 0, 0, 64, 17, A6, B6) + bytes(8)),
    "udp": (udp.parse, udp.emit(A4, B4, 1, 2, b"data") + b"data"),
    "icmp": (icmp.parse, icmp.emit(icmp.IcmpMessage(8, 0, 1, b""))),
    "icmpv6": (lambda data: icmpv6.parse(data, A6, B6), icmpv6.emit(icmp.IcmpMessage(128, 0, 1, b""), A6, B6)),
    "igmp": (igmp.parse_query, bytes.fromhex("1164ee9b00000000")),
    "neighbour": (
        lambda data: ndp.parse_neighbour(icmp.IcmpMessage(135, 0, 0, data)), bytes(ndp.solicitation(B6, b"").data)
    ),
    "router": (lambda data: ndp.parse_router(icmp.IcmpMessage(134, 0, 0, data)), bytes(8)),
    "router's name servers": (
        lambda data: ndp.parse_router(icmp.IcmpMessage(134, 0, 0, bytes(8) + b"\x19\3" + data)), bytes(6) + A6
    ),
    "mld": (lambda data: igmp.parse_query6(icmp.IcmpMessage(130, 0, 0, data)), bytes(16)),
}  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_cut_off_is_refused_and_noise_never_breaks_anything(name: str) -> None:
    parse, good = PARSERS[name]
    parse(memoryview(good))
    for length in range(len(good)):
        with pytest.raises(CorruptError):
            parse(memoryview(good[:length]))
    generator = random.Random(name)
    for _ in range(2000):
        noise = bytearray(good + generator.randbytes(generator.randrange(40)))
        for _ in range(generator.randrange(1, 6)):
            noise[generator.randrange(len(noise))] = generator.randrange(256)
        try:
            parse(memoryview(noise[: generator.randrange(len(noise) + 1)]))
        except CorruptError:
            continue
