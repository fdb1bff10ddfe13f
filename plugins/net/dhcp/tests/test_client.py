"""The client's states (RFC 2131, section 4.4), each with the messages that may and may not move it."""

from __future__ import annotations

import random

import pytest
from attrs import evolve
from jefeos.net.services import DhcpServerConfig
from jefeos_net_dhcp.client import SECOND_NS, Bind, Client, Note, Probe, Send, State, Unbind
from jefeos_net_dhcp.layout import Code, MessageType
from jefeos_net_dhcp.message import Message, seconds_option
from jefeos_net_dhcp.server import Leases

MAC = bytes.fromhex("525400123456")
SERVER, OTHER, OURS = bytes([10, 0, 2, 2]), bytes([10, 0, 2, 99]), bytes([10, 0, 2, 15])


class Rig:
    """A client, its clock, and what it said last."""

    def __init__(self) -> None:
        self.client = Client(MAC, random.Random(3).randbytes, "jefe")
        self.now_ns = 0
        self.actions = self.client.start(0)

    def wait(self, seconds: float) -> list[object]:
        """Let time pass, with every tick that is due."""
        end_ns = self.now_ns + int(seconds * SECOND_NS)
        seen: list[object] = []
        while self.client.next_ns is not None and self.client.next_ns <= end_ns:
            self.now_ns = self.client.next_ns
            seen += self.client.tick(self.now_ns)
        self.now_ns = end_ns
        return seen

    def answer(self, kind: MessageType, *, server: bytes = SERVER, address: bytes = OURS, lease_s: int = 3600,
               **changes: object) -> list[object]:
        """A server's message."""
        options = {int(Code.SERVER_IDENTIFIER): server, int(Code.LEASE_TIME): seconds_option(lease_s),
                   int(Code.SUBNET_MASK): bytes([255, 255, 255, 0]), int(Code.ROUTER): SERVER}
        message = Message(kind, self.client.xid, MAC, True, yours=address, options=options)
        self.actions = self.client.received(evolve(message, **changes).pack(), self.now_ns)
        return self.actions

    def bind(self) -> None:
        """All the way to BOUND."""
        self.answer(MessageType.OFFER)
        self.answer(MessageType.ACK)
        self.actions = self.client.probed(None, self.now_ns)
        assert self.client.state is State.BOUND


