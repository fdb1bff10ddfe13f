"""Sending and receiving on sockets: sendto, recvfrom, sendmsg, recvmsg and their many-message forms."""

from __future__ import annotations

from typing import Any, Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.sched.wait import MaybeAwait
from jefeos.syscall.declare import syscall
from jefeos.syscall.types import Fd, Flags, Int, Size, UInt, UserPtr

from jefeos_abi_linux.calls_sockets import find_socket, identity_of, socket_of
from jefeos_abi_linux.files_common import broken_pipe, copy_in, copy_out
from jefeos_abi_linux.socket_messages import (
    MSG_CMSG_CLOEXEC,
    MSG_TRUNC,
    MessageHeader,
    give_control,
    give_name,
    name_bytes,
    read_control,
    read_name,
)
from jefeos_abi_linux.structs_common import IOV_MAX, MAX_TRANSFER, read_iovecs
from jefeos_abi_linux.unix_sockets import SOCK_DGRAM, SOCK_STREAM, Message, UnixSocket, release_files

MSG_OOB: Final = 0x1
MSG_PEEK: Final = 0x2
MSG_DONTWAIT: Final = 0x40
MSG_WAITALL: Final = 0x100
MSG_NOSIGNAL: Final = 0x4000
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
    target = _target(task, sender, address, address_length)
    return _send(task, sender, Message(data, [], identity_of(task), sender.name), target, flags)


@syscall("sendmsg")
def sendmsg(task: Task, fd: Fd, message: UserPtr, flags: Flags) -> MaybeAwait[int]:
    """sendmsg(2): with files (SCM_RIGHTS) and credentials."""
    return _sendmsg(task, socket_of(task, fd), message, flags)


def _pieces(task: Task, header: MessageHeader) -> list[tuple[int, int]]:
    """The vector of a message. EMSGSIZE where it has too many pieces (for readv(2) that is EINVAL)."""
    if header.msg_iovlen > IOV_MAX:
        raise KernelError(Errno.EMSGSIZE)
    return read_iovecs(task.mm, header.msg_iov, header.msg_iovlen)


def _sendmsg(task: Task, sender: UnixSocket, address: int, flags: int) -> MaybeAwait[int]:
    header = MessageHeader.parse(task.mm.read(address, MessageHeader.size))
    pieces = _pieces(task, header)
    if sum(length for _, length in pieces) > GATHER_MOST:
        if sender.kind != SOCK_STREAM:
            raise KernelError(Errno.EMSGSIZE)
        pieces = _first_bytes(pieces, GATHER_MOST)
    data = b"".join(task.mm.read(base, length) for base, length in pieces if length)
    target = _target(task, sender, header.msg_name, header.msg_namelen)
    files, identity = read_control(task, header.msg_control, header.msg_controllen)
    message = Message(data, files, identity or identity_of(task), sender.name)
    return _send(task, sender, message, target, flags)


