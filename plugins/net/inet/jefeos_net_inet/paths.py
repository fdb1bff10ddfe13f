"""Ways to destinations: route, source address, next station, and the MTU on the way, kept until something changes.

    path(destination, source, interface) --> Path       the layers above ask for each packet: one dict access

What ICMP says of the MTU of a path (RFC 1191, RFC 8201) is kept by destination for ten minutes, for a bounded number of
destinations; what redirects say, see redirects.py. `Paths` has what the families share; `ipv4` and `ipv6` say how a way
is found.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.address import Address
from jefeos.net.device import Offload

from jefeos_net_inet.neighbours import SECOND_NS, NeighbourCache
from jefeos_net_inet.packets import Path
from jefeos_net_inet.redirects import Redirect, Redirects
from jefeos_net_inet.settings import number
from jefeos_net_inet.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from jefeos_net_inet.stack import InetStack

MOST_PATHS: Final = 4096
MOST_MTUS: Final = 4096
MOST_QUOTED_BYTES: Final = 576


class Paths(ABC):
    """The way out of one family."""

    ether_type: int
    cache: NeighbourCache
    expires_setting: str

    def __init__(self, stack: InetStack) -> None:
        self._stack = stack
        self._paths: dict[tuple[Address, Address, int], Path] = {}
        self._mtus: dict[Address, tuple[int, int]] = {}
        """MTU, and until when it holds."""
        self.redirects = Redirects({})
        self._timer: Timer | None = None
        self._timer_at_ns = 0
        self.generation = 0
        """Another number whenever a path that was found before may not be the right one any more."""

    @abstractmethod
    def find_path(self, destination: Address, source: Address, interface: int) -> Path:
        """Look a way up. Raises KernelError: ENETUNREACH, ENODEV."""

    @abstractmethod
    def unanswered(self, quoted: bytes) -> None:
        """The next station of a packet of ours did not answer: tell its protocol."""

    @property
    @abstractmethod
    def smallest_mtu(self) -> int:
        """No path's MTU is believed to be less."""

    def path(self, destination: Address, source: Address = b"", interface: int = 0) -> Path:
        """The way to a destination. Raises KernelError: ENETUNREACH, ENODEV. HOT."""
        found = self._paths.get((destination, source, interface))
        if found is not None:
            return found
        found = self.find_path(destination, source, interface)
        if self.redirects.by_destination:
            self.redirects.apply(found)
        if found.destination in self._mtus:
            found.mtu = min(found.mtu, self._mtus[found.destination][0])
        if len(self._paths) >= MOST_PATHS:
            self._paths.clear()
        self._paths[destination, source, interface] = found
        return found

    def forget(self) -> None:
        """Something changed: every way is looked up anew."""
        self._paths.clear()
        self.generation += 1

    def learn_mtu(self, destination: Address, mtu: int) -> bool:
        """An ICMP error says that larger packets do not get through; whether that is news."""
        try:
            before = self.path(destination).mtu
        except KernelError:
            return False
        mtu = max(mtu, self.smallest_mtu)
        if mtu >= before:
            return False
        lifetime_ns = number(self._stack.settings, self.expires_setting) * SECOND_NS
        if len(self._mtus) >= MOST_MTUS:
            del self._mtus[next(iter(self._mtus))]
        end_ns = self._stack.timers.now_ns() + lifetime_ns
        self._mtus[destination] = (mtu, end_ns)
        self.forget()
        self._expire_at(end_ns)
        return True

    def learn_redirect(self, destination: Address, redirect: Redirect) -> None:
        """A router says that another one is nearer."""
        self.redirects.learn(destination, redirect)
        self.forget()
        self._expire_at(redirect.until_ns)

    def _expire_at(self, end_ns: int) -> None:
        if self._timer is not None:
            if self._timer_at_ns <= end_ns:
                return
            self._timer.cancel()
        self._timer_at_ns = end_ns
        self._timer = self._stack.timers.later(max(end_ns - self._stack.timers.now_ns(), 0), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now_ns = self._stack.timers.now_ns()
        self._mtus = {to: entry for to, entry in self._mtus.items() if entry[1] > now_ns}
        self.redirects.expire(now_ns)
        self.forget()
        ends = [end_ns for _, end_ns in self._mtus.values()] + self.redirects.ends()
        if ends:
            self._expire_at(min(ends))

    def close_paths(self) -> None:
        """Let go of the timer."""
        self.forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def transmit(
        self, path: Path, parts: tuple[bytes | memoryview, ...], offload: Offload | None,
        failed: Callable[[], None] | None = None,
    ) -> bool:
        """A finished packet to the next station; ``failed`` is called if that does not answer. HOT."""
        if path.mac is not None:
            return path.interface.emit(path.mac, self.ether_type, parts, offload)
        neighbour = path.neighbour
        if neighbour is None:
            neighbour = path.neighbour = self.cache.entry(path.next_hop, path.interface)
            if neighbour is None:
                raise KernelError(Errno.ENOBUFS, "the neighbour cache is full")
        if not neighbour.mac and failed is None:
            failed = partial(self.unanswered, b"".join(parts)[:MOST_QUOTED_BYTES])
        return self.cache.send(neighbour, self.ether_type, parts, offload, failed)
