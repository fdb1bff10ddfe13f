"""Registers, descriptors and SROM of the 21140 and 21143; the driver and the model both read this page.

Sources: DIGITAL Semiconductor 21143 Hardware Reference Manual (EC-QWC4F-TE, "HRM"), chapter 3 for the CSRs, 4.2 for
descriptors and setup frames; Serial ROM Format version 4.05 (EC-QPQ6A). Access: R read, W write, W1C cleared by ones.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct as Packing
from typing import Final

VENDOR_DEC: Final = 0x1011
DEVICE_21140: Final = 0x0009
DEVICE_21143: Final = 0x0019
CLASS_ETHERNET: Final = 0x020000
REGISTER_BYTES: Final = 128


class Csr(IntEnum):
    """Offsets of the command and status registers: eight bytes apart, in ports and in memory."""

    BUS_MODE = 0x00  # CSR0 R/W
    TRANSMIT_POLL = 0x08  # CSR1 W
    RECEIVE_POLL = 0x10  # CSR2 W
    RECEIVE_LIST = 0x18  # CSR3 R/W
    TRANSMIT_LIST = 0x20  # CSR4 R/W
    STATUS = 0x28  # CSR5 R/W1C
    OPERATION_MODE = 0x30  # CSR6 R/W
    INTERRUPT_ENABLE = 0x38  # CSR7 R/W
    MISSED_FRAMES = 0x40  # CSR8 R, cleared by reading
    SERIAL = 0x48  # CSR9 R/W: SROM and MII management
    TIMER = 0x58  # CSR11
    SIA_STATUS = 0x60  # CSR12
    SIA_CONNECTIVITY = 0x68  # CSR13
    SIA_TRANSMIT = 0x70  # CSR14
    SIA_GENERAL = 0x78  # CSR15


# CSR0
BUS_MODE_RESET: Final = 1 << 0
BUS_MODE_BURST_16: Final = 16 << 8
BUS_MODE_ALIGN_16: Final = 2 << 14

# CSR5 and, with the same places, CSR7
STATUS_TRANSMITTED: Final = 1 << 0
STATUS_TRANSMIT_STOPPED: Final = 1 << 1
STATUS_TRANSMIT_IDLE: Final = 1 << 2
STATUS_RECEIVED: Final = 1 << 6
STATUS_RECEIVE_IDLE: Final = 1 << 7
STATUS_RECEIVE_STOPPED: Final = 1 << 8
STATUS_BUS_ERROR: Final = 1 << 13
STATUS_ABNORMAL: Final = 1 << 15
STATUS_NORMAL: Final = 1 << 16
STATUS_CLEARED_BY_ONES: Final = 0x0001_FFFF
NORMAL_CAUSES: Final = STATUS_TRANSMITTED | STATUS_TRANSMIT_IDLE | STATUS_RECEIVED
ABNORMAL_CAUSES: Final = (
    STATUS_TRANSMIT_STOPPED | STATUS_RECEIVE_IDLE | STATUS_RECEIVE_STOPPED | STATUS_BUS_ERROR
)

# CSR6
MODE_RECEIVE: Final = 1 << 1
MODE_PROMISCUOUS: Final = 1 << 6
MODE_ALL_MULTICAST: Final = 1 << 7
MODE_FULL_DUPLEX: Final = 1 << 9
MODE_TRANSMIT: Final = 1 << 13
MODE_MII_PORT: Final = 1 << 18
MODE_NO_HEARTBEAT: Final = 1 << 19
MODE_STORE_AND_FORWARD: Final = 1 << 21
MODE_MUST_BE_ONE: Final = 1 << 25

# CSR8: missed frames, and bit 16 if there were more
MISSED_MASK: Final = 0xFFFF
MISSED_OVERFLOW: Final = 1 << 16

# CSR9: the SROM's pins, the MII management pins
SROM_CHIP_SELECT: Final = 1 << 0
SROM_CLOCK: Final = 1 << 1
SROM_DATA_IN: Final = 1 << 2
SROM_DATA_OUT: Final = 1 << 3
SERIAL_SELECT_SROM: Final = 1 << 11
SERIAL_WRITE: Final = 1 << 13
SERIAL_READ: Final = 1 << 14
MII_CLOCK: Final = 1 << 16
MII_DATA_OUT: Final = 1 << 17
MII_READ_MODE: Final = 1 << 18
MII_DATA_IN: Final = 1 << 19

# Descriptors: status, control, buffer 1, buffer 2 or the next descriptor (4.2)
DESCRIPTOR: Final = Packing("<IIII")
DESCRIPTOR_BYTES: Final = 16
OWNED_BY_CARD: Final = 1 << 31
ERROR_SUMMARY: Final = 1 << 15

RX_LENGTH_SHIFT: Final = 16
RX_LENGTH_MASK: Final = 0x3FFF
RX_MULTICAST: Final = 1 << 10
RX_FIRST: Final = 1 << 9
RX_LAST: Final = 1 << 8
RX_CRC_ERROR: Final = 1 << 1
CRC_BYTES: Final = 4

TX_INTERRUPT: Final = 1 << 31
TX_LAST: Final = 1 << 30
TX_FIRST: Final = 1 << 29
TX_SETUP: Final = 1 << 27
END_OF_RING: Final = 1 << 25
CHAINED: Final = 1 << 24
BUFFER_SIZE_MASK: Final = 0x7FF
SECOND_SIZE_SHIFT: Final = 11

# Setup frame for perfect filtering: 16 addresses, each in the lower halves of three words (4.2.3)
SETUP_BYTES: Final = 192
SETUP_ADDRESSES: Final = 16
SETUP_ADDRESS_BYTES: Final = 12

# SROM: 64 words; the address, and the checksum in the last word
SROM_WORDS: Final = 64
SROM_ADDRESS_BITS: Final = 6
SROM_MAC_OFFSET: Final = 20
SROM_CHECKED_BYTES: Final = 126

# MII registers (IEEE 802.3, 22.2.4)
MII_STATUS: Final = 1
MII_STATUS_LINK: Final = 1 << 2
MII_PHYS: Final = 32


def pack_setup_frame(addresses: list[bytes]) -> bytes:
    """A setup frame for perfect filtering; the first address fills the unused places."""
    frame = bytearray()
    for index in range(SETUP_ADDRESSES):
        address = addresses[index] if index < len(addresses) else addresses[0]
        for at in (0, 2, 4):
            frame += address[at : at + 2] + b"\0\0"
    return bytes(frame)


def unpack_setup_frame(frame: bytes | memoryview) -> set[bytes]:
    """The addresses of a setup frame."""
    found = set()
    for start in range(0, SETUP_BYTES, SETUP_ADDRESS_BYTES):
        found.add(b"".join(bytes(frame[start + at : start + at + 2]) for at in (0, 4, 8)))
    return found


def srom_checksum(data: bytes) -> int:
    """The checksum in the SROM's last word: the lower half of an inverted CRC-32 (SROM format, appendix A)."""
    import zlib

    return zlib.crc32(data[:SROM_CHECKED_BYTES]) & 0xFFFF
