"""Filters of sockets (SO_ATTACH_FILTER, socket(7)) on packets that have come up to UDP, raw and ping sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.net.socket import PacketFilter, PacketView

from jefeos_net_inet.wire.ethernet import EtherType

if TYPE_CHECKING:
    from jefeos_net_inet.packets import Packet


def filtered(
    filter_: PacketFilter, packet: Packet, data: bytes, header_bytes: int, *, whole: bool
) -> bytes | None:
    """What the socket is to have of ``data``; None: nothing.

    The filter sees the packet from its UDP or ICMP header on, or ``whole`` with its IP header; what it says to keep
    counts from there, ``header_bytes`` before the data.
    """
    start = 0 if whole else len(packet.whole) - len(packet.payload)
    kept_bytes = filter_(PacketView(
        packet.whole, start, 0, -1, EtherType.IPV4 if len(packet.source) == 4 else EtherType.IPV6, int(packet.kind),
        packet.interface.index, packet.interface.hardware_type,
    ))
    return data[: max(kept_bytes - header_bytes, 0)] if kept_bytes else None
