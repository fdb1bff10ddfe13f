"""What a segment does to a connection, in the order of RFC 9293, section 3.10.7.

    SYN-SENT (3.10.7.3):   ACK, RST, SYN
    others   (3.10.7.4):   timestamps (RFC 7323, section 5.3), sequence, RST, SYN, ACK, URG, data, FIN

RST, SYN and ACK are checked as RFC 5961 asks: what could be a guess is answered by a challenge ACK, within a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno

from jefeos_net_inet.tcp.ecn import agreed
from jefeos_net_inet.tcp.receiver import ACK_LATER, ACK_NONE, ACK_NOW, Receiver
from jefeos_net_inet.tcp.sequence import HALF, MASK
from jefeos_net_inet.tcp.states import FLUSHING, RECEIVING, Event, State
from jefeos_net_inet.tcp.wire import ACK, ECE, FIN, RST, SYN, URG

if TYPE_CHECKING:
    from jefeos_net_inet.tcp.connection import Connection
    from jefeos_net_inet.tcp.options import Options
    from jefeos_net_inet.tcp.wire import Segment

STAMP_AGE_NS: Final = 24 * 86_400 * 1_000_000_000
"""A remembered timestamp is worth nothing after this (RFC 7323, section 5.5)."""
ESTABLISHED, SYN_SENT, SYN_RECEIVED = State.ESTABLISHED, State.SYN_SENT, State.SYN_RECEIVED


def arrive(connection: Connection, segment: Segment, now_ns: int) -> None:
    """Process a segment, tell the user, and answer. HOT."""
    if connection.state is SYN_SENT:
        _in_syn_sent(connection, segment, now_ns)
    else:
        _process(connection, segment, now_ns)
    if connection.notify:
        connection.tell()  # the user may answer at once, and the acknowledgment then rides on that
    if connection.is_over:
        return
    receiver = connection.receiver
    if receiver is not None and receiver.ack_state:
        if receiver.ack_state == ACK_NOW:
            connection.acknowledge(now_ns)
        elif receiver.ack_state == ACK_LATER:
            connection.arm(receiver.ack_at_ns)


# --- the handshake --------------------------------------------------------------------------------------------


def agree(connection: Connection, initial: int, window: int, options: Options | None, stamp: int | None) -> None:
    """The peer's SYN: both halves learn what was agreed. Options count only if our own SYN offers them too."""
    layer, sender = connection.layer, connection.sender
    ours = connection.options
    scale = 0
    if options is not None:
        connection.mss = options.mss
        sender.sack = options.sack_permitted and bool(layer.setting("tcp_sack"))
        connection.stamps = stamp is not None and bool(layer.setting("tcp_timestamps"))
        if options.window_scale is not None and layer.setting("tcp_window_scaling"):
            connection.scaling = True
            sender.scale = options.window_scale
            scale = layer.window_scale(ours)
    if connection.stamps:
        connection.recent_stamp = stamp or 0
        connection.recent_stamp_ns = connection.heard_ns
    tuned = bool(layer.setting("tcp_moderate_rcvbuf")) and not ours.fixed_receive_buffer and connection.scaling
    largest = layer.largest_receive_buffer if tuned else ours.so_rcvbuf
    connection.receiver = Receiver(initial, ours.so_rcvbuf, largest, scale, tuned)
    sender.window = sender.largest_window = window  # never scaled in a SYN
    sender.window_sequence, sender.window_ack = initial, sender.una
    sender.begin(*connection.sizes(), ours.tcp_congestion)


def established(connection: Connection, now_ns: int) -> None:
    """The handshake is complete."""
    sender = connection.sender
    connection.step(Event.SYN_ACK)
    sender.syn_acknowledged(now_ns)
    connection.notify = True
    connection.layer.connection_established(connection)
    connection.keepalive_changed(now_ns)
    if sender.fin_at is not None:
        connection.step(Event.CLOSE)


