"""Sending and receiving on sockets: sendto, recvfrom, sendmsg, recvmsg and their many-message forms."""

from __future__ import annotations

from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Size, UInt, UserPtr

from jefeos_abi_linux.calls_sockets import name_argument, socket_of
from jefeos_abi_linux.files_common import broken_pipe, copy_in, copy_out
from jefeos_abi_linux.socket_messages import (
    MSG_CMSG_CLOEXEC,
    MessageHeader,
    control_argument,
    give_control,
    give_name,
)
from jefeos_abi_linux.sockets import (
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_TRUNC,
    SOCK_DGRAM,
    Received,
    Socket,
    release_files,
)
from jefeos_abi_linux.structs_common import IOV_MAX, MAX_TRANSFER, read_iovecs

MSG_WAITFORONE: Final = 0x10000
MAX_MESSAGES: Final = 1024
_MMSG_BYTES: Final = 64
GATHER_MOST: Final = 16 << 20  # bytes that one sendmsg takes: they are in the host's memory while it waits


# --- sending --------------------------------------------------------------------------------------------------


@syscall("sendto")
def sendto(
    task: Task, fd: Fd, buffer: UserPtr, length: Size, flags: Flags, address: UserPtr, address_length: Int
) -> MaybeAwait[int]:
    """sendto(2) and send(2)."""
    sender = socket_of(task, fd)
    data = copy_in(task.mm, buffer, min(length, MAX_TRANSFER)) if length else b""
    name = name_argument(task, address, address_length) if address else b""
    return _send(task, sender, data, name, b"", flags)


@syscall("sendmsg")
def sendmsg(task: Task, fd: Fd, message: UserPtr, flags: Flags) -> MaybeAwait[int]:
    """sendmsg(2): with files (SCM_RIGHTS), credentials and what else a family knows."""
    return _sendmsg(task, socket_of(task, fd), message, flags)


def _pieces(task: Task, header: MessageHeader) -> list[tuple[int, int]]:
    """The vector of a message. EMSGSIZE where it has too many pieces (for readv(2) that is EINVAL)."""
    if header.msg_iovlen > IOV_MAX:
        raise KernelError(Errno.EMSGSIZE)
    return read_iovecs(task.mm, header.msg_iov, header.msg_iovlen)


def _sendmsg(task: Task, sender: Socket, address: int, flags: int) -> MaybeAwait[int]:
    header = MessageHeader.parse(task.mm.read(address, MessageHeader.size))
    pieces = _pieces(task, header)
    if sum(length for _, length in pieces) > GATHER_MOST:
        if sender.messages_are_whole:
            raise KernelError(Errno.EMSGSIZE)
        pieces = _first_bytes(pieces, GATHER_MOST)
    data = b"".join(task.mm.read(base, length) for base, length in pieces if length)
    name = name_argument(task, header.msg_name, header.msg_namelen) if header.msg_name else b""
    control = control_argument(task, header.msg_control, header.msg_controllen)
    return _send(task, sender, data, name, control, flags)


