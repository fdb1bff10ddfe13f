"""What the socket calls need of a socket, whatever its family.

    calls_sockets, calls_messages --> Socket (this interface) <-- unix_family, inet_sockets, packet_sockets, netlink

Names are whole sockaddr structures as bytes, family first: each family reads and writes its own. Control data are read
as bytes too. A method that may have to wait returns a coroutine then, as everywhere (`MaybeAwait`).
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import define, field
from jefeos.errors import Errno, KernelError
from jefeos.vfs.file import File

from jefeos_abi_linux.structs_common import timeval_bytes

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait

AF_UNSPEC: Final = 0
AF_UNIX: Final = 1
SOL_SOCKET: Final = 1
SOCK_STREAM: Final = 1
SOCK_DGRAM: Final = 2
SOCK_RAW: Final = 3
SOCK_SEQPACKET: Final = 5
SO_RCVTIMEO: Final = 20
SO_SNDTIMEO: Final = 21
SO_TYPE: Final = 3
SO_PROTOCOL: Final = 38
SO_DOMAIN: Final = 39

SO_TIMESTAMP, SO_TIMESTAMPNS = 29, 35

MSG_OOB: Final = 0x1
MSG_PEEK: Final = 0x2
MSG_CTRUNC: Final = 0x8
MSG_TRUNC: Final = 0x20
MSG_DONTWAIT: Final = 0x40
MSG_WAITALL: Final = 0x100
MSG_ERRQUEUE: Final = 0x2000
MSG_NOSIGNAL: Final = 0x4000
MSG_MORE: Final = 0x8000

Identity = tuple[int, int, int]
"""pid, uid and gid, as in struct ucred."""


def identity_of(task: Task) -> Identity:
    """Who a task is, as SO_PEERCRED tells it."""
    return task.process.pid, task.creds.euid, task.creds.egid


@define(eq=False)
class Received:
    """What one receive call took out of a socket."""

    data: bytes
    name: bytes = b""
    """The sender's sockaddr; empty if it has none or the kind of socket does not tell."""
    length: int = -1
    """Of the whole message; -1: of ``data``."""
    files: list[File] = field(factory=list)
    identity: Identity | None = None
    """For SCM_CREDENTIALS."""
    controls: list[tuple[int, int, bytes]] = field(factory=list)
    """Further control data: level, type, body."""
    flags: int = 0
    """MSG_* of the answer."""


class Socket(File):
    """A socket as the socket calls see it."""

    kernel: Kernel
    family: int
    kind: int
    protocol: int = 0
    receive_timeout_ns: int | None = None
    send_timeout_ns: int | None = None
    stamp_ns: int | None = None
    """When the last message that was received had come, by the monotonic clock (SIOCGSTAMP)."""

    @property
    def messages_are_whole(self) -> bool:
        """Whether a receive takes one message, and what does not fit is cut off."""
        return self.kind != SOCK_STREAM

    @abstractmethod
    def bind_name(self, task: Task, name: bytes) -> int:
        """bind(2)."""

    @abstractmethod
    def connect_name(self, task: Task, name: bytes) -> MaybeAwait[int]:
        """connect(2)."""

    def listen_for(self, task: Task, backlog: int) -> None:
        """listen(2)."""
        raise KernelError(Errno.EOPNOTSUPP)

    def take_connection(self, *, nonblock: bool) -> MaybeAwait[Socket]:
        """accept(2)."""
        raise KernelError(Errno.EOPNOTSUPP)

    @abstractmethod
    def local_name(self) -> bytes:
        """getsockname(2)."""

    @abstractmethod
    def peer_name_bytes(self) -> bytes:
        """getpeername(2). ENOTCONN."""

    def shut_down(self, reading: bool, writing: bool) -> None:
        """shutdown(2)."""
        raise KernelError(Errno.EOPNOTSUPP)

    @abstractmethod
    def set_option(self, task: Task, level: int, option: int, value: bytes) -> None:
        """setsockopt(2), SO_RCVTIMEO and SO_SNDTIMEO apart. ENOPROTOOPT, EINVAL."""

    @abstractmethod
    def get_option(self, task: Task, level: int, option: int, room: int) -> bytes:
        """getsockopt(2); ``room`` is for options whose value depends on it."""

    def answer_option(self, level: int, option: int, asked: Callable[[], bytes]) -> bytes | None:
        """getsockopt(2) of an option for which the caller's buffer says more of the question; None: it is not one."""
        return None

    @abstractmethod
    def send_message(self, task: Task, data: bytes, name: bytes, control: bytes, flags: int) -> MaybeAwait[int]:
        """send(2), sendto(2), sendmsg(2): ``name`` is empty for the peer. EPIPE's signal is the caller's to send."""

    @abstractmethod
    def receive_message(self, task: Task, count: int, flags: int) -> MaybeAwait[Received]:
        """recv(2), recvfrom(2), recvmsg(2)."""

    def real_time_ns(self, received_ns: int) -> int:
        """A time of the monotonic clock as one of the calendar."""
        clock = self.kernel.clock
        return clock.realtime_ns() - clock.monotonic_ns() + received_ns

    def stamp_controls(self, on: Callable[[str], bool], received_ns: int) -> list[tuple[int, int, bytes]]:
        """Control data for SO_TIMESTAMP and SO_TIMESTAMPNS, if ``on`` says that they are set."""
        self.stamp_ns = received_ns
        nanoseconds = on("so_timestampns")
        if not nanoseconds and not on("so_timestamp"):
            return []
        seconds, rest_ns = divmod(self.real_time_ns(received_ns), 1_000_000_000)
        if nanoseconds:
            return [(SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("<qq", seconds, rest_ns))]
        return [(SOL_SOCKET, SO_TIMESTAMP, struct.pack("<qq", seconds, rest_ns // 1000))]

    def common_option(self, option: int) -> bytes | None:
        """The options at SOL_SOCKET that every socket answers alike."""
        if option in (SO_RCVTIMEO, SO_SNDTIMEO):
            return timeval_bytes((self.receive_timeout_ns if option == SO_RCVTIMEO else self.send_timeout_ns) or 0)
        if option in (SO_TYPE, SO_PROTOCOL, SO_DOMAIN):
            number = {SO_TYPE: self.kind, SO_PROTOCOL: self.protocol, SO_DOMAIN: self.family}[option]
            return number.to_bytes(4, "little")
        return None


Maker = Callable[["Task", int, int, int, int], Socket]
"""From task, family, kind, protocol and file flags to a new socket. Raises KernelError."""


def option_number(value: bytes) -> int:
    """An int option. EINVAL if it is too short."""
    if len(value) < 4:
        raise KernelError(Errno.EINVAL)
    return int.from_bytes(value[:4], "little", signed=True)


def release_files(files: list[File]) -> None:
    """Let passed files go that nobody received."""
    for file in files:
        file.unref()
    files.clear()
