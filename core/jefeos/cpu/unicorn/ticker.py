"""The ticker: the one host thread of the engine. It ends runs at a steady period, and sees stops through.

It sleeps on an event when no ticks are wanted and nothing is to be stopped, so an idle system makes no wake-ups.
`start` and `stop` only set a number (and wake the thread when it sleeps), because the scheduler calls them at
every change between one and several runnable tasks.

A stop that comes from another thread can fall into the microseconds between the engine's last look at its flag
and the library's own start, which forgets earlier stops. So such a stop is repeated here every millisecond until
the engine has acknowledged it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

_REPEAT_STOP_S: Final = 0.001


class Ticker:
    """Calls ``tick`` each period, and ``repeat_stop`` until it returns False, on a daemon thread of its own."""

    def __init__(self, tick: Callable[[], None], repeat_stop: Callable[[], bool]) -> None:
        self._tick = tick
        self._repeat_stop = repeat_stop
        self._period_s: float | None = None
        self._stop_wanted = False
        self._closed = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, period_s: float) -> None:
        """Tick each ``period_s`` from now on."""
        if self._period_s == period_s:
            return
        self._period_s = period_s
        self._awake()

    def stop(self) -> None:
        """No more ticks. The thread finds out at its next one."""
        self._period_s = None

    def see_stop_through(self) -> None:
        """Repeat the stop that was just requested until the engine has seen it."""
        self._stop_wanted = True
        self._awake()

    def close(self) -> None:
        """End the thread and wait for it."""
        self._closed = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _awake(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._loop, name="jefeos-ticker", daemon=True)
            self._thread.start()
        self._wake.set()

    def _loop(self) -> None:
        while not self._closed:
            if self._stop_wanted:
                self._stop_wanted = self._repeat_stop()
            period = _REPEAT_STOP_S if self._stop_wanted else self._period_s
            if self._wake.wait(period):
                self._wake.clear()
            elif self._period_s is not None:
                self._tick()
