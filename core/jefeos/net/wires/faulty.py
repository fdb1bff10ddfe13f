"""A port in front of another one at which frames suffer, in both directions, on any kind of wire (``--net-faults``).

    port = FaultyPort(port, parse_faults("loss=5%,delay=20ms"), seed=7, call_later_ns=loop.call_later_ns)

The faults are those of a LAN (lan.py). Large segments do not pass it: each frame has its own fate. Frames that are on
their way when it is closed are lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from attrs import fields

from jefeos.errors import ConfigError
from jefeos.net.device import Offload
from jefeos.net.wire import FrameReceiver, Port
from jefeos.net.wires.lan import MOST_WAITING, FaultInjector, Faults, LanStatistics

_UNITS_NS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s)")
_MOST_DELAY_NS: Final = 60_000_000_000
_NAMES: Final = tuple(field.name.removesuffix("_ns") for field in fields(Faults))


def parse_faults(text: str) -> Faults:
    """From ``loss=5%,duplication=0.01,delay=20ms,jitter=500us``. Raises ConfigError."""
    values: dict[str, Any] = {}
    for item in text.split(","):
        name, equals, value = item.strip().partition("=")
        if name not in _NAMES or not equals:
            raise ConfigError(f"{item!r} is not NAME=VALUE with a name of: {', '.join(_NAMES)}")
        if name in ("delay", "jitter"):
            values[f"{name}_ns"] = _duration_ns(item, value)
        else:
            values[name] = _probability(item, value)
    return Faults(**values)


def _probability(item: str, value: str) -> float:
    try:
        number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        number = -1
    if not 0 <= number <= 1:
        raise ConfigError(f"{item!r}: a probability is 0.05 or 5%, up to 1 or 100%")
    return number


def _duration_ns(item: str, value: str) -> int:
    match = _DURATION.fullmatch(value)
    duration_ns = int(float(match[1]) * _UNITS_NS[match[2]]) if match else -1
    if not 0 <= duration_ns <= _MOST_DELAY_NS:
        raise ConfigError(f"{item!r}: a time is 20ms, 500us or 0.2s, up to a minute")
    return duration_ns


class FaultyPort(Port):
    """``call_later_ns(delay_ns, callback, *arguments)`` is an event loop's."""

    def __init__(self, port: Port, faults: Faults, *, seed: int, call_later_ns: Callable[..., Any]) -> None:
        super().__init__()
        self.faults = faults
        self.statistics = LanStatistics()
        self._port = port
        self._injector = FaultInjector(seed, self.statistics)
        self._call_later_ns = call_later_ns
        self._delayed = 0
        self._closed = False
        self.link_up = port.link_up
        self.forwards_ports = port.forwards_ports
        port.receiver = lambda frame: self._carry(frame, self.receiver)
        port.link_changed = self.set_link

    def send(self, frame: bytes, offload: Offload | None = None) -> None:
        if self.link_up:
            self._carry(frame, self._port.send)

    def close(self) -> None:
        self._closed = True
        self._port.close()

    def _carry(self, frame: bytes, onward: FrameReceiver) -> None:
        self.statistics.sent += 1
        for delay_ns, arriving in self._injector.fates(frame, self.faults):
            if not delay_ns:
                self._arrive(arriving, onward)
            elif self._delayed >= MOST_WAITING:
                self.statistics.overflowed += 1
            else:
                self._delayed += 1
                self._call_later_ns(delay_ns, self._arrive_later, arriving, onward)

    def _arrive_later(self, frame: bytes, onward: FrameReceiver) -> None:
        self._delayed -= 1
        if not self._closed and self.link_up:
            self._arrive(frame, onward)

    def _arrive(self, frame: bytes, onward: FrameReceiver) -> None:
        self.statistics.delivered += 1
        onward(frame)