def _first_bytes(pieces: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """The vector up to ``most`` bytes."""
    first = []
    for base, length in pieces:
        first.append((base, min(length, most)))
        most -= first[-1][1]
    return first


def _target(task: Task, sender: UnixSocket, address: int, length: int) -> UnixSocket | None:
    """Whom a message is for: None is the peer."""
    if not address or not length:
        return None
    if sender.kind != SOCK_DGRAM:
        raise KernelError(Errno.EISCONN if sender.connected else Errno.EOPNOTSUPP)
    target = find_socket(task, read_name(task, address, length), sender.kind)
    if target.kind != sender.kind:
        raise KernelError(Errno.EPROTOTYPE)
    return target


def _send(
    task: Task, sender: UnixSocket, message: Message, target: UnixSocket | None, flags: int
) -> MaybeAwait[int]:
    try:
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        if not message.data and sender.kind == SOCK_STREAM and sender.connected:
            release_files(message.files)
            return 0
        nonblock = sender.nonblocking or bool(flags & MSG_DONTWAIT)
        sent = sender.send(message, target, nonblock=nonblock)
    except KernelError as error:
        _not_sent(task, sender, message, error, flags)
        raise
    return sent if isinstance(sent, int) else _send_later(task, sender, message, sent, flags)


async def _send_later(task: Task, sender: UnixSocket, message: Message, pending: Any, flags: int) -> int:
    try:
        return int(await pending)
    except KernelError as error:
        _not_sent(task, sender, message, error, flags)
        raise
    except BaseException:  # the sender is gone
        release_files(message.files)
        raise


def _not_sent(task: Task, sender: UnixSocket, message: Message, error: KernelError, flags: int) -> None:
    release_files(message.files)
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


def _receive(receiver: UnixSocket, count: int, flags: int) -> MaybeAwait[Message]:
    if flags & MSG_OOB:
        raise KernelError(Errno.EOPNOTSUPP)
    return receiver.receive(
        count,
        peek=bool(flags & MSG_PEEK),
        whole=bool(flags & MSG_WAITALL),
        nonblock=receiver.nonblocking or bool(flags & MSG_DONTWAIT),
    )


@syscall("recvfrom")
def recvfrom(
    task: Task, fd: Fd, buffer: UserPtr, length: Size, flags: Flags, address: UserPtr, address_length: UserPtr
) -> MaybeAwait[int]:
    """recvfrom(2) and recv(2). Files that came along are let go."""
    receiver = socket_of(task, fd)
    taken = _receive(receiver, min(length, MAX_TRANSFER), flags)
    if isinstance(taken, Message):
        return _received(task, receiver, taken, buffer, length, flags, address, address_length)
    return _received_later(task, receiver, taken, buffer, length, flags, address, address_length)


async def _received_later(task: Task, receiver: UnixSocket, pending: Any, *rest: int) -> int:
    return _received(task, receiver, await pending, *rest)


def _received(
    task: Task,
    receiver: UnixSocket,
    message: Message,
    buffer: int,
    length: int,
    flags: int,
    address: int,
    address_length: int,
) -> int:
    if not flags & MSG_PEEK:
        release_files(message.files)
    data = message.data[:length]
    if data:
        copy_out(task.mm, buffer, data)
    if address and address_length:
        if receiver.kind == SOCK_STREAM:
            task.mm.write_u32(address_length, 0)
        elif message.name:
            give_name(task, message.name, address, address_length)
        else:
            task.mm.write_u32(address_length, 0)
    return len(message.data) if flags & MSG_TRUNC and receiver.kind != SOCK_STREAM else len(data)


@syscall("recvmsg")
def recvmsg(task: Task, fd: Fd, message: UserPtr, flags: Flags) -> MaybeAwait[int]:
    """recvmsg(2)."""
    return _recvmsg(task, socket_of(task, fd), message, flags)


def _recvmsg(task: Task, receiver: UnixSocket, address: int, flags: int) -> MaybeAwait[int]:
    header = MessageHeader.parse(task.mm.read(address, MessageHeader.size))
    pieces = _pieces(task, header)
    taken = _receive(receiver, sum(length for _, length in pieces), flags)
    if isinstance(taken, Message):
        return _message_received(task, receiver, taken, header, pieces, address, flags)
    return _recvmsg_later(task, receiver, taken, header, pieces, address, flags)


async def _recvmsg_later(
    task: Task,
    receiver: UnixSocket,
    pending: Any,
    header: MessageHeader,
    pieces: list[tuple[int, int]],
    address: int,
    flags: int,
) -> int:
    return _message_received(task, receiver, await pending, header, pieces, address, flags)


def _message_received(
    task: Task,
    receiver: UnixSocket,
    message: Message,
    header: MessageHeader,
    pieces: list[tuple[int, int]],
    address: int,
    flags: int,
) -> int:
    mm = task.mm
    files = [file.ref() for file in message.files] if flags & MSG_PEEK else message.files
    done = 0
    try:
        for base, length in pieces:
            part = message.data[done : done + length]
            if part:
                mm.write(base, part)
                done += len(part)
    except KernelError:  # the message is lost, as on Linux
        release_files(files)
        raise
    ended = message.sender[0] == -1
    identity = message.sender if receiver.pass_credentials else None
    if identity is not None and ended:  # the end of a stream comes from nobody
        identity = (0, 0, 0) if receiver.kind == SOCK_STREAM else None
    cloexec = bool(flags & MSG_CMSG_CLOEXEC)
    header.msg_controllen, out_flags = give_control(
        task, files, identity, header.msg_control, header.msg_controllen, cloexec=cloexec
    )
    if receiver.kind != SOCK_STREAM and done < len(message.data):
        out_flags |= MSG_TRUNC
    if header.msg_name:
        name = name_bytes(message.name) if message.name and receiver.kind != SOCK_STREAM else b""
        mm.write(header.msg_name, name[: max(header.msg_namelen, 0)])
        header.msg_namelen = len(name)
    header.msg_flags = out_flags | (flags & MSG_CMSG_CLOEXEC)
    mm.write(address, header.pack())
    return len(message.data) if flags & MSG_TRUNC and receiver.kind != SOCK_STREAM else done


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
