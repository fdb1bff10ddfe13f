"""Lines of listings (``ss``, /proc/net) for sockets of messages and frames; TCP has its own in tcp/info.py."""

from __future__ import annotations

from typing import Any

from jefeos.net.stack import SocketInfo

from jefeos_net_inet.messages import MessageSocket
from jefeos_net_inet.packet import InetPacketSocket


def is_listed(socket: MessageSocket | InetPacketSocket) -> bool:
    """Linux's listings have no UDP or ping socket before it has a port."""
    return socket.kind in ("raw", "packet") or socket.local.port != 0


def listed(socket: MessageSocket | InetPacketSocket) -> SocketInfo:
    """The line. A raw socket has its protocol in place of a port, as Linux shows it."""
    local = socket.local
    if socket.kind == "raw":
        local = local._replace(port=socket.protocol)
    details: dict[str, Any] = {
        "protocol": socket.protocol, "rcvbuf": socket.get_option("so_rcvbuf"), "sndbuf": socket.get_option("so_sndbuf"),
        "drops": socket.dropped,
    }
    if isinstance(socket, InetPacketSocket):
        details |= {"interface": socket.interface, "cooked": int(socket.cooked)}
    else:
        values = socket.options.values
        details |= {
            "device": socket.device, "tos": values["ip_tos"], "tclass": max(values.get("ipv6_tclass", 0), 0),
            "v6only": values.get("ipv6_v6only", 0),
            "shutdown": int(socket.reading_shut) | int(socket.writing_shut) << 1,
        }
    return SocketInfo(
        kind=socket.kind, family=socket.family, local=local, remote=socket.remote,
        state="ESTABLISHED" if socket.remote is not None else "UNCONN", send_queue=0,
        receive_queue=socket.received_bytes, owner=socket.owner, details=details,
    )
