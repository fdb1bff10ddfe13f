"""DHCP messages, against scapy and against broken input."""

from __future__ import annotations

import random

import pytest
from jefeos.errors import CorruptError
from jefeos_net_dhcp.datagram import pack, unpack
from jefeos_net_dhcp.layout import Code, MessageType
from jefeos_net_dhcp.message import Message

scapy = pytest.importorskip("scapy.all", reason="scapy is not installed")

MAC = bytes.fromhex("525400123456")
SERVER = bytes([10, 0, 2, 2])


def scapy_offer(**options: object) -> bytes:
    """An OFFER that scapy wrote."""
    listed = [("message-type", "offer"), *options.items(), "end"]
    bootp = scapy.BOOTP(op=2, xid=0x1234, yiaddr="10.0.2.15", chaddr=MAC, flags=0x8000)
    return bytes(bootp / scapy.DHCP(options=listed))


def test_reads_what_scapy_writes() -> None:
    data = scapy_offer(server_id="10.0.2.2", lease_time=3600, subnet_mask="255.255.255.0", router="10.0.2.2",
                       name_server="10.0.2.3")
    message = Message.parse(data)
    assert (message.kind, message.xid, message.mac, message.reply) == (MessageType.OFFER, 0x1234, MAC, True)
    assert (message.yours, message.server) == (bytes([10, 0, 2, 15]), SERVER)
    assert message.number(Code.LEASE_TIME) == 3600
    assert message.addresses(Code.NAME_SERVERS) == (bytes([10, 0, 2, 3]),)


def test_scapy_reads_what_is_written() -> None:
    message = Message(MessageType.REQUEST, 77, MAC, flags=0x8000, seconds=3, client=bytes([1, 2, 3, 4]))
    message.options = {Code.REQUESTED_ADDRESS: bytes([10, 0, 2, 15]), Code.HOST_NAME: b"jefe"}
    read = scapy.BOOTP(message.pack())
    assert (read.op, read.xid, read.secs, read.ciaddr, read.chaddr[:6]) == (1, 77, 3, "1.2.3.4", MAC)
    options = dict(option for option in read[scapy.DHCP].options if isinstance(option, tuple))
    assert options["message-type"] == 3
    assert (options["requested_addr"], options["hostname"]) == ("10.0.2.15", b"jefe")
    assert Message.parse(message.pack()) == message


def test_long_options_are_cut_and_joined() -> None:
    message = Message(MessageType.ACK, 1, MAC, options={Code.CLASSLESS_ROUTES: bytes(range(256)) * 3})
    assert Message.parse(message.pack()).options == message.options


def test_overloaded_fields_are_read() -> None:
    data = bytearray(scapy_offer())
    file_at, sname_at = 108, 44
    data[file_at : file_at + 7] = bytes((Code.SERVER_IDENTIFIER, 4, *SERVER, Code.END))
    data[sname_at : sname_at + 7] = bytes((Code.ROUTER, 4, *SERVER, Code.END))
    head = data[:240] + bytes((Code.OVERLOAD, 1, 3)) + data[240:]
    message = Message.parse(bytes(head))
    assert (message.server, message.addresses(Code.ROUTER)) == (SERVER, (SERVER,))


def test_classless_routes() -> None:
    value = bytes((24, 10, 1, 2, 10, 0, 2, 9, 0, 10, 0, 2, 2, 33, 1, 1))
    message = Message(MessageType.ACK, 1, MAC, options={Code.CLASSLESS_ROUTES: value})
    assert message.routes() == ((bytes([10, 1, 2, 0]), 24, bytes([10, 0, 2, 9])), (bytes(4), 0, SERVER))


def test_every_truncation_and_random_bytes_are_refused_or_read() -> None:
    data = scapy_offer(server_id="10.0.2.2", lease_time=3600, subnet_mask="255.255.255.0")
    chance = random.Random(1)
    for length in range(len(data)):
        try:
            Message.parse(data[:length])
        except CorruptError:
            continue
    for _ in range(5000):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 8)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            message = Message.parse(bytes(broken))
        except CorruptError:
            continue
        message.routes(), message.text(Code.DOMAIN_NAME), message.addresses(Code.ROUTER)


def test_packets_agree_with_scapy() -> None:
    ours = pack(bytes(4), b"\xff" * 4, 68, 67, b"payload")
    read = scapy.IP(ours)
    assert (read.src, read.dst, read.sport, read.dport, bytes(read[scapy.UDP].payload)) == (
        "0.0.0.0", "255.255.255.255", 68, 67, b"payload")
    theirs = bytes(scapy.IP(src="10.0.2.2", dst="10.0.2.15") / scapy.UDP(sport=67, dport=68) / b"odd")
    assert unpack(theirs + b"padding") == (SERVER, bytes([10, 0, 2, 15]), 67, 68, b"odd")
    for at in range(len(theirs)):
        assert unpack(theirs[:at]) is None
        broken = theirs[:at] + bytes([theirs[at] ^ 0x40]) + theirs[at + 1 :]
        assert unpack(broken) is None or at == 8  # the hop limit's checksum is the only one it would break
