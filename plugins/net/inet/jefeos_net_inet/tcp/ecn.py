"""Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them.

    handshake       SYN with ECE and CWR -> SYN-ACK with ECE         `asks`, `is_agreed`; tcp_ecn says who may begin
    data            ECT(0) in the IP header, new octets only         never what is sent again, never a bare ACK or probe
    a router marks  CE -> every ACK has ECE, until CWR comes         `arrived`, `echoing`
    ECE -> the window is reduced once for each of its round trips, and the next new segment has CWR       `heard`

``tcp_ecn`` as on Linux: 0 never, 1 ask and agree, 2 (the default) only agree; with ``tcp_ecn_fallback`` a SYN that had
no answer is repeated without. A SYN cookie cannot remember it, and the more accurate feedback of RFC 9768 is not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos_net_inet.tcp.wire import ACK, CWR, ECE, SYN

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.layer import TcpLayer
    from jefeos_net_inet.tcp.sender import Sender

CODEPOINTS: Final = 3
"""The two bits of the IP header."""
CAPABLE: Final = 2
"""ECT(0)."""
CONGESTED: Final = 3
"""CE."""
ASKED: Final = 1


class Ecn:
    """Of a connection that has agreed on it."""

    __slots__ = ("echoing", "tell", "until")

    def __init__(self) -> None:
        self.echoing = False
        """A mark arrived, and the peer has not said that it heard of it."""
        self.tell = False
        """The window was reduced: the next new segment says so."""
        self.until = 0
        """What was under way then. Until more than this is acknowledged, which only the segment with CWR can bring
        about, the window neither shrinks again nor grows."""

    def arrived(self, flags: int, congested: bool) -> bool:
        """Data came in. Whether that is to be acknowledged at once."""
        if flags & CWR:
            self.echoing = False
        if congested and not self.echoing:
            self.echoing = True
            return True
        return False

    def heard(self, sender: Sender, ack: int, now_ns: int) -> None:
        """The peer echoes a mark."""
        if ack > self.until and not sender.recovery.busy:
            sender.congestion.loss(sender.nxt - sender.una, now_ns)
            self.reduced(sender.nxt)

    def reduced(self, nxt: int) -> None:
        """The window was reduced, for whatever reason."""
        self.until = nxt
        self.tell = True


def asks(layer: TcpLayer, attempts: int) -> bool:
    """Whether our SYN asks for it."""
    if int(layer.setting("tcp_ecn")) != ASKED:
        return False
    return not attempts or not layer.setting("tcp_ecn_fallback")


def answer_to(layer: TcpLayer, flags: int) -> Ecn | None:
    """What becomes of a SYN that perhaps asks."""
    return Ecn() if flags & (ECE | CWR) == ECE | CWR and layer.setting("tcp_ecn") else None


def agreed(flags: int) -> Ecn | None:
    """What becomes of the answer to a SYN of ours that asked."""
    return Ecn() if flags & (SYN | ACK | ECE | CWR) == SYN | ACK | ECE else None