def sent(actions: list[object]) -> list[Message]:
    return [action.message for action in actions if isinstance(action, Send)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_discover_offer_request_ack_probe_bind(rig: Rig) -> None:
    (discover,) = sent(rig.actions)
    assert (discover.kind, discover.flags, discover.options[Code.HOST_NAME]) == (MessageType.DISCOVER, 0x8000, b"jefe")
    (request,) = sent(rig.answer(MessageType.OFFER))
    assert (request.kind, request.server, request.address(Code.REQUESTED_ADDRESS)) == (
        MessageType.REQUEST, SERVER, OURS)
    assert request.xid == discover.xid
    assert rig.answer(MessageType.ACK) == [Probe(OURS)]
    (bound,) = rig.client.probed(None, rig.now_ns)
    assert isinstance(bound, Bind)
    lease = bound.lease
    assert (lease.address, lease.prefix_length, lease.renew_s, lease.rebind_s) == (OURS, 24, 1800, 3150)


def test_retries_double_with_chance_and_start_again(rig: Rig) -> None:
    times = []
    for _ in range(6):
        times.append(rig.client.next_ns - rig.now_ns)
        rig.wait(times[-1] / SECOND_NS + 0.001)
    for wait_ns, nominal in zip(times, (4, 8, 16, 32, 64, 64), strict=True):
        assert abs(wait_ns - nominal * SECOND_NS) <= SECOND_NS * 1.01
    rig.answer(MessageType.OFFER)
    rig.wait(200)
    assert rig.client.state is State.SELECTING


@pytest.mark.parametrize("changes", [
    {"xid": 1}, {"mac": bytes(6)}, {"server": b""}, {"address": bytes(4)}, {"address": bytes([127, 0, 0, 1])},
    {"address": bytes([224, 0, 0, 1])}, {"lease_s": 1}, {"reply": False},
])  # fmt: skip
def test_an_offer_that_is_not_for_us_or_makes_no_sense_is_ignored(rig: Rig, changes: dict[str, object]) -> None:
    rig.answer(MessageType.OFFER, **changes)
    assert rig.client.state is State.SELECTING


def test_only_the_chosen_server_may_acknowledge_or_refuse(rig: Rig) -> None:
    rig.answer(MessageType.OFFER)
    for kind in (MessageType.ACK, MessageType.NAK):
        assert all(isinstance(action, Note) for action in rig.answer(kind, server=OTHER))
        assert rig.client.state is State.REQUESTING
    rig.answer(MessageType.ACK, address=OTHER)  # not what was offered
    assert rig.client.state is State.REQUESTING
    rig.answer(MessageType.NAK)
    assert rig.client.state is State.SELECTING


def test_a_conflict_is_declined_and_it_begins_again_after_ten_seconds(rig: Rig) -> None:
    rig.answer(MessageType.OFFER)
    rig.answer(MessageType.ACK)
    actions = rig.client.probed(bytes(5) + b"\7", rig.now_ns)
    (decline,) = sent(actions)
    assert (decline.kind, decline.address(Code.REQUESTED_ADDRESS), decline.server) == (
        MessageType.DECLINE, OURS, SERVER)
    assert sent(rig.wait(9.9)) == []
    assert sent(rig.wait(0.2))[0].kind is MessageType.DISCOVER


def test_renewal_goes_to_the_server_from_the_address(rig: Rig) -> None:
    rig.bind()
    (renewal,) = [action for action in rig.wait(1801) if isinstance(action, Send)]
    assert (rig.client.state, renewal.destination) == (State.RENEWING, SERVER)
    assert (renewal.message.client, Code.REQUESTED_ADDRESS in renewal.message.options) == (OURS, False)
    assert Code.SERVER_IDENTIFIER not in renewal.message.options
    (again,) = rig.answer(MessageType.ACK)
    assert isinstance(again, Bind) and again.renewed
    assert rig.client.next_ns == again.lease.granted_ns + 1800 * SECOND_NS


def test_a_stranger_s_refusal_does_not_end_a_lease(rig: Rig) -> None:
    rig.bind()
    rig.wait(1801)
    rig.answer(MessageType.NAK, server=OTHER)
    assert rig.client.state is State.RENEWING
    rig.wait(1400)
    assert rig.client.state is State.REBINDING
    rig.answer(MessageType.NAK, server=OTHER)
    assert rig.client.state is State.REBINDING
    assert any(isinstance(action, Unbind) for action in rig.answer(MessageType.NAK))


def test_any_server_may_take_the_lease_over_in_rebinding(rig: Rig) -> None:
    rig.bind()
    (last,) = [action for action in rig.wait(3151) if isinstance(action, Send)][-1:]
    assert (rig.client.state, last.destination) == (State.REBINDING, b"")
    (bound,) = rig.answer(MessageType.ACK, server=OTHER)
    assert isinstance(bound, Bind) and bound.lease.server == OTHER


def test_the_end_of_a_lease_takes_the_address_away(rig: Rig) -> None:
    rig.bind()
    seen = rig.wait(3600)
    (gone,) = [action for action in seen if isinstance(action, Unbind)]
    assert gone.why == "its time is over"
    assert rig.client.state is State.SELECTING
    requests = [action for action in seen if isinstance(action, Send)]
    assert len(requests) < 20  # no hammering


def test_a_lease_for_ever_is_never_renewed(rig: Rig) -> None:
    rig.answer(MessageType.OFFER, lease_s=0xFFFFFFFF)
    rig.answer(MessageType.ACK, lease_s=0xFFFFFFFF)
    rig.client.probed(None, rig.now_ns)
    assert rig.client.next_ns is None


def test_an_earlier_address_is_asked_for_first(rig: Rig) -> None:
    (request,) = sent(rig.client.start(rig.now_ns, OURS))
    assert (request.kind, request.address(Code.REQUESTED_ADDRESS), request.server) == (MessageType.REQUEST, OURS, b"")
    rig.answer(MessageType.ACK)
    assert rig.client.state is State.CHECKING


def test_release_tells_the_server(rig: Rig) -> None:
    rig.bind()
    (release, gone) = rig.client.stop(rig.now_ns, release=True)
    assert (release.message.kind, release.destination, release.message.client) == (MessageType.RELEASE, SERVER, OURS)
    assert isinstance(gone, Unbind)
    assert rig.client.next_ns is None


def pool(size: int = 3) -> Leases:
    first = int.from_bytes(OURS, "big")
    config = DhcpServerConfig(OURS, (first + size - 1).to_bytes(4, "big"), 24, SERVER, (SERVER,), "lan")
    return Leases(config, SERVER, lambda text: None)


def test_client_and_server_agree() -> None:
    leases, clients = pool(), []
    for number in range(4):
        client = Client(bytes([2, 0, 0, 0, 0, number]), random.Random(number).randbytes)
        actions = client.start(0)
        for _ in range(2):
            replies = [leases.answer(message, 0) for message in sent(actions)]
            actions = [action for reply in replies if reply for action in client.received(reply.pack(), 0)]
        client.probed(None, 0)
        clients.append(client)
    assert [client.state for client in clients] == [State.BOUND] * 3 + [State.SELECTING]
    assert len({client.lease.address for client in clients[:3]}) == 3
    assert len(leases.current(0)) == 3
    for action in clients[0].stop(0, release=True):
        if isinstance(action, Send):
            leases.answer(action.message, 0)
    assert len(leases.current(0)) == 2


def test_the_server_refuses_foreign_addresses_and_forgets_old_leases() -> None:
    leases = pool(1)
    message = Message(MessageType.REQUEST, 1, MAC, options={Code.REQUESTED_ADDRESS: OTHER})
    assert leases.answer(message, 0).kind is MessageType.NAK
    message.options = {Code.REQUESTED_ADDRESS: OURS}
    assert leases.answer(message, 0).kind is MessageType.ACK
    other = evolve(message, mac=bytes(6), kind=MessageType.DISCOVER)
    assert leases.answer(other, 0) is None
    assert leases.answer(other, 86_401 * SECOND_NS).kind is MessageType.OFFER
