"""UDP-Lite sockets (RFC 3828, udplite(7)): UDP's, with a checksum that covers as much as both ends ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos_net_inet.options import Range
from jefeos_net_inet.udp import Udp, UdpSocket
from jefeos_net_inet.wire import udp, udplite

if TYPE_CHECKING:
    from jefeos_net_inet.packets import Packet, Path

_COVERAGE = Range(0, 0, 65_535)


class UdpLiteSocket(UdpSocket):
    """A UDP-Lite socket."""

    kind = "udplite"
    extra_options = {"udp_cork": Range(0, 0, 0), "udplite_send_cscov": _COVERAGE, "udplite_recv_cscov": _COVERAGE}


class UdpLite(Udp):
    """UDP-Lite of a stack: ports of its own."""

    protocol = udplite.PROTOCOL
    names = ("UdpLite", "UdpLite6")
    parse = staticmethod(udplite.parse)
    verify = staticmethod(udplite.verify)

    def header(self, path: Path, socket: UdpSocket, port: int, data: bytes) -> bytes:
        coverage = socket.options.values["udplite_send_cscov"]
        return udplite.emit(path.source, path.destination, socket.port, port, data, coverage)

    def _give(self, socket: UdpSocket, packet: Packet, header: udp.UdpHeader, count: dict[str, int]) -> None:
        """A socket may refuse what is covered too little."""
        if udplite.coverage_of(packet.payload) < socket.options.values["udplite_recv_cscov"]:
            count["InErrors"] += 1
        else:
            super()._give(socket, packet, header, count)
