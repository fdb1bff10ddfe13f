"""Filters of sock_diag requests: the small programs that `ss` makes of ``sport = :22`` (linux/inet_diag.h).

    struct inet_diag_bc_op     u8 code, u8 yes, u16 no     where to go on, in bytes from this instruction
    port comparisons           followed by another one whose ``no`` is the port
    addresses                  struct inet_diag_hostcond: family, prefix length, port (-1: any), address
    device, mark               followed by a u32, or a mark and its mask

A program accepts when it comes out exactly at its end, and refuses when it comes out 4 bytes behind it. It is checked
once, as Linux does it: every instruction lies within, jumps lead forward to where an instruction begins.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen
from jefeos.errors import Errno, KernelError
from jefeos.net.address import AF_INET, AF_INET6, MAPPED_PREFIX, SocketAddress
from jefeos.net.stack import SocketInfo

NOP, JMP, S_GE, S_LE, D_GE, D_LE, AUTO, S_COND, D_COND, DEV_COND, MARK_COND, S_EQ, D_EQ, CGROUP_COND = range(14)
_PORTS: Final = (S_GE, S_LE, S_EQ, D_GE, D_LE, D_EQ)
_INSTRUCTION: Final = struct.Struct("<BBH")
_HOST: Final = struct.Struct("<BBxxi")
_ADDRESS_BYTES: Final = {0: 0, AF_INET: 4, AF_INET6: 16}


@frozen
class _Host:
    """An address with its prefix, and a port; -1 is any."""

    family: int
    prefix_length: int
    port: int
    address: bytes


class SocketFilter:
    """A checked program. Raises KernelError(EINVAL) for a bad one."""

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._steps: dict[int, tuple[int, int, int, _Host | int | None]] = {}
        """At each offset where an instruction begins: code, yes, no, what it compares with."""
        position = 0
        targets: set[int] = set()
        while position < len(code):
            kind, yes, no, operand, least = self._read(position)
            if kind != NOP:
                if no < 4 or no % 4 or position + no > len(code) + 4:
                    raise KernelError(Errno.EINVAL)
                if position + no < len(code):
                    targets.add(position + no)
            if yes < least or yes % 4 or position + yes > len(code) + 4:
                raise KernelError(Errno.EINVAL)
            self._steps[position] = (kind, yes, no, operand)
            position += yes
        if targets - self._steps.keys():
            raise KernelError(Errno.EINVAL)

    def _read(self, position: int) -> tuple[int, int, int, _Host | int | None, int]:
        """The instruction there, its operand, and the least that ``yes`` may be."""
        code = self._code
        if position + _INSTRUCTION.size > len(code):
            raise KernelError(Errno.EINVAL)
        kind, yes, no = _INSTRUCTION.unpack_from(code, position)
        rest = code[position + _INSTRUCTION.size :]
        if kind in _PORTS and len(rest) >= _INSTRUCTION.size:
            return kind, yes, no, _INSTRUCTION.unpack_from(rest)[2], 2 * _INSTRUCTION.size
        if kind == DEV_COND and len(rest) >= 4:
            return kind, yes, no, int.from_bytes(rest[:4], "little"), 8
        if kind in (S_COND, D_COND) and len(rest) >= _HOST.size:
            family, length, port = _HOST.unpack_from(rest)
            size = _ADDRESS_BYTES.get(family)
            address = rest[_HOST.size : _HOST.size + (size or 0)]
            if size is None or length > 8 * size or len(address) < size:
                raise KernelError(Errno.EINVAL)
            return kind, yes, no, _Host(family, length, port, address), _INSTRUCTION.size + _HOST.size + size
        if kind in (NOP, JMP, AUTO):
            return kind, yes, no, None, _INSTRUCTION.size
        raise KernelError(Errno.EINVAL)  # also marks and control groups, which sockets do not have here

    def accepts(self, info: SocketInfo) -> bool:
        """Whether the program lets a socket through."""
        position = 0
        while position in self._steps:
            kind, yes, no, operand = self._steps[position]
            position += yes if self._holds(kind, operand, info) else no
        return position == len(self._code)

    def _holds(self, kind: int, operand: _Host | int | None, info: SocketInfo) -> bool:
        if kind in (NOP, JMP, AUTO):  # nothing here chooses ports in place of bind
            return kind == NOP
        if isinstance(operand, _Host):
            return _matches(operand, info.local if kind == S_COND else info.remote, info.family)
        assert operand is not None
        if kind == DEV_COND:
            return bool(info.details.get("device", 0) == operand)
        end = info.local if kind in (S_GE, S_LE, S_EQ) else info.remote
        port = end.port if end is not None else 0
        if kind in (S_EQ, D_EQ):
            return port == operand
        return port >= operand if kind in (S_GE, D_GE) else port <= operand


def _matches(wanted: _Host, end: SocketAddress | None, family: int) -> bool:
    if wanted.port not in (-1, end.port if end is not None else 0):
        return False
    if wanted.family == 0 or not wanted.prefix_length and wanted.family == family:
        return True
    address = end.address if end is not None and end.address else bytes(16 if family == AF_INET6 else 4)
    if wanted.family == AF_INET and address.startswith(MAPPED_PREFIX):
        address = address[12:]
    if len(address) != len(wanted.address):
        return False
    shift = 8 * len(address) - wanted.prefix_length
    return int.from_bytes(address, "big") >> shift == int.from_bytes(wanted.address, "big") >> shift
