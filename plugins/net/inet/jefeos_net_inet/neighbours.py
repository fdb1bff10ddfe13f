"""Who has which address on a link: the cache of ARP and of Neighbour Discovery (RFC 4861, section 7.3).

            send                answer                 30 s                send              5 s
    (none) -----> INCOMPLETE ----------> REACHABLE --------> STALE --------> DELAY --------> PROBE
                      | 3 tries                                 ^  answer: REACHABLE           | 3 tries
                      v                                         +-- heard of, unasked          v
                   FAILED: what waited is handed back                                        FAILED

One cache serves a family; how to ask is the family's affair (`Solicit`). Limits, since all of this can be filled by
whoever is on the link: entries (the oldest unused one makes room, and nobody's unasked packet makes one), packets and
bytes that wait for an answer, failed entries keep still for a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from jefeos.net.address import Address
from jefeos.net.stack import Neighbour, NeighbourState

from jefeos_net_inet.settings import number
from jefeos_net_inet.timers import Timer

if TYPE_CHECKING:
    from jefeos_net_inet.interfaces import InetInterface
    from jefeos_net_inet.stack import InetStack

MOST_WAITING_BYTES: Final = 256 << 10
MILLISECOND_NS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000
Solicit = Callable[["Entry", bool], None]
"""Ask for an entry's MAC; True: ask the station it had last."""
Waiting = tuple[int, tuple[Any, ...], Any, Callable[[], None] | None]
"""EtherType, parts of the packet, offload, and what to call if it cannot be delivered."""


@define(eq=False)
class Entry:
    """One neighbour. ``mac`` is valid if `usable`."""

    address: Address
    interface: InetInterface
    state: NeighbourState = NeighbourState.INCOMPLETE
    mac: bytes = b""
    is_router: bool = False
    confirmed_ns: int = 0
    used_ns: int = 0
    tries: int = 0
    waiting: deque[Waiting] = field(factory=deque)
    waiting_bytes: int = 0
    timer: Timer | None = None