def _first_bytes(pieces: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """The vector up to ``most`` bytes."""
    first = []
    for base, length in pieces:
        first.append((base, min(length, most)))
        most -= first[-1][1]
    return first


def _send(task: Task, sender: Socket, data: bytes, name: bytes, control: bytes, flags: int) -> MaybeAwait[int]:
    try:
        sent = sender.send_message(task, data, name, control, flags)
    except KernelError as error:
        _not_sent(task, sender, error, flags)
        raise
    return sent if isinstance(sent, int) else _send_later(task, sender, sent, flags)


async def _send_later(task: Task, sender: Socket, pending: Any, flags: int) -> int:
    try:
        return int(await pending)
    except KernelError as error:
        _not_sent(task, sender, error, flags)
        raise


def _not_sent(task: Task, sender: Socket, error: KernelError, flags: int) -> None:
    if error.errno == Errno.EPIPE and not flags & MSG_NOSIGNAL and sender.kind != SOCK_DGRAM:
        broken_pipe(task)


@syscall("sendmmsg")
async def sendmmsg(task: Task, fd: Fd, messages: UserPtr, count: UInt, flags: Flags) -> int:
    """sendmmsg(2): as many as go; an error counts only if it is the first's."""
    sender = socket_of(task, fd)
    done = 0
    while done < min(count, MAX_MESSAGES):
        address = messages + done * _MMSG_BYTES
        try:
            sent: Any = _sendmsg(task, sender, address, flags)
            if not isinstance(sent, int):
                sent = await sent
        except KernelError:
            if done:
                break
            raise
        task.mm.write_u32(address + MessageHeader.size, sent)
        done += 1
    return done


# --- receiving ------------------------------------------------------------------------------------------------


@syscall("recvfrom")
def recvfrom(
    task: Task, fd: Fd, buffer: UserPtr, length: Size, flags: Flags, address: UserPtr, address_length: UserPtr
) -> MaybeAwait[int]:
    """recvfrom(2) and recv(2). Files that came along are let go."""
    receiver = socket_of(task, fd)
    taken = receiver.receive_message(task, min(length, MAX_TRANSFER), flags)
    if isinstance(taken, Received):
        return _received(task, receiver, taken, buffer, length, flags, address, address_length)
    return _received_later(task, receiver, taken, buffer, length, flags, address, address_length)


async def _received_later(task: Task, receiver: Socket, pending: Any, *rest: int) -> int:
    return _received(task, receiver, await pending, *rest)


def _received(
    task: Task,
    receiver: Socket,
    received: Received,
    buffer: int,
    length: int,
    flags: int,
    address: int,
    address_length: int,
) -> int:
    release_files(received.files)
    data = received.data[:length]
    if data:
        copy_out(task.mm, buffer, data)
    if address and address_length:
        if received.name:
            give_name(task, received.name, address, address_length)
        else:
            task.mm.write_u32(address_length, 0)
    return _count(receiver, received, len(data), flags)


def _count(receiver: Socket, received: Received, copied: int, flags: int) -> int:
    """What a receive call gives: with MSG_TRUNC the length that the message really had."""
    if flags & MSG_TRUNC and receiver.messages_are_whole:
        return received.length if received.length >= 0 else len(received.data)
    return copied


@syscall("recvmsg")
def recvmsg(task: Task, fd: Fd, message: UserPtr, flags: Flags) -> MaybeAwait[int]:
    """recvmsg(2)."""
    return _recvmsg(task, socket_of(task, fd), message, flags)


def _recvmsg(task: Task, receiver: Socket, address: int, flags: int) -> MaybeAwait[int]:
    header = MessageHeader.parse(task.mm.read(address, MessageHeader.size))
    pieces = _pieces(task, header)
    taken = receiver.receive_message(task, sum(length for _, length in pieces), flags)
    if isinstance(taken, Received):
        return _message_received(task, receiver, taken, header, pieces, address, flags)
    return _recvmsg_later(task, receiver, taken, header, pieces, address, flags)


async def _recvmsg_later(
    task: Task,
    receiver: Socket,
    pending: Any,
    header: MessageHeader,
    pieces: list[tuple[int, int]],
    address: int,
    flags: int,
) -> int:
    return _message_received(task, receiver, await pending, header, pieces, address, flags)


def _message_received(
    task: Task,
    receiver: Socket,
    received: Received,
    header: MessageHeader,
    pieces: list[tuple[int, int]],
    address: int,
    flags: int,
) -> int:
    mm = task.mm
    done = 0
    try:
        for base, length in pieces:
            part = received.data[done : done + length]
            if part:
                mm.write(base, part)
                done += len(part)
    except KernelError:  # the message is lost, as on Linux
        release_files(received.files)
        raise
    header.msg_controllen, out_flags = give_control(
        task, received, header.msg_control, header.msg_controllen, cloexec=bool(flags & MSG_CMSG_CLOEXEC)
    )
    if receiver.messages_are_whole and done < max(received.length, len(received.data)):
        out_flags |= MSG_TRUNC
    if header.msg_name:
        mm.write(header.msg_name, received.name[: max(header.msg_namelen, 0)])
        header.msg_namelen = len(received.name)
    header.msg_flags = out_flags | received.flags | (flags & MSG_CMSG_CLOEXEC)
    mm.write(address, header.pack())
    return _count(receiver, received, done, flags)


@syscall("recvmmsg")
async def recvmmsg(
    task: Task, fd: Fd, messages: UserPtr, count: UInt, flags: Flags, timeout: UserPtr
) -> int:
    """recvmmsg(2). The time-out is not looked at: as on Linux, it would be only between messages."""
    receiver = socket_of(task, fd)
    done = 0
    while done < min(count, MAX_MESSAGES):
        address = messages + done * _MMSG_BYTES
        wanted = flags | (MSG_DONTWAIT if flags & MSG_WAITFORONE and done else 0)
        try:
            taken: Any = _recvmsg(task, receiver, address, wanted & ~MSG_WAITFORONE)
            if not isinstance(taken, int):
                taken = await taken
        except KernelError:
            if done:
                break
            raise
        task.mm.write_u32(address + MessageHeader.size, taken)
        done += 1
    return done
