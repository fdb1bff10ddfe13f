"""The DHCP client at work on an interface of a stack: sockets, timers, and what a lease changes.

    Client (client.py) <-- frames, time -- ClientService --> addresses, routes, MTU, name servers

Until there is an address, messages go and come by a cooked packet socket, as no UDP socket could; a renewal is sent to
the server from the lease's address by the stack. Whoever wants to know of leases passes ``changed``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import ANY4, BROADCAST4, SocketAddress, address_text
from jefeos.net.flags import InterfaceFlags
from jefeos.net.stack import Change, Event, NetworkStack, Route

from jefeos_net_dhcp.client import Action, Bind, Client, Lease, Note, Probe, Send, State, Unbind
from jefeos_net_dhcp.datagram import pack, unpack
from jefeos_net_dhcp.layout import CLIENT_PORT, SERVER_PORT

if TYPE_CHECKING:
    import asyncio

    from jefeos.net.stack import Interface
    from jefeos.sched.clock import Clock, Entropy
    from jefeos.sched.loop import KernelLoop

ETHER_TYPE_IPV4: Final = 0x0800
BROADCAST_MAC: Final = b"\xff" * 6
RTPROT_DHCP: Final = 16
LEAST_MTU: Final = 576
PROBE_PATIENCE_NS: Final = 150_000_000
"""Shorter than RFC 5227 likes: a system should not boot for five seconds. Whoever is on the link answers in less."""
OFFER_PATIENCE_NS: Final = 200_000_000
"""A network in which nobody has offered anything by then has no server that is worth waiting for."""


class ClientService:
    """Keeps a lease on one interface."""

    def __init__(
        self, stack: NetworkStack, interface: Interface, loop: KernelLoop, clock: Clock, entropy: Entropy,
        log: logging.Logger, *, hostname: str = "", changed: Callable[[Lease | None], None] | None = None,
    ) -> None:
        self.stack = stack
        self.interface = interface
        self.client = Client(interface.mac, entropy.bytes, hostname)
        self._loop = loop
        self._clock = clock
        self._log = log
        self._changed = changed or _nobody
        self._timer: asyncio.TimerHandle | None = None
        self._routes: list[Route] = []
        self._was_running = True
        self._started_ns = 0
        self._socket = stack.open_packet(cooked=True)
        self._socket.changed = self._readable
        self._stop_watching = stack.watch(self._happened)

    def start(self, earlier: bytes = b"") -> None:
        """Bring the interface up and ask for an address, or for one that we had (``earlier``)."""
        self.interface.set_up(True)
        self._socket.bind_to(ETHER_TYPE_IPV4, self.interface.index)
        self._started_ns = self._clock.monotonic_ns()
        self._do(self.client.start(self._started_ns, earlier))

    def renew(self) -> None:
        """Ask now whether the lease may go on."""
        lease = self.client.lease
        self.start(lease.address if lease is not None else b"")

    def stop(self, *, release: bool = True) -> None:
        """Give the address back."""
        self._do(self.client.stop(self._clock.monotonic_ns(), release=release))

    def close(self) -> None:
        """Stop, and let go of the sockets."""
        if self.client.state is not State.STOPPED:
            self.stop()
        self._stop_watching()
        self._socket.close()

    def is_on_its_way(self) -> bool:
        """Whether an address is about to come: a server has offered one, or has just been asked."""
        if self.client.state in (State.REQUESTING, State.CHECKING):
            return True
        asking = self.client.state in (State.SELECTING, State.REBOOTING)
        return asking and self._clock.monotonic_ns() - self._started_ns < OFFER_PATIENCE_NS

    # --- what happens --------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self._loop.call_soon(self._receive)

    def _receive(self) -> None:
        while self.client.state is not State.STOPPED:
            try:
                frame = self._socket.receive_frame()
            except KernelError:
                return
            if frame is None:
                return
            found = unpack(frame.data)
            if found is not None and found[2:4] == (SERVER_PORT, CLIENT_PORT):
                self._do(self.client.received(found[4], self._clock.monotonic_ns()))

    def _tick(self) -> None:
        self._timer = None
        self._do(self.client.tick(self._clock.monotonic_ns()))

    def _happened(self, event: Event) -> None:
        """The wire was plugged in again: it may be another network, so ask whether the address still is ours."""
        if event.change is Change.INTERFACE and event.interface == self.interface.index and not event.gone:
            running = bool(self.interface.flags & InterfaceFlags.RUNNING)
            has_lease = self.client.state in (State.BOUND, State.RENEWING, State.REBINDING)
            if running and not self._was_running and has_lease:
                self._loop.call_soon(self.renew)
            self._was_running = running

    # --- what is done --------------------------------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(action)
            elif isinstance(action, Probe):
                self._probe(action.address)
            elif isinstance(action, Bind):
                self._bind(action)
            elif isinstance(action, Unbind):
                self._unbind(action)
            elif isinstance(action, Note):
                self._log.info("%s: DHCP: %s", self.interface.name, action.text)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.client.next_ns is not None:
            self._timer = self._loop.call_later_ns(self.client.next_ns - self._clock.monotonic_ns(), self._tick)

    def _send(self, action: Send) -> None:
        payload = action.message.pack()
        try:
            if action.destination:
                socket = self.stack.open_datagram(2)
                try:
                    socket.bind(SocketAddress(action.message.client, CLIENT_PORT))
                    socket.send_to(payload, SocketAddress(action.destination, SERVER_PORT))
                finally:
                    socket.close()
            else:
                source = action.message.client if any(action.message.client) else ANY4
                packet = pack(source, BROADCAST4, CLIENT_PORT, SERVER_PORT, payload)
                self._socket.send_frame(packet, self.interface.index, ETHER_TYPE_IPV4, BROADCAST_MAC)
        except KernelError as error:
            self._log.info("%s: DHCP: cannot send: %s", self.interface.name, error)

    def _probe(self, address: bytes) -> None:
        self.interface.probe(
            address,
            lambda owner: self._do(self.client.probed(owner, self._clock.monotonic_ns())),
            patience_ns=PROBE_PATIENCE_NS,
        )

    def _bind(self, action: Bind) -> None:
        lease = action.lease
        lifetime_ns = None if lease.forever else lease.lease_s * 1_000_000_000
        own = {own.address for own in self.interface.addresses}
        if lease.address in own:
            self.interface.remove_address(lease.address)
        self.interface.add_address(lease.address, lease.prefix_length, valid_ns=lifetime_ns, preferred_ns=lifetime_ns)
        if lease.mtu is not None and LEAST_MTU <= lease.mtu < self.interface.mtu:
            self.interface.set_mtu(lease.mtu)
        self._remove_routes()
        for destination, length, gateway in lease.routes or [(ANY4, 0, router) for router in lease.routers[:1]]:
            way = gateway if any(gateway) else b""
            route = Route(destination, length, self.interface.index, way, protocol=RTPROT_DHCP, source=lease.address)
            try:
                self.stack.add_route(route)
                self._routes.append(route)
            except KernelError as error:
                if error.errno != Errno.EEXIST:
                    self._log.warning("%s: DHCP: a route of the lease cannot be: %s", self.interface.name, error)
        if not action.renewed:
            self._log.info(
                "%s: %s/%d from %s for %s", self.interface.name, address_text(lease.address), lease.prefix_length,
                address_text(lease.server), "ever" if lease.forever else f"{lease.lease_s} s",
            )
        self._changed(lease)

    def _unbind(self, action: Unbind) -> None:
        self._remove_routes()
        try:
            self.interface.remove_address(action.lease.address)
        except KernelError:  # somebody did so before
            self._log.debug("%s: the address was gone already", self.interface.name)
        self._log.info("%s: %s is given up: %s", self.interface.name, address_text(action.lease.address), action.why)
        self._changed(None)

    def _remove_routes(self) -> None:
        routes, self._routes = self._routes, []
        for route in routes:
            try:
                self.stack.remove_route(route)
            except KernelError:  # somebody did so before
                continue


def _nobody(lease: Lease | None) -> None:
    """Nobody wants to know."""
