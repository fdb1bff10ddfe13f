"""Counters under the names of /proc/net/snmp and snmp6 (RFC 4293, 4022, 4113): a dict for each group."""

from __future__ import annotations

from typing import Final

Counters = dict[str, dict[str, int]]

_IP: Final = (
    "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards "
    "InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails "
    "FragCreates"
)
_ICMP: Final = (
    "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos "
    "InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutDestUnreachs "
    "OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps "
    "OutAddrMasks OutAddrMaskReps"
)
_UDP: Final = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors"
_IP6: Final = (
    "InReceives InHdrErrors InTooBigErrors InNoRoutes InAddrErrors InUnknownProtos InTruncatedPkts InDiscards "
    "InDelivers OutForwDatagrams OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails "
    "FragOKs FragFails FragCreates InMcastPkts OutMcastPkts"
)
_ICMP6: Final = (
    "InMsgs InErrors OutMsgs OutErrors InCsumErrors InDestUnreachs InPktTooBigs InTimeExcds InParmProblems "
    "InEchos InEchoReplies InGroupMembQueries InRouterSolicits InRouterAdvertisements InNeighborSolicits "
    "InNeighborAdvertisements OutDestUnreachs OutPktTooBigs OutTimeExcds OutParmProblems OutEchos OutEchoReplies "
    "OutRouterSolicits OutNeighborSolicits OutNeighborAdvertisements OutMLDv2Reports"
)
_GROUPS: Final = {
    "Ip": _IP, "Icmp": _ICMP, "IcmpMsg": "", "Udp": _UDP, "Ip6": _IP6, "Icmp6": _ICMP6, "Udp6": _UDP,
    "UdpLite": _UDP, "UdpLite6": _UDP, "Tcp": "",
    "TcpExt": "",
}


def new_counters() -> Counters:
    """All at zero. TCP fills in its own."""
    return {group: dict.fromkeys(names.split(), 0) for group, names in _GROUPS.items()}