def _in_syn_sent(connection: Connection, segment: Segment, now_ns: int) -> None:
    """RFC 9293, section 3.10.7.3."""
    sender = connection.sender
    flags = segment.flags
    acceptable = False
    if flags & ACK:
        ack = sender.una + ((segment.acknowledgment - sender.una + HALF) & MASK) - HALF
        if not sender.una < ack <= sender.nxt:
            if not flags & RST:
                connection.layer.reset_for(connection.local, connection.remote, segment, connection.options.interface)
            return
        acceptable = True
        if connection.layer.setting("tcp_timestamps") and segment.stamp is not None:
            # RFC 7323, section 5.3 as Linux reads it: an echo of what we never sent is not for us.
            if segment.echo and (connection.stamp_clock(now_ns) - segment.echo) & MASK >= HALF:
                return
    if flags & RST:
        if acceptable:
            connection.layer.count("AttemptFails")
            connection.finish(Errno.ECONNREFUSED)
        return
    if not flags & SYN:
        return
    connection.heard_ns = now_ns
    if connection.asked_ecn:
        connection.ecn = agreed(flags)
    agree(connection, segment.sequence, segment.window, segment.options, segment.stamp)
    if not acceptable:  # both opened at once
        connection.step(Event.SYN)
        connection.send_syn(now_ns)
        return
    sender.una = sender.nxt
    sender.window_ack = sender.una
    established(connection, now_ns)
    sender.transmit(now_ns)
    connection.receiver.ack_state = max(connection.receiver.ack_state, ACK_NOW if sender.nxt == sender.una else
    ACK_NONE)


# --- everything else ------------------------------------------------------------------------------------------


def _process(connection: Connection, segment: Segment, now_ns: int) -> None:
    """RFC 9293, section 3.10.7.4. HOT."""
    receiver, sender = connection.receiver, connection.sender
    flags = segment.flags
    nxt = receiver.nxt
    payload = segment.payload
    length = len(payload)
    sequence = nxt + ((segment.sequence - nxt + HALF) & MASK) - HALF
    end = sequence + length
    if flags & (SYN | FIN):
        end += bool(flags & SYN) + bool(flags & FIN)

    # Timestamps: an old duplicate is recognised even after the sequence numbers wrapped (PAWS).
    if connection.stamps:
        stamp = segment.stamp
        if stamp is None:
            if not flags & RST:
                connection.layer.count("TCPMissingTimestamp")
                return
        elif (stamp - connection.recent_stamp) & MASK >= HALF and not flags & RST:
            if now_ns - connection.recent_stamp_ns < STAMP_AGE_NS:
                if end == sequence == nxt and flags & ACK:
                    # Another one has overtaken it. It tells nothing new, and an answer would only breed more.
                    connection.layer.count("PAWSOldAck")
                    return
                connection.layer.count("PAWSEstab")
                _unacceptable(connection, sequence, end, now_ns)
                return

    # Sequence number: the four cases of table 6 in one.
    edge = receiver.promised
    if end > sequence:
        acceptable = end > nxt and sequence < edge
    else:
        acceptable = nxt <= sequence < edge or sequence == nxt
    if not acceptable:
        if connection.state is SYN_RECEIVED and flags & SYN:
            if not flags & ACK or sequence != nxt - 1:
                connection.send_syn(now_ns)  # our answer was lost
                return
            flags, sequence = flags & ~SYN, nxt  # both opened at once (section 3.5, figure 8)
        elif sequence == nxt == edge and not flags & (RST | SYN):
            # A closed window takes no data but what comes with them (section 3.10.7.4, "special allowance").
            flags &= ~FIN
            receiver.ack_state = ACK_NOW
        else:
            if not flags & RST:
                _unacceptable(connection, sequence, end, now_ns)
            return
        end, length, payload = sequence, 0, payload[:0]
    connection.heard_ns = now_ns
    if connection.stamps and sequence <= receiver.last_ack_sent and segment.stamp is not None:
        connection.recent_stamp = segment.stamp
        connection.recent_stamp_ns = now_ns
    if flags & (RST | SYN):
        _reset_or_syn(connection, flags, sequence, now_ns)
        return
    if not flags & ACK:
        return

    # Acknowledgment.
    una = sender.una
    ack = una + ((segment.acknowledgment - una + HALF) & MASK) - HALF
    if connection.state is SYN_RECEIVED:
        if not una < ack <= sender.nxt:
            connection.layer.reset_for(connection.local, connection.remote, segment, connection.options.interface)
            return
        sender.una = una = ack
        sender.window_sequence = sequence - 1
        established(connection, now_ns)
    if ack > sender.limit or ack < una - sender.largest_window:
        connection.layer.count("TCPACKSkipped" if ack < una else "TCPAckedUnsent")
        connection.challenge(now_ns)  # RFC 5961, section 5
        return
    ecn = connection.ecn
    if ecn is not None:
        if flags & ECE and ack >= una:
            ecn.heard(sender, ack, now_ns)
        if length and ecn.arrived(flags, segment.congested):
            receiver.ack_state = ACK_NOW
    # An older acknowledgment says nothing, but the data that come with it count.
    if ack >= una and sender.acknowledge(segment, sequence, ack, end - sequence, now_ns):
        connection.keepalive_probes = 0
        if sender.fin_at is not None and sender.fin_acknowledged and _fin_acknowledged(connection, now_ns):
            return
        if connection.stalled:
            connection.room_made()

    # Urgent pointer, data, FIN.
    state = connection.state
    if state in RECEIVING:
        if flags & URG and segment.urgent:
            _urgent(connection, sequence + segment.urgent)
        if length or flags & FIN:
            _receive(connection, sequence, payload, bool(flags & FIN), now_ns)
            if connection.is_over:
                return
    elif length and state is not SYN_RECEIVED:
        receiver.ack_state = ACK_NOW
    if (sender.nxt < sender.queue.end or sender.recovery.phase or sender.fin_at is not None) and (
        connection.state in FLUSHING
    ):
        sender.transmit(now_ns)


