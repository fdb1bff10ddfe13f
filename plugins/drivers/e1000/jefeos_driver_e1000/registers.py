"""Registers and descriptors of the 82540EM; the driver and the model both read this page.

Source: PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (Intel 317453, "SDM"), chapter 13
for registers, 3.2.3 for receive and 3.3.3 for transmit descriptors. Access: R read, W write, RC read clears.

Bits are plain numbers: they are used for every frame, and the operators of an enumeration take many times as long.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct as Packing
from typing import Final

VENDOR_INTEL: Final = 0x8086
DEVICE_82540EM: Final = 0x100E
CLASS_ETHERNET: Final = 0x020000
REGISTER_BYTES: Final = 128 << 10
IO_BYTES: Final = 64


class Register(IntEnum):
    """Offsets in BAR 0."""

    CTRL = 0x0000  # R/W device control
    STATUS = 0x0008  # R device status
    EECD = 0x0010  # R/W EEPROM control
    EERD = 0x0014  # R/W EEPROM read
    CTRL_EXT = 0x0018  # R/W
    MDIC = 0x0020  # R/W PHY access
    FCAL = 0x0028  # R/W flow control address
    FCAH = 0x002C
    FCT = 0x0030
    ICR = 0x00C0  # RC interrupt cause read
    ITR = 0x00C4  # R/W interrupt throttling
    ICS = 0x00C8  # W interrupt cause set
    IMS = 0x00D0  # R/W interrupt mask set
    IMC = 0x00D8  # W interrupt mask clear
    RCTL = 0x0100  # R/W receive control
    FCTTV = 0x0170
    TCTL = 0x0400  # R/W transmit control
    TIPG = 0x0410  # R/W inter-packet gap
    RDBAL = 0x2800  # R/W receive descriptor ring: address
    RDBAH = 0x2804
    RDLEN = 0x2808  # R/W length in bytes
    RDH = 0x2810  # R/W head: the card's
    RDT = 0x2818  # R/W tail: the driver's
    RDTR = 0x2820  # R/W receive delay timer
    RADV = 0x282C
    TDBAL = 0x3800  # R/W transmit descriptor ring
    TDBAH = 0x3804
    TDLEN = 0x3808
    TDH = 0x3810
    TDT = 0x3818
    TIDV = 0x3820
    TXDCTL = 0x3828
    CRCERRS = 0x4000  # RC statistics
    MPC = 0x4010  # RC missed packets
    RNBC = 0x40A0  # RC receive no buffers
    GPRC = 0x4074  # RC good packets received
    GPTC = 0x4080  # RC good packets transmitted
    RXCSUM = 0x5000  # R/W receive checksum control
    MTA = 0x5200  # R/W multicast table, 128 words
    RAL0 = 0x5400  # R/W receive address, 16 pairs
    RAH0 = 0x5404


STATISTICS: Final = (0x4000, 0x4128)
"""Where the statistics registers are, all of them RC."""
MTA_WORDS: Final = 128
RECEIVE_ADDRESSES: Final = 16

# CTRL (13.4.1)
CTRL_FULL_DUPLEX: Final = 1 << 0
CTRL_AUTO_SPEED: Final = 1 << 5
CTRL_SET_LINK_UP: Final = 1 << 6
CTRL_RESET: Final = 1 << 26
CTRL_PHY_RESET: Final = 1 << 31

# STATUS (13.4.2)
STATUS_FULL_DUPLEX: Final = 1 << 0
STATUS_LINK_UP: Final = 1 << 1
STATUS_SPEED_SHIFT: Final = 6
STATUS_SPEED_1000: Final = 2 << STATUS_SPEED_SHIFT
SPEEDS_MBPS: Final = (10, 100, 1000, 1000)

# EERD for the 82540EM (13.4.4)
EERD_START: Final = 1 << 0
EERD_DONE: Final = 1 << 4
EERD_ADDRESS_SHIFT: Final = 8
EERD_DATA_SHIFT: Final = 16
EEPROM_WORDS: Final = 64
EEPROM_CHECKSUM_WORD: Final = 0x3F
EEPROM_CHECKSUM: Final = 0xBABA
EECD_PRESENT: Final = 1 << 8

# Interrupt causes (13.4.17)
CAUSE_TX_WRITTEN_BACK: Final = 1 << 0
CAUSE_TX_QUEUE_EMPTY: Final = 1 << 1
CAUSE_LINK: Final = 1 << 2
CAUSE_RX_LOW: Final = 1 << 4
CAUSE_RX_OVERRUN: Final = 1 << 6
CAUSE_RX: Final = 1 << 7
CAUSES: Final = 0x1FFFF

# RCTL (13.4.22)
RCTL_ENABLE: Final = 1 << 1
RCTL_UNICAST_PROMISCUOUS: Final = 1 << 3
RCTL_MULTICAST_PROMISCUOUS: Final = 1 << 4
RCTL_LONG_PACKETS: Final = 1 << 5
RCTL_MULTICAST_SHIFT: Final = 12
RCTL_BROADCAST: Final = 1 << 15
RCTL_STRIP_CRC: Final = 1 << 26
RCTL_BUFFER_SHIFT: Final = 16
RCTL_BUFFER_EXTENDED: Final = 1 << 25
RX_BUFFER_BYTES: Final = 2048

# TCTL (13.4.33), TIPG (13.4.34) with the values that the manual asks for (14.5)
TCTL_ENABLE: Final = 1 << 1
TCTL_PAD_SHORT: Final = 1 << 3
TCTL_COLLISIONS: Final = 0x0F << 4
TCTL_COLLISION_DISTANCE: Final = 0x40 << 12
TIPG_COPPER: Final = 10 | 8 << 10 | 6 << 20

RXCSUM_IP: Final = 1 << 8
RXCSUM_TCP_UDP: Final = 1 << 9
RAH_VALID: Final = 1 << 31

# Multicast table: which 12 bits of the address choose the bit (13.5.1), with RCTL.MO = 0
MTA_SHIFT: Final = 4

DESCRIPTOR_BYTES: Final = 16
RING_GRANULE: Final = 8
"""RDLEN and TDLEN are multiples of 128 bytes."""

# Receive descriptor: address, length, checksum, status, errors, special (3.2.3)
RX_DESCRIPTOR: Final = Packing("<QHHBBH")
RX_LENGTH_OFFSET: Final = 8
RX_STATUS_OFFSET: Final = 12
RX_ERRORS_OFFSET: Final = 13
RX_DONE: Final = 1 << 0
RX_END_OF_PACKET: Final = 1 << 1
RX_IGNORE_CHECKSUM: Final = 1 << 2
RX_TCP_CHECKED: Final = 1 << 5
RX_IP_CHECKED: Final = 1 << 6
RX_TCP_ERROR: Final = 1 << 5
RX_IP_ERROR: Final = 1 << 6
RX_FRAME_ERRORS: Final = 0x97

# Legacy transmit descriptor: address, length, checksum offset, command, status, checksum start, special (3.3.3)
TX_LEGACY: Final = Packing("<QHBBBBH")
# Data descriptor: address, length and type and command, status, options, special (3.3.7)
TX_DATA: Final = Packing("<QIBBH")
# Context descriptor: IP start, offset, end; TCP/UDP start, offset, end; payload and type and command; status, header
# length, segment size (3.3.6)
TX_CONTEXT: Final = Packing("<BBHBBHIBBH")
TX_STATUS_OFFSET: Final = 12
TX_DONE: Final = 1 << 0

TX_END_OF_PACKET: Final = 1 << 0
TX_INSERT_FCS: Final = 1 << 1
TX_INSERT_CHECKSUM: Final = 1 << 2  # legacy
TX_SEGMENT: Final = 1 << 2  # extended
TX_REPORT_STATUS: Final = 1 << 3
TX_EXTENDED: Final = 1 << 5
TX_COMMAND_SHIFT: Final = 24
TX_TYPE_SHIFT: Final = 20
TX_TYPE_CONTEXT: Final = 0
TX_TYPE_DATA: Final = 1
TX_LENGTH_MASK: Final = (1 << 20) - 1
TX_CONTEXT_TCP: Final = 1 << 0
TX_CONTEXT_IPV4: Final = 1 << 1
TX_OPTION_IP_CHECKSUM: Final = 1 << 0
TX_OPTION_TCP_CHECKSUM: Final = 1 << 1

MAXIMUM_LEGACY_BYTES: Final = 1518
JUMBO_BYTES: Final = 16384
SEGMENT_BYTES: Final = 65_550
"""On a wire that carries large TCP segments whole, the model receives them in one piece, which no real card could."""
