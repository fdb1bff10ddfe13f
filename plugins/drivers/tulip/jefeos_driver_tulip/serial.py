"""The two serial buses behind CSR9, driven and watched bit by bit.

    SROM   Microwire (93C46): chip select, clock, data in, data out. A read is 1, 10, six address bits; 16 bits come
    MII    management frames (IEEE 802.3, 22.2.4.5): 32 ones, 01, 10, PHY, register, turn-around, 16 bits

`SerialBus` is the driver's side; `SromPins` and `MiiPins` are what sits at the other end in the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jefeos_driver_tulip import registers as r

if TYPE_CHECKING:
    from jefeos.bus.region import Region

_CSR9: Final = int(r.Csr.SERIAL)
_SROM_READ: Final = 0b110
_MII_PREAMBLE_BITS: Final = 32
_MII_READ: Final = 0b0110
_MII_HEAD_BITS: Final = 14
_WORD_BITS: Final = 16
_SROM_BASE: Final = r.SERIAL_SELECT_SROM | r.SERIAL_READ
# Each write of the register takes longer than the buses' shortest clock phases (250 and 200 ns), so no delay is needed.


class SerialBus:
    """Both buses, through the card's registers."""

    def __init__(self, registers: Region) -> None:
        self._registers = registers

    def read_srom(self, word: int) -> int:
        """A 16-bit word of the SROM."""
        registers = self._registers
        registers.write32(_CSR9, _SROM_BASE)
        registers.write32(_CSR9, _SROM_BASE | r.SROM_CHIP_SELECT)
        command = _SROM_READ << r.SROM_ADDRESS_BITS | word
        for bit in range(r.SROM_ADDRESS_BITS + 2, -1, -1):
            data = r.SROM_DATA_IN if command >> bit & 1 else 0
            registers.write32(_CSR9, _SROM_BASE | r.SROM_CHIP_SELECT | data)
            registers.write32(_CSR9, _SROM_BASE | r.SROM_CHIP_SELECT | data | r.SROM_CLOCK)
        value = 0
        registers.write32(_CSR9, _SROM_BASE | r.SROM_CHIP_SELECT)
        for _ in range(_WORD_BITS):
            registers.write32(_CSR9, _SROM_BASE | r.SROM_CHIP_SELECT | r.SROM_CLOCK)
            value = value << 1 | bool(registers.read32(_CSR9) & r.SROM_DATA_OUT)
            registers.write32(_CSR9, _SROM_BASE | r.SROM_CHIP_SELECT)
        registers.write32(_CSR9, _SROM_BASE)
        return value

    def read_mii(self, phy: int, register: int) -> int:
        """A register of a PHY; all ones if nobody answers."""
        registers = self._registers
        for _ in range(_MII_PREAMBLE_BITS):
            self._put_mii(1)
        head = _MII_READ << 10 | phy << 5 | register
        for bit in range(_MII_HEAD_BITS - 1, -1, -1):
            self._put_mii(head >> bit & 1)
        value = 0
        for _ in range(_WORD_BITS + 2):  # two bits of turn-around, then the word
            registers.write32(_CSR9, r.MII_READ_MODE)
            value = value << 1 | bool(registers.read32(_CSR9) & r.MII_DATA_IN)
            registers.write32(_CSR9, r.MII_READ_MODE | r.MII_CLOCK)
        return value & 0xFFFF

    def _put_mii(self, bit: int) -> None:
        data = r.MII_DATA_OUT if bit else 0
        self._registers.write32(_CSR9, data)
        self._registers.write32(_CSR9, data | r.MII_CLOCK)


class SromPins:
    """A 93C46 at the card's pins."""

    def __init__(self, words: list[int]) -> None:
        self.words = words
        self.data_out = False
        self._clock = False
        self._command: int | None = None
        """Bits so far, after the start bit; None before it."""
        self._bits = 0
        self._output: list[bool] = []

    def pins(self, value: int) -> None:
        """The card's register was written."""
        if not value & r.SROM_CHIP_SELECT:
            self._command, self._output, self.data_out = None, [], False
            self._clock = bool(value & r.SROM_CLOCK)
            return
        clock = bool(value & r.SROM_CLOCK)
        if clock and not self._clock:
            self._rising(bool(value & r.SROM_DATA_IN))
        self._clock = clock

    def _rising(self, bit: bool) -> None:
        if self._output:
            self.data_out = self._output.pop(0)
            return
        if self._command is None:
            if bit:
                self._command, self._bits = 0, 0
            return
        self._command = self._command << 1 | bit
        self._bits += 1
        if self._bits == r.SROM_ADDRESS_BITS + 2 and self._command >> r.SROM_ADDRESS_BITS == 0b10:
            word = self.words[self._command & (1 << r.SROM_ADDRESS_BITS) - 1]
            self._output = [bool(word >> place & 1) for place in range(_WORD_BITS - 1, -1, -1)]
            self.data_out = False  # the dummy bit before the word


class MiiPins:
    """A PHY at the card's management pins. ``read(register)`` gives its registers."""

    def __init__(self, phy: int, read: Callable[[int], int]) -> None:
        self.phy = phy
        self.read = read
        self.data_in = True
        self._clock = False
        self._shifted = 0
        self._output: list[bool] = []

    def pins(self, value: int) -> None:
        """The card's register was written."""
        clock = bool(value & r.MII_CLOCK)
        if clock and not self._clock:
            if value & r.MII_READ_MODE:
                self._next_bit()
            else:
                self._shifted = (self._shifted << 1 | bool(value & r.MII_DATA_OUT)) & ((1 << 46) - 1)
                self._look_for_command()
        self._clock = clock

    def _look_for_command(self) -> None:
        head = self._shifted & (1 << _MII_HEAD_BITS) - 1
        if self._shifted >> _MII_HEAD_BITS == (1 << _MII_PREAMBLE_BITS) - 1 and head >> 10 == _MII_READ:
            self._shifted = 0
            if head >> 5 & 31 == self.phy:
                word = self.read(head & 31)
                bits = [bool(word >> place & 1) for place in range(_WORD_BITS - 1, -1, -1)]
                self._output = [False, *bits]
                self.data_in = True  # the first bit of the turn-around floats

    def _next_bit(self) -> None:
        self.data_in = self._output.pop(0) if self._output else True