def _unacceptable(connection: Connection, sequence: int, end: int, now_ns: int) -> None:
    """Answer with what is expected. Data that came twice are answered always, the rest within a limit."""
    if end > sequence and connection.state is not SYN_RECEIVED:
        receiver = connection.receiver
        if sequence < receiver.nxt:
            receiver.duplicate = (sequence, min(end, receiver.nxt))
        connection.acknowledge(now_ns)
    else:
        connection.challenge(now_ns)


def _reset_or_syn(connection: Connection, flags: int, sequence: int, now_ns: int) -> None:
    """RFC 5961, sections 3 and 4: only a RST at the very number that is expected counts."""
    if not flags & RST or sequence != connection.receiver.nxt:
        connection.challenge(now_ns)
        return
    if connection.state is SYN_RECEIVED:
        connection.layer.count("AttemptFails")
        connection.finish(Errno.ECONNREFUSED)
        return
    connection.layer.count("EstabResets")
    connection.finish(Errno.EPIPE if connection.state is State.CLOSE_WAIT else Errno.ECONNRESET)


def _fin_acknowledged(connection: Connection, now_ns: int) -> bool:
    """Our FIN has arrived. True if that ended the connection."""
    state = connection.state
    if state is State.FIN_WAIT_1:
        connection.step(Event.FIN_ACKED)
        connection.notify = True
        if connection.socket is None:
            connection.linger(now_ns)
    elif state is State.CLOSING:
        connection.layer.end_in_time_wait(connection, now_ns)
        return True
    elif state is State.LAST_ACK:
        connection.finish()
        return True
    return False


def _urgent(connection: Connection, end: int) -> None:
    """RFC 9293, section 3.8.5, with the pointer as RFC 6093 has it: it leads to the octet after the urgent ones."""
    receiver = connection.receiver
    if end > receiver.nxt and receiver.note_urgent(end):
        receiver.urgent_at = end - 1
        receiver.urgent_octet = None
        connection.notify = True


def _receive(
    connection: Connection, start: int, payload: bytes | memoryview, with_fin: bool, now_ns: int
) -> None:
    """Data and FIN. HOT."""
    receiver = connection.receiver
    stop = start + len(payload)
    if with_fin and stop <= receiver.promised and receiver.fin_at is None:
        receiver.fin_at = stop
    if stop > receiver.promised:
        payload = payload[: receiver.promised - start]
        stop = receiver.promised
    if receiver.fin_at is not None and stop > receiver.fin_at:
        payload = payload[: max(receiver.fin_at - start, 0)]  # nothing comes after a FIN
    if len(payload):
        if connection.socket is None and stop > receiver.nxt:
            # Nobody will read it (RFC 9293, section 3.6.1, half-duplex close).
            connection.layer.count("TCPAbortOnData")
            connection.abort(now_ns)
            return
        if receiver.take(start, payload, now_ns):
            connection.notify = True
            if receiver.urgent_at is not None and receiver.urgent_octet is None:
                _collect_urgent(connection)
    if receiver.fin_at is not None and receiver.nxt == receiver.fin_at:
        _fin(connection, now_ns)
    elif with_fin:
        receiver.ack_state = ACK_NOW


def _collect_urgent(connection: Connection) -> None:
    """The urgent octet has arrived: unless it stays in line, it leaves the stream."""
    receiver = connection.receiver
    at = receiver.urgent_at
    if at is None or not receiver.queue.start <= at < receiver.queue.end or connection.options.so_oobinline:
        return
    receiver.urgent_octet = receiver.queue.cut(at)
    receiver.urgent_at = at + 1  # the octets before it moved up by one


def _fin(connection: Connection, now_ns: int) -> None:
    receiver = connection.receiver
    receiver.nxt += 1
    receiver.ack_state = ACK_NOW
    connection.notify = True
    if connection.state is State.FIN_WAIT_2:
        connection.acknowledge(now_ns)
        connection.layer.end_in_time_wait(connection, now_ns)
    else:
        connection.step(Event.FIN)
