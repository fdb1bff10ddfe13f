"""Registers behind qtest: a window of ports, or of memory.

QEMU answers a read of memory that no device decodes with zero; a real bus answers with ones, and drivers rely on that.
So a window in memory knows the device that it belongs to, and whether that decodes (`Decoding`).
"""

from __future__ import annotations

from typing import Final

from attrs import define
from jefeos.bus.region import ALL_ONES_8, ALL_ONES_16, ALL_ONES_32, Region
from jefeos.errors import UsageError

from jefeos_machine_qemu.qtest import QtestChannel

IDE_DATA_PORTS: Final = (0x1F0, 0x170)
"""PIIX3 takes 32-bit accesses there, each for two units (82371SB datasheet): half as many commands."""


@define(eq=False)
class Decoding:
    """Whether a device answers to addresses in memory."""

    is_on: bool = False


class QemuRegion(Region):
    """A window of ``size`` bytes from ``base`` on."""

    def __init__(
        self, qtest: QtestChannel, base: int, size: int, is_io: bool, decoding: Decoding | None = None
    ) -> None:
        self.size = size
        self._base = base
        self._ask = qtest.ask
        self._post = qtest.post
        self._qtest = qtest
        self._is_io = is_io
        self._decoding = decoding if decoding is not None else Decoding(is_on=True)
        read, write = (b"in", b"out") if is_io else (b"read", b"write")
        self._read_verbs = {1: read + b"b 0x%x\n", 2: read + b"w 0x%x\n", 4: read + b"l 0x%x\n"}
        self._write_verbs = {1: write + b"b 0x%x 0x%x\n", 2: write + b"w 0x%x 0x%x\n", 4: write + b"l 0x%x 0x%x\n"}

    def read8(self, offset: int) -> int:
        return self._read(offset, 1, ALL_ONES_8)

    def read16(self, offset: int) -> int:
        return self._read(offset, 2, ALL_ONES_16)

    def read32(self, offset: int) -> int:
        return self._read(offset, 4, ALL_ONES_32)

    def write8(self, offset: int, value: int) -> None:
        self._write(offset, 1, value)

    def write16(self, offset: int, value: int) -> None:
        self._write(offset, 2, value)

    def write32(self, offset: int, value: int) -> None:
        self._write(offset, 4, value)

    def read_data(self, offset: int, count: int) -> bytes:
        unit, rest = (4, count % 2) if self._takes_double(offset) else (2, 0)
        self._check(offset, 2, 0)
        address = self._base + offset
        commands = [self._read_verbs[unit] % address] * (count * 2 // unit) + [self._read_verbs[2] % address] * rest
        values = self._qtest.ask_all(commands)
        if values is None or not self._decoding.is_on:
            return b"\xff\xff" * count
        tail = values.pop().to_bytes(2, "little") if rest else b""
        return b"".join([value.to_bytes(unit, "little") for value in values]) + tail

    def write_data(self, offset: int, data: bytes) -> None:
        double = self._takes_double(offset)
        self._check(offset, 2, 0)
        whole = len(data) & ~3 if double else 0
        address = self._base + offset
        view = memoryview(data)
        commands = [self._write_verbs[4] % (address, value) for value in view[:whole].cast("I")]
        commands += [self._write_verbs[2] % (address, value) for value in view[whole:].cast("H")]
        self._qtest.post_all(commands)

    def _takes_double(self, offset: int) -> bool:
        return self._is_io and self._base + offset in IDE_DATA_PORTS

    def _read(self, offset: int, width: int, ones: int) -> int:
        self._check(offset, width, 0)
        if not self._decoding.is_on:
            return ones
        value = self._ask(self._read_verbs[width] % (self._base + offset))
        return ones if value is None else value

    def _write(self, offset: int, width: int, value: int) -> None:
        self._check(offset, width, value)
        self._post(self._write_verbs[width] % (self._base + offset, value))

    def _check(self, offset: int, width: int, value: int) -> None:
        if not 0 <= offset <= self.size - width or value >> (8 * width):
            raise UsageError(f"{value:#x} in register {offset:#x} of a window of {self.size} bytes")