class NeighbourCache:
    """The neighbours of one family on all interfaces."""

    def __init__(self, stack: InetStack, family: str, solicit: Solicit) -> None:
        self._stack = stack
        self._timers = stack.timers
        self._prefix = f"net.{family}.neigh.default."
        self._solicit = solicit
        self.entries: dict[tuple[int, Address], Entry] = {}
        self.dropped = 0
        """Packets that were given up while they waited."""

    def __iter__(self) -> Iterator[Neighbour]:
        for entry in self.entries.values():
            yield Neighbour(entry.address, entry.interface.index, entry.mac, self.state_of(entry))

    def _setting(self, name: str) -> int:
        return number(self._stack.settings, self._prefix + name)

    def state_of(self, entry: Entry) -> NeighbourState:
        """The state now: REACHABLE becomes STALE by itself."""
        if entry.state is NeighbourState.REACHABLE:
            age_ns = self._timers.now_ns() - entry.confirmed_ns
            if age_ns > self._setting("base_reachable_time_ms") * MILLISECOND_NS:
                entry.state = NeighbourState.STALE
        return entry.state

    # --- sending ---------------------------------------------------------------------------------------------

    def entry(self, address: Address, interface: InetInterface) -> Entry | None:
        """The entry to send through, made if need be; None if the cache is full of ones in use."""
        key = (interface.index, address)
        entry = self.entries.get(key)
        if entry is None:
            if len(self.entries) >= self._setting("gc_thresh3") and not self._make_room():
                return None
            entry = self.entries[key] = Entry(address, interface, state=NeighbourState.FAILED)
        return entry

    def _make_room(self) -> bool:
        spare = (NeighbourState.STALE, NeighbourState.FAILED)
        idle = [entry for entry in self.entries.values() if self.state_of(entry) in spare and not entry.waiting]
        if not idle:  # better to ask a known one again than to refuse a new one
            idle = [entry for entry in self.entries.values() if entry.state is NeighbourState.REACHABLE]
        if not idle:
            return False
        idle.sort(key=lambda entry: entry.used_ns)
        for entry in idle[: 1 + len(idle) // 16]:
            self._forget(entry)
        return True

    def send(
        self, entry: Entry, ether_type: int, parts: tuple[Any, ...], offload: Any, failed: Callable[[], None] | None
    ) -> bool:
        """Send through an entry, or keep the packet until its MAC is known. HOT while it is reachable."""
        now_ns = entry.used_ns = self._timers.now_ns()
        state = entry.state
        if state is NeighbourState.REACHABLE:
            if now_ns - entry.confirmed_ns > 30 * SECOND_NS and self.state_of(entry) is NeighbourState.STALE:
                self._delay(entry)
        elif state is NeighbourState.STALE:
            self._delay(entry)
        elif state is NeighbourState.INCOMPLETE or state is NeighbourState.FAILED:
            return self._keep(entry, (ether_type, parts, offload, failed))
        return entry.interface.emit(entry.mac, ether_type, parts, offload)

    def _keep(self, entry: Entry, packet: Waiting) -> bool:
        size = sum(map(len, packet[1]))
        if entry.waiting_bytes + size > MOST_WAITING_BYTES and not entry.waiting:
            return False
        # The parts may be views of a buffer that its owner goes on with.
        entry.waiting.append((packet[0], (b"".join(packet[1]),), packet[2], packet[3]))
        entry.waiting_bytes += size
        most = max(self._setting("unres_qlen"), 1)
        while len(entry.waiting) > most or entry.waiting_bytes > MOST_WAITING_BYTES:
            entry.waiting_bytes -= len(entry.waiting.popleft()[1][0])
            self.dropped += 1
        if entry.state is NeighbourState.FAILED:
            self._enter(entry, NeighbourState.INCOMPLETE)
            self._try(entry)
        return True

    def ask(self, entry: Entry) -> None:
        """Find out its MAC, though there is nothing to send yet."""
        if entry.state is NeighbourState.FAILED:
            self._enter(entry, NeighbourState.INCOMPLETE)
            self._try(entry)

    def _delay(self, entry: Entry) -> None:
        self._enter(entry, NeighbourState.DELAY)
        entry.timer = self._timers.later(
            self._setting("delay_first_probe_time") * SECOND_NS, self._probe, entry
        )

    def _probe(self, entry: Entry) -> None:
        self._enter(entry, NeighbourState.PROBE)
        self._try(entry)

    def _try(self, entry: Entry) -> None:
        probing = entry.state is NeighbourState.PROBE
        if entry.tries >= self._setting("ucast_solicit" if probing else "mcast_solicit"):
            self._fail(entry)
            return
        entry.tries += 1
        entry.timer = self._timers.later(self._setting("retrans_time_ms") * MILLISECOND_NS, self._try, entry)
        self._solicit(entry, probing)

    def _fail(self, entry: Entry) -> None:
        waiting, entry.waiting, entry.waiting_bytes = entry.waiting, deque(), 0
        self._enter(entry, NeighbourState.FAILED)
        entry.mac = b""
        self.dropped += len(waiting)
        for *_, failed in waiting:
            if failed is not None:
                failed()
        self._stack.neighbour_changed(self._listed(entry), gone=False)

    def _enter(self, entry: Entry, state: NeighbourState) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        entry.state = state
        entry.tries = 0

    # --- hearing ---------------------------------------------------------------------------------------------

    def heard(self, address: Address, interface: InetInterface, mac: bytes, *, create: bool) -> None:
        """A station says that it has an address, unasked: believed, but not confirmed (RFC 4861, section 7.2.3)."""
        entry = self.entries.get((interface.index, address))
        if entry is None:
            if not create or (entry := self.entry(address, interface)) is None:
                return
        else:
            unknown = entry.state in (NeighbourState.INCOMPLETE, NeighbourState.FAILED)
            if entry.state is NeighbourState.PERMANENT or (entry.mac == mac and not unknown):
                return
        self._learn(entry, mac, NeighbourState.STALE)

    def answered(
        self, address: Address, interface: InetInterface, mac: bytes, *, override: bool = True, solicited: bool = True
    ) -> Entry | None:
        """An answer to a question of ours (RFC 4861, section 7.2.5). Nobody who was not asked for gets an entry."""
        entry = self.entries.get((interface.index, address))
        if entry is None or entry.state in (NeighbourState.FAILED, NeighbourState.PERMANENT):
            return entry
        if entry.state is not NeighbourState.INCOMPLETE and mac and mac != entry.mac and not override:
            if entry.state is NeighbourState.REACHABLE:
                entry.state = NeighbourState.STALE
            return entry
        if entry.state is NeighbourState.INCOMPLETE and not mac:
            return entry
        if solicited:
            self._learn(entry, mac or entry.mac, NeighbourState.REACHABLE)
        elif mac and (mac != entry.mac or entry.state is NeighbourState.INCOMPLETE):
            self._learn(entry, mac, NeighbourState.STALE)
        return entry

    def _learn(self, entry: Entry, mac: bytes, state: NeighbourState) -> None:
        self._enter(entry, state)
        news = entry.mac != mac
        entry.mac = mac
        entry.confirmed_ns = self._timers.now_ns()
        waiting, entry.waiting, entry.waiting_bytes = entry.waiting, deque(), 0
        for ether_type, parts, offload, _failed in waiting:
            entry.interface.emit(mac, ether_type, parts, offload)
        if waiting and state is NeighbourState.STALE:
            self._delay(entry)
        if news:
            self._stack.neighbour_changed(self._listed(entry), gone=False)

    def confirm(self, entry: Entry) -> None:
        """A protocol above knows that what was sent arrived (RFC 4861, section 7.3.1)."""
        if entry.mac and entry.state in (NeighbourState.STALE, NeighbourState.DELAY, NeighbourState.PROBE):
            self._enter(entry, NeighbourState.REACHABLE)
        entry.confirmed_ns = self._timers.now_ns()

    # --- by hand ---------------------------------------------------------------------------------------------

    def set(self, address: Address, interface: InetInterface, mac: bytes, state: NeighbourState) -> None:
        """An entry as the administrator wants it."""
        entry = self.entry(address, interface)
        if entry is not None:
            self._learn(entry, mac, state)

    def remove(self, address: Address, interface: int) -> bool:
        """Whether there was one."""
        entry = self.entries.get((interface, address))
        if entry is None:
            return False
        self._forget(entry)
        return True

    def _forget(self, entry: Entry) -> None:
        self.entries.pop((entry.interface.index, entry.address), None)
        self._fail_quietly(entry)
        self._stack.neighbour_changed(self._listed(entry), gone=True)

    def _fail_quietly(self, entry: Entry) -> None:
        self._enter(entry, NeighbourState.FAILED)
        self.dropped += len(entry.waiting)
        entry.waiting.clear()
        entry.waiting_bytes = 0

    def flush(self, interface: InetInterface | None = None) -> None:
        """Forget everybody on an interface, or on all."""
        for entry in [entry for entry in self.entries.values() if interface in (None, entry.interface)]:
            del self.entries[entry.interface.index, entry.address]
            self._fail_quietly(entry)
        self._stack.forget_paths()

    def _listed(self, entry: Entry) -> Neighbour:
        return Neighbour(entry.address, entry.interface.index, entry.mac, entry.state)
