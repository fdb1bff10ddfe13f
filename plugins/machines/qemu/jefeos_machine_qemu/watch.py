"""Who wants to hear of which socket: from `Machine.poll`, and from an event loop as soon as there is one."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    import asyncio


@define
class _Watched:
    connection: socket.socket
    on_readable: Callable[[], None]
    on_writable: Callable[[], None] | None = None


class Watcher:
    """Some sockets and their callbacks."""

    def __init__(self) -> None:
        self._poller = select.poll()
        self._watched: dict[int, _Watched] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, connection: socket.socket, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` when something has come."""
        descriptor = connection.fileno()
        self._watched[descriptor] = _Watched(connection, on_readable)
        self._poller.register(descriptor, select.POLLIN)
        if self._loop is not None:
            self._loop.add_reader(descriptor, on_readable)

    def want_writable(self, connection: socket.socket, on_writable: Callable[[], None] | None) -> None:
        """Call ``on_writable`` while there is room to write; None: no more."""
        descriptor = connection.fileno()
        watched = self._watched.get(descriptor)
        if watched is None:
            return
        watched.on_writable = on_writable
        self._poller.modify(descriptor, select.POLLIN | (select.POLLOUT if on_writable else 0))
        if self._loop is not None and on_writable is not None:
            self._loop.add_writer(descriptor, on_writable)
        elif self._loop is not None:
            self._loop.remove_writer(descriptor)

    def remove(self, connection: socket.socket) -> None:
        """Never call back for this one again."""
        descriptor = connection.fileno()
        if self._watched.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(descriptor)
                self._loop.remove_writer(descriptor)

    def remove_all(self) -> None:
        """Let go of everything."""
        for watched in list(self._watched.values()):
            self.remove(watched.connection)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on the loop calls back; `poll` still does too."""
        self._loop = loop
        for descriptor, watched in self._watched.items():
            loop.add_reader(descriptor, watched.on_readable)
            if watched.on_writable is not None:
                loop.add_writer(descriptor, watched.on_writable)

    def poll(self, timeout_ms: int) -> bool:
        """Wait at most so long, and call back for what is there; False if nothing was."""
        ready = self._poller.poll(timeout_ms)
        for descriptor, events in ready:
            watched = self._watched.get(descriptor)
            if watched is not None and events & ~select.POLLOUT:
                watched.on_readable()
            if watched is not None and events & select.POLLOUT and watched.on_writable is not None:
                watched.on_writable()
        return bool(ready)
