"""Flags of network interfaces: apart from `jefeos.net.stack`, as /proc and /sys know them before there is a stack."""

from __future__ import annotations

from enum import IntFlag


class InterfaceFlags(IntFlag):
    """Linux's IFF_* (netdevice(7))."""

    UP = 0x1
    BROADCAST = 0x2
    LOOPBACK = 0x8
    POINTOPOINT = 0x10
    RUNNING = 0x40
    NOARP = 0x80
    PROMISC = 0x100
    ALLMULTI = 0x200
    MULTICAST = 0x1000
    LOWER_UP = 0x10000
