"""QEMU's qtest protocol: register accesses as lines of text over a socket.

    ours   inl 0xc000      outb 0x1f7 0xec      readl 0xf0000000      irq_intercept_in ioapic
    QEMU   OK 0x00000080   OK                   OK 0x0000000080080783 OK       and, at any time:  IRQ raise 11

Answers come in the order of the commands. A write is posted: its command goes out at once and its answer is passed
over whenever it comes; a read waits for its own. Several reads go out together and are answered together, which costs
a tenth of one by one. What reaches QEMU by another socket could overtake a posted write: `settle` comes before it.
No more than POSTED_LIMIT answers are ever left unread: QEMU would stop in the middle of one.

The channel ends with the first error: the socket closed, no answer for ANSWER_TIMEOUT_S, a line that is not of the
protocol. Then `ended` says why, `on_end` was told once, reads give None and writes are lost. Nothing here raises.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

ANSWER_TIMEOUT_S: Final = 15
"""QEMU answers within microseconds. Whoever is silent for so long has stopped."""
POSTED_LIMIT: Final = 128
"""An unread answer takes some 800 bytes of the socket's 208 KiB."""
BATCH: Final = 512
"""Commands that go out in one piece; they fit into the socket's buffer."""
RECEIVE_BYTES: Final = 65536
LONGEST_LINE: Final = 4096


class QtestChannel:
    """One end of the socket. ``on_interrupt(number, up)`` hears of lines, ``on_end(reason)`` of the end."""

    def __init__(
        self,
        connection: socket.socket,
        on_interrupt: Callable[[int, bool], None],
        on_end: Callable[[str], None],
    ) -> None:
        self.ended = ""
        self._connection = connection
        self._on_interrupt = on_interrupt
        self._on_end = on_end
        self._rest = b""
        self._posted = 0
        self._asked = 0
        self._answers: deque[int] = deque()
        self.set_timeout(ANSWER_TIMEOUT_S)

    def set_timeout(self, seconds: int) -> None:
        """How long QEMU may be silent."""
        self._timeout_s = seconds
        timeout = struct.pack("@ll", seconds, 0)  # a struct timeval: the host's timeout costs no call of its own
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._connection.setsockopt(socket.SOL_SOCKET, option, timeout)

    def post(self, command: bytes) -> None:
        """Send a command whose answer nobody needs. HOT."""
        if self.ended:
            return
        if self._posted >= POSTED_LIMIT:
            self.settle()
        self._posted += 1
        self._send(command)

    def post_all(self, commands: Sequence[bytes]) -> None:
        """The same for many."""
        for start in range(0, len(commands), POSTED_LIMIT):
            batch = commands[start : start + POSTED_LIMIT]
            if self.ended:
                return
            if self._posted + len(batch) > POSTED_LIMIT:
                self.settle()
            self._posted += len(batch)
            self._send(b"".join(batch))

    def ask(self, command: bytes) -> int | None:
        """Send a command and wait for its answer: the value in it (0 if it has none), or None at the end. HOT."""
        if self.ended:
            return None
        self._asked += 1
        self._send(command)
        answers = self._answers
        while not answers and not self.ended:
            self._receive()
        return answers.popleft() if answers else None

    def ask_all(self, commands: Sequence[bytes]) -> list[int] | None:
        """Send commands together and wait for all their answers; None at the end."""
        values: list[int] = []
        for start in range(0, len(commands), BATCH):
            if self.ended:
                return None
            batch = commands[start : start + BATCH]
            self._asked += len(batch)
            self._send(b"".join(batch))
            while self._asked and not self.ended:
                self._receive()
            values += self._answers
            self._answers.clear()
        return values if not self.ended else None

    def receive_waiting(self) -> None:
        """Take what has come, without waiting."""
        if not self.ended:
            self._receive(socket.MSG_DONTWAIT)

    def settle(self) -> None:
        """Wait until every posted command is done."""
        while self._posted and not self.ended:
            self._receive()

    def end(self, reason: str) -> None:
        """Use the channel no more."""
        if not self.ended:
            self.ended = reason
            self._on_end(reason)

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except BlockingIOError:
            self.end(f"QEMU takes no command for {self._timeout_s} s")
        except OSError as error:
            self.end(f"QEMU has closed its qtest socket ({error.strerror})")

    def _receive(self, flags: int = 0) -> None:
        try:
            data = self._connection.recv(RECEIVE_BYTES, flags)
        except BlockingIOError:
            if not flags:
                self.end(f"QEMU gives no answer for {self._timeout_s} s")
            return
        except OSError as error:
            self.end(f"QEMU has closed its qtest socket ({error.strerror})")
            return
        if not data:
            self.end("QEMU has closed its qtest socket")
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if not self._take(line):
                self.end(f"QEMU says {line[:80]!r}, which is not an answer")
                return
        if len(self._rest) > LONGEST_LINE:
            self.end("QEMU's answer has no end")

    def _take(self, line: bytes) -> bool:
        """Deal with a line; False if there is no sense in it."""
        words = line.split()
        try:
            match words:
                case [b"OK"] | [b"OK", _] if self._posted:
                    self._posted -= 1
                case [b"OK"] if self._asked:
                    self._asked -= 1
                    self._answers.append(0)
                case [b"OK", value] if self._asked:
                    self._asked -= 1
                    self._answers.append(int(value, 16))
                case [b"IRQ", b"raise" | b"lower" as change, number]:
                    self._on_interrupt(int(number), change == b"raise")
                case _:
                    return False
        except ValueError:
            return False
        return True
