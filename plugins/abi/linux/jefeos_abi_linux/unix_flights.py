"""Files in flight: open files that were sent over a socket and not received yet.

A message in a queue holds a reference to each of its files. Two things need more than counting:

* A socket that is only in flight in its own queue, or in those of others of which the same is true, can never be
  received: `Flights.collect` finds such islands and empties their queues (Linux's unix_gc).

      outside --> socket A [B]      B lives: A is reachable
                  socket C [D]  socket D [C]      nobody else has C or D: both go

* Sockets in flight inside each other could be a chain of thousands. They are released one after the other, not one
  inside the other.

Descriptors count as "outside", as does whatever else holds a file. Nothing is looked for unless the last reference
to a socket from outside goes, so programs that pass files pay for a dictionary entry and no more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jefeos.errors import KernelError
from jefeos.vfs.file import File

if TYPE_CHECKING:
    from jefeos.kernel import Kernel


class Carrier(File):
    """A file that can hold others in flight: a socket."""

    flights: Flights

    @abstractmethod
    def held_files(self) -> list[File]:
        """The files of all messages that wait here."""

    @abstractmethod
    def drop_held(self) -> None:
        """Let them go; the messages stay."""

    def unref(self) -> None:
        super().unref()
        flights = self.flights
        if flights.counts and self.references and flights.counts.get(self) == self.references:
            flights.collect()


class Flights:
    """The files in flight of one kernel."""

    def __init__(self) -> None:
        self.counts: Counter[Carrier] = Counter()
        """How often each socket is in flight; other files cannot hold any, so they do not matter."""
        self._falling: list[File] = []
        self._dropping = False

    def depart(self, files: Iterable[File]) -> None:
        """A message with these files was put into a queue."""
        for file in files:
            if isinstance(file, Carrier):
                self.counts[file] += 1

    def arrive(self, files: Iterable[File]) -> None:
        """The message was taken out of its queue; the references are the taker's."""
        for file in files:
            if isinstance(file, Carrier):
                self.counts[file] -= 1
                if not self.counts[file]:
                    del self.counts[file]

    def drop(self, files: list[File]) -> None:
        """The message goes, and nobody received it."""
        self.arrive(files)
        self._falling += files
        files.clear()
        if self._dropping:
            return
        self._dropping = True
        try:
            while self._falling:
                try:
                    self._falling.pop().unref()
                except KernelError:
                    pass  # its last data could not be written, and nobody is left to be told
        finally:
            self._dropping = False

    def collect(self) -> None:
        """Empty the queues of sockets that nothing outside of such queues refers to."""
        counts = self.counts
        lost = {socket for socket, count in counts.items() if count == socket.references}
        inside = Counter(file for socket in lost for file in socket.held_files() if file in lost)
        reached = [socket for socket in lost if inside[socket] < socket.references]
        while reached:
            socket = reached.pop()
            if socket in lost:
                lost.remove(socket)
                reached += [file for file in socket.held_files() if isinstance(file, Carrier)]
        for socket in lost:
            socket.ref()  # not to end while the others are looked at
        for socket in lost:
            socket.drop_held()
        for socket in lost:
            socket.unref()


def flights_of(kernel: Kernel) -> Flights:
    """The files in flight of a kernel."""
    flights: Flights | None = getattr(kernel, "unix_flights", None)
    if flights is None:
        flights = Flights()
        kernel.unix_flights = flights  # type: ignore[attr-defined]
    return flights
