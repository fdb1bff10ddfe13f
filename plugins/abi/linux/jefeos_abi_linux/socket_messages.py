"""Addresses, message headers and control data of the socket calls, as Linux lays them out (sys/socket.h, unix(7)).

    struct sockaddr_un   u16 family, up to 108 bytes: a path with NUL, or NUL and an abstract name
    struct msghdr        name, name length, vector, its count, control, its length, flags
    struct cmsghdr       u64 length, level, type, data; padded to 8 bytes
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.errors import Errno, KernelError
from jefeos.proc.task import Task
from jefeos.structs import Struct, pad, s32, u64
from jefeos.vfs.file import File

from jefeos_abi_linux.unix_sockets import Identity

AF_UNSPEC: Final = 0
AF_UNIX: Final = 1
SOL_SOCKET: Final = 1
SCM_RIGHTS: Final = 1
SCM_CREDENTIALS: Final = 2
MSG_CTRUNC: Final = 0x8
MSG_TRUNC: Final = 0x20
MSG_CMSG_CLOEXEC: Final = 0x4000_0000
PATH_BYTES: Final = 108
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


def read_name(task: Task, address: int, length: int) -> bytes:
    """The name in a sockaddr_un: a path without NUL, an abstract name with its leading NUL, b"" for none."""
    if not 2 <= length <= 2 + PATH_BYTES:
        raise KernelError(Errno.EINVAL)
    data = task.mm.read(address, length)
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


def give_name(task: Task, name: bytes, address: int, length_address: int) -> None:
    """A sockaddr into the program's buffer, cut to its length; the true length goes back."""
    room = (task.mm.read_u32(length_address) ^ 0x8000_0000) - 0x8000_0000
    if room < 0:
        raise KernelError(Errno.EINVAL)
    data = name_bytes(name)
    if address:
        task.mm.write(address, data[:room])
    task.mm.write_u32(length_address, len(data))


def read_control(task: Task, address: int, length: int) -> tuple[list[File], Identity | None]:
    """The files to be passed (with a reference each) and the credentials to be claimed. EINVAL, EBADF, EPERM."""
    files: list[File] = []
    identity: Identity | None = None
    if not address or not length:
        return files, identity
    if length > MAX_CONTROL_BYTES:
        raise KernelError(Errno.ENOBUFS)
    data = task.mm.read(address, length)
    position = 0
    try:
        while position + _CMSG.size <= len(data):
            size, level, kind = _CMSG.unpack_from(data, position)
            if size < _CMSG.size or position + size > len(data):
                raise KernelError(Errno.EINVAL)
            body = data[position + _CMSG.size : position + size]
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
            position += (size + 7) & ~7
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


def give_control(
    task: Task, files: list[File], identity: Identity | None, address: int, room: int, *, cloexec: bool
) -> tuple[int, int]:
    """Control data for the receiver: (bytes written, MSG_CTRUNC or 0). The files become descriptors; those that do
    not fit are let go."""
    written = 0
    flags = 0
    if identity is not None:
        record = _control(SCM_CREDENTIALS, ucred_bytes(identity))
        if len(record) > room or not _give(task, address, record):
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
            record = _control(SCM_RIGHTS, body)[: room - written]
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


def _control(kind: int, body: bytes) -> bytes:
    length = _CMSG.size + len(body)
    return (_CMSG.pack(length, SOL_SOCKET, kind) + body).ljust((length + 7) & ~7, b"\0")
