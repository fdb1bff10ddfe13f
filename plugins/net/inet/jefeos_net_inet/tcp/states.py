"""The states of a connection and the events that lead from one to another (RFC 9293, section 3.3.2, figure 5).

LISTEN belongs to listeners and TIME_WAIT to their own small records (timewait.py); a connection leaves this table
there. Numbers are those of Linux's tcp_states.h, which /proc/net/tcp and TCP_INFO show.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from jefeos.errors import UsageError


class State(IntEnum):
    """Of a connection."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


class Event(Enum):
    """What changes a state."""

    ACTIVE_OPEN = "connect"
    PASSIVE_OPEN = "a SYN was taken"
    SYN = "a SYN without ACK of ours"
    SYN_ACK = "our SYN was acknowledged"
    CLOSE = "nothing more will be sent"
    FIN = "the peer sends no more"
    FIN_ACKED = "our FIN was acknowledged"
    END = "reset, timeout or abort"


S, E = State, Event
TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (S.CLOSED, E.ACTIVE_OPEN): S.SYN_SENT,
    (S.CLOSED, E.PASSIVE_OPEN): S.SYN_RECEIVED,
    (S.SYN_SENT, E.SYN_ACK): S.ESTABLISHED,
    (S.SYN_SENT, E.SYN): S.SYN_RECEIVED,
    (S.SYN_RECEIVED, E.SYN_ACK): S.ESTABLISHED,
    (S.SYN_RECEIVED, E.CLOSE): S.FIN_WAIT_1,
    (S.SYN_RECEIVED, E.FIN): S.CLOSE_WAIT,
    (S.ESTABLISHED, E.CLOSE): S.FIN_WAIT_1,
    (S.ESTABLISHED, E.FIN): S.CLOSE_WAIT,
    (S.FIN_WAIT_1, E.FIN_ACKED): S.FIN_WAIT_2,
    (S.FIN_WAIT_1, E.FIN): S.CLOSING,
    (S.FIN_WAIT_2, E.FIN): S.TIME_WAIT,
    (S.CLOSE_WAIT, E.CLOSE): S.LAST_ACK,
    (S.CLOSING, E.FIN_ACKED): S.TIME_WAIT,
    (S.LAST_ACK, E.FIN_ACKED): S.CLOSED,
    **{(state, E.END): S.CLOSED for state in S},
}
RECEIVING: Final = frozenset({S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2})
"""States in which the peer may still send."""
SENDING: Final = frozenset({S.ESTABLISHED, S.CLOSE_WAIT})
"""States in which the user may still send."""
FLUSHING: Final = frozenset({S.ESTABLISHED, S.CLOSE_WAIT, S.FIN_WAIT_1, S.CLOSING, S.LAST_ACK})
"""States in which data or a FIN of ours may have to be sent."""
del S, E


def after(state: State, event: Event) -> State:
    """Where ``event`` leads from ``state``. Raises UsageError where the RFC knows no such step."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise UsageError(f"a connection in {state.name} cannot take: {event.value}") from None
