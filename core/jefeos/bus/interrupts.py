"""Interrupt lines and messages, from the device that asks to the handlers of its driver.

    device model / QEMU --raise_line, lower_line, message--> InterruptController --handler()--> driver

A line is level-triggered and may be shared, as PCI's INTx is: every handler on it is called, and says whether its
device had asked; that is repeated while the line stays up. A message (MSI) is one call.

Handlers never run inside the register access that caused them: with an event loop attached they run as a callback of
it, without one when `dispatch` is called (`Machine.wait` does). They are plain functions and must not block.

Two ways in which hardware can drown a kernel end with the line switched off and one line in the log:

    nobody cares    the line is up, and no handler knows why, UNHANDLED_LIMIT times in a row
    storm           handlers do know, but the line never drops, STORM_LIMIT times in a row
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    import asyncio

Handler = Callable[[], bool]
"""Deals with what its device wants; False if the device wanted nothing."""

UNHANDLED_LIMIT: Final = 100
STORM_LIMIT: Final = 20_000
ROUNDS_A_TURN: Final = 64
"""How often a line that stays up is served before the rest of the system gets its turn."""


@define(eq=False)
class Line:
    """One interrupt line, or one message vector."""

    number: int
    handlers: list[Handler] = field(factory=list)
    asserted_by: set[object] = field(factory=set)
    """Who holds the line up: it drops when the last one lets go."""
    messages: int = 0
    """Messages that were sent and not yet served."""
    off: str = ""
    """Why the line is switched off; empty while it is on."""
    count: int = 0
    """Times that its handlers were called since boot (/proc/interrupts)."""
    unhandled: int = 0
    served_without_rest: int = 0
    on_off: list[Callable[[str], None]] = field(factory=list)
    """Told, with the reason, when the line is switched off."""

    @property
    def wants_service(self) -> bool:
        """Whether a handler should be called now."""
        return not self.off and bool(self.handlers) and bool(self.asserted_by or self.messages)


class InterruptController:
    """All lines of a machine."""

    def __init__(self, log: logging.Logger | None = None) -> None:
        self.log = log or logging.getLogger("jefeos")
        self.lines: dict[int, Line] = {}
        self._waiting: dict[int, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on handlers run as callbacks of ``loop``."""
        self._loop = loop
        self._schedule()

    # -- the driver's side --

    def connect(self, number: int, handler: Handler, on_off: Callable[[str], None] | None = None) -> None:
        """Call ``handler`` for the line from now on. ``on_off`` hears why, should the line be switched off."""
        line = self._line(number)
        line.handlers.append(handler)
        if on_off is not None:
            line.on_off.append(on_off)
        if line.wants_service:
            self._want(number)

    def disconnect(self, number: int, handler: Handler, on_off: Callable[[str], None] | None = None) -> None:
        """Undo `connect`. With the last handler a line that was switched off is as new."""
        line = self._line(number)
        if handler in line.handlers:
            line.handlers.remove(handler)
        if on_off in line.on_off:
            line.on_off.remove(on_off)
        if not line.handlers:
            line.off = ""
            line.unhandled = line.served_without_rest = line.messages = 0

    # -- the device's side --

    def raise_line(self, number: int, source: object = None) -> None:
        """``source`` holds the line up until it lowers it. HOT: once a frame without coalescing."""
        line = self.lines.get(number) or self._line(number)
        line.asserted_by.add(source)
        if line.handlers and not line.off:
            self._want(number)

    def lower_line(self, number: int, source: object = None) -> None:
        """``source`` lets go."""
        line = self.lines.get(number)
        if line is not None:
            line.asserted_by.discard(source)

    def message(self, number: int) -> None:
        """A message-signalled interrupt for a vector that `connect` was called for."""
        line = self._line(number)
        if line.handlers and not line.off:
            line.messages += 1
            self._want(number)

    def abandon(self, reason: str) -> None:
        """The machine is gone, no interrupt will come any more: every driver that is connected hears why."""
        for line in self.lines.values():
            line.off = reason
            line.asserted_by.clear()
            for hear in list(line.on_off):
                hear(reason)

    # -- delivery --

    def dispatch(self) -> bool:
        """Serve what is waiting; True if anything was."""
        self._scheduled = False
        waiting, self._waiting = self._waiting, {}
        for number in waiting:
            self._serve(self.lines[number])
        return bool(waiting)

    def _serve(self, line: Line) -> None:
        for _ in range(ROUNDS_A_TURN):
            if not line.wants_service:
                line.served_without_rest = 0
                return
            was_message, line.messages = line.messages, 0
            line.count += 1
            handled = False
            for handler in list(line.handlers):
                try:
                    handled = handler() or handled
                except Exception:
                    self.log.exception("interrupt %d: a handler failed", line.number)
            if handled or was_message:
                line.unhandled = 0
                line.served_without_rest += 1
                if line.served_without_rest >= STORM_LIMIT:
                    self._switch_off(line, f"it did not drop in {STORM_LIMIT} calls of its handlers")
                    return
            else:
                line.unhandled += 1
                if line.unhandled >= UNHANDLED_LIMIT:
                    self._switch_off(line, "nobody cares about it")
                    return
        self._want(line.number)

    def _switch_off(self, line: Line, reason: str) -> None:
        line.off = reason
        self.log.error("interrupt %d is switched off: %s", line.number, reason)
        for hear in list(line.on_off):
            hear(f"its interrupt was switched off: {reason}")

    def _want(self, number: int) -> None:
        self._waiting[number] = None
        self._schedule()

    def _schedule(self) -> None:
        if self._loop is not None and self._waiting and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.dispatch)

    def _line(self, number: int) -> Line:
        line = self.lines.get(number)
        if line is None:
            line = self.lines[number] = Line(number)
        return line
