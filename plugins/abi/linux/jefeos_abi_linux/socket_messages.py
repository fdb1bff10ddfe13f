"""Addresses, message headers and control data of the socket calls, as Linux lays them out (sys/socket.h, unix(7)).

    struct sockaddr_un   u16 family, up to 108 bytes: a path with NUL, or NUL and an abstract name
    struct msghdr        name, name length, vector, its count, control, its length, flags
    struct cmsghdr       u64 length, level, type, data; padded to 8 bytes
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.structs import Struct, pad, s32, u64
from jefeos.vfs.file import File

from jefeos_abi_linux.sockets import AF_UNIX, MSG_CTRUNC, SOL_SOCKET, Identity, Received

SCM_RIGHTS: Final = 1
SCM_CREDENTIALS: Final = 2
MSG_CMSG_CLOEXEC: Final = 0x4000_0000
PATH_BYTES: Final = 108
MAX_NAME_BYTES: Final = 128
"""sizeof(struct sockaddr_storage)."""
MAX_PASSED_FILES: Final = 253
MAX_CONTROL_BYTES: Final = 65536
_CMSG: Final = struct.Struct("<QiI")
_UCRED: Final = struct.Struct("<iII")


class MessageHeader(Struct):
    """struct msghdr."""

    msg_name: int = u64()
    msg_namelen: int = s32()
    _pad0 = pad(4)
    msg_iov: int = u64()
    msg_iovlen: int = u64()
    msg_control: int = u64()
    msg_controllen: int = u64()
    msg_flags: int = s32()
    _pad1 = pad(4)


def read_name(data: bytes) -> bytes:
    """The name in a sockaddr_un: a path without NUL, an abstract name with its leading NUL, b"" for none."""
    if not 2 <= len(data) <= 2 + PATH_BYTES:
        raise KernelError(Errno.EINVAL)
    if int.from_bytes(data[:2], "little") != AF_UNIX:
        raise KernelError(Errno.EINVAL)
    name = data[2:]
    return name if name[:1] == b"\0" else name.partition(b"\0")[0]


def name_bytes(name: bytes) -> bytes:
    """The sockaddr_un of a name."""
    head = AF_UNIX.to_bytes(2, "little")
    if not name:
        return head
    return head + name if name[:1] == b"\0" else head + name + b"\0"


def give_name(task: Task, data: bytes, address: int, length_address: int) -> None:
    """A sockaddr into the program's buffer, cut to its length; the true length goes back."""
    room = (task.mm.read_u32(length_address) ^ 0x8000_0000) - 0x8000_0000
    if room < 0:
        raise KernelError(Errno.EINVAL)
    if address:
        task.mm.write(address, data[:room])
    task.mm.write_u32(length_address, len(data))


def control_argument(task: Task, address: int, length: int) -> bytes:
    """Control data from the program. ENOBUFS, EFAULT."""
    if not address or not length:
        return b""
    if length > MAX_CONTROL_BYTES:
        raise KernelError(Errno.ENOBUFS)
    return task.mm.read(address, length)


def control_records(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Level, type and body of each record. EINVAL for a length that does not fit."""
    position = 0
    while position + _CMSG.size <= len(data):
        size, level, kind = _CMSG.unpack_from(data, position)
        if size < _CMSG.size or position + size > len(data):
            raise KernelError(Errno.EINVAL)
        yield level, kind, data[position + _CMSG.size : position + size]
        position += (size + 7) & ~7


def read_control(task: Task, data: bytes) -> tuple[list[File], Identity | None]:
    """The files to be passed (with a reference each) and the credentials to be claimed. EINVAL, EBADF, EPERM."""
    files: list[File] = []
    identity: Identity | None = None
    try:
        for level, kind, body in control_records(data):
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                for start in range(0, len(body) // 4 * 4, 4):
                    fd = int.from_bytes(body[start : start + 4], "little", signed=True)
                    files.append(task.files.get(fd).ref())
                if len(files) > MAX_PASSED_FILES:
                    raise KernelError(Errno.EINVAL)
            elif level == SOL_SOCKET and kind == SCM_CREDENTIALS:
                identity = _claimed(task, body)
            elif level == SOL_SOCKET:
                raise KernelError(Errno.EINVAL)
    except KernelError:
        for file in files:
            file.unref()
        raise
    return files, identity


def _claimed(task: Task, body: bytes) -> Identity:
    if len(body) != _UCRED.size:
        raise KernelError(Errno.EINVAL)
    pid, uid, gid = _UCRED.unpack(body)
    creds = task.creds
    own = uid in (creds.uid, creds.euid, creds.suid) and gid in (creds.gid, creds.egid, creds.sgid)
    if not creds.privileged and (pid != task.process.pid or not own):
        raise KernelError(Errno.EPERM)
    return pid, uid, gid


def ucred_bytes(identity: Identity) -> bytes:
    """struct ucred."""
    return _UCRED.pack(*identity)


def give_control(task: Task, received: Received, address: int, room: int, *, cloexec: bool) -> tuple[int, int]:
    """Control data for the receiver: (bytes written, MSG_CTRUNC or 0). The files become descriptors; those that do
    not fit are let go."""
    written = 0
    flags = 0
    files = received.files
    records = [_control(*record) for record in received.controls]
    if received.identity is not None:
        records.append(_control(SOL_SOCKET, SCM_CREDENTIALS, ucred_bytes(received.identity)))
    for record in records:
        if written + len(record) > room or not _give(task, address + written, record):
            flags |= MSG_CTRUNC
        else:
            written += len(record)
    if files:
        fits = max((room - written - _CMSG.size) // 4, 0) if address else 0
        numbers: list[int] = []
        while files and len(numbers) < fits:
            try:
                numbers.append(task.files.install(files[0], cloexec=cloexec))
            except KernelError:
                break
            files.pop(0)
        if files:
            flags |= MSG_CTRUNC
        for file in files:
            file.unref()
        files.clear()
        if numbers:
            body = b"".join(fd.to_bytes(4, "little") for fd in numbers)
            record = _control(SOL_SOCKET, SCM_RIGHTS, body)[: room - written]
            if _give(task, address + written, record):
                written += len(record)
            else:  # a program that cannot learn of them does not get them
                flags |= MSG_CTRUNC
                for fd in numbers:
                    task.files.close(fd)
    return written, flags


def _give(task: Task, address: int, record: bytes) -> bool:
    """Write a record, if there is anywhere to write it. As on Linux, the data of the message are received anyway."""
    try:
        task.mm.write(address, record)
    except KernelError:
        return False
    return True


def _control(level: int, kind: int, body: bytes) -> bytes:
    length = _CMSG.size + len(body)
    return (_CMSG.pack(length, level, kind) + body).ljust((length + 7) & ~7, b"\0")
