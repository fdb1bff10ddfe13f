"""AF_NETLINK sockets (netlink(7)): NETLINK_ROUTE, by which `ip` and getifaddrs ask for and change the network, and
NETLINK_SOCK_DIAG, by which `ss` asks for sockets.

    program --request--> NetlinkSocket --> rtnetlink.answer(…)  --> messages into the socket's queue, NLMSG_DONE or ACK
                                           sock_diag.answer(…)
                         groups (RTMGRP_*) <-- the stack's events

A message is a header (length, type, flags, sequence, port), then the structure of its type and its attributes. Many go
into one datagram. A long answer is made as it is read, so that it needs no more room than a short one. Other protocols
are EPROTONOSUPPORT. Messages between programs are not delivered.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.sched.wait import WaitQueue
from jefeos.structs import Struct, u16, u32
from jefeos.vfs.flags import O_RDWR, POLL_READABLE, POLL_WRITABLE, POLLERR, S_IFSOCK

from jefeos_abi_linux.sockets import (
    MSG_DONTWAIT,
    MSG_OOB,
    MSG_PEEK,
    SOCK_DGRAM,
    SOCK_RAW,
    SOL_SOCKET,
    Received,
    Socket,
    option_number,
)

if TYPE_CHECKING:
    from jefeos.kernel import Kernel
    from jefeos.net.stack import Event
    from jefeos.proc.task import Task
    from jefeos.sched.wait import MaybeAwait

AF_NETLINK: Final = 16
NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP, NETLINK_PKTINFO = 1, 2, 3
NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 11, 12
SO_SNDBUF, SO_RCVBUF, SO_PASSCRED, SO_RCVBUFFORCE = 7, 8, 16, 33
SO_ERROR: Final = 4
NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
FIRST_TYPE: Final = 16
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK = 1, 2, 4
NLM_F_DUMP: Final = 0x300
DATAGRAM_BYTES: Final = 4096
"""Messages of one answer are put together up to this: whoever reads has a buffer for it."""
QUEUE_BYTES: Final = 1 << 20
_SOCKADDR: Final = struct.Struct("<HHII")


class MessageHeader(Struct):
    """struct nlmsghdr."""

    length: int = u32()
    type: int = u16()
    flags: int = u16()
    sequence: int = u32()
    port: int = u32()


def message(kind: int, flags: int, sequence: int, port: int, body: bytes) -> bytes:
    """A whole message, padded to 4 bytes."""
    head = MessageHeader(length=MessageHeader.size + len(body), type=kind, flags=flags, sequence=sequence, port=port)
    return head.pack() + body + bytes(-len(body) % 4)


def make_netlink(task: Task, family: int, kind: int, protocol: int, flags: int) -> NetlinkSocket:
    """socket(AF_NETLINK, …). ESOCKTNOSUPPORT, EPROTONOSUPPORT."""
    if kind not in (SOCK_RAW, SOCK_DGRAM):
        raise KernelError(Errno.ESOCKTNOSUPPORT)
    if protocol not in (NETLINK_ROUTE, NETLINK_SOCK_DIAG):
        raise KernelError(Errno.EPROTONOSUPPORT)
    return NetlinkSocket(task.kernel, kind, protocol, flags)


class NetlinkSocket(Socket):
    """See the module's text."""

    family = AF_NETLINK

    def __init__(self, kernel: Kernel, kind: int, protocol: int, flags: int) -> None:
        vfs = kernel.vfs
        inode = vfs.anonymous_inode(S_IFSOCK | 0o777)
        super().__init__(inode, flags | O_RDWR, vfs.anonymous_path(inode, b"socket:[%d]" % inode.ino))
        self.kernel = kernel
        self.kind = kind
        self.protocol = protocol
        self.port = 0
        self.groups = 0
        """A bit for each group, that of group 1 first."""
        self.queue = WaitQueue()
        self._datagrams: deque[bytes] = deque()
        self.queued_bytes = 0
        self._dump: Iterator[bytes] | None = None
        """The rest of a long answer. While there is one, the queue is not empty."""
        self._lost = False
        """Something did not fit into the queue: the next receive says ENOBUFS."""
        self._stop_watching: Callable[[], None] | None = None

    # --- names ---------------------------------------------------------------------------------------------

    def bind_name(self, task: Task, name: bytes) -> int:
        port, groups = self._read_name(name)
        ports = netlink_ports(self.kernel)
        if self.port and port not in (0, self.port):
            raise KernelError(Errno.EINVAL)
        if port and ports.get((self.protocol, port), self) is not self:
            raise KernelError(Errno.EADDRINUSE)
        self._claim_port(task, port)
        self._set_groups(groups)
        return 0

    def connect_name(self, task: Task, name: bytes) -> MaybeAwait[int]:
        """Only the kernel (port 0) is there to talk to."""
        port, _ = self._read_name(name)
        if port:
            raise KernelError(Errno.ECONNREFUSED)
        self._claim_port(task, 0)
        return 0

    @staticmethod
    def _read_name(name: bytes) -> tuple[int, int]:
        if len(name) < _SOCKADDR.size:
            raise KernelError(Errno.EINVAL)
        family, _, port, groups = _SOCKADDR.unpack_from(name)
        if family != AF_NETLINK:
            raise KernelError(Errno.EINVAL)
        return port, groups

    def _claim_port(self, task: Task, port: int) -> None:
        """The port that was asked for, or the process's number if it is free, as Linux chooses."""
        if self.port:
            return
        ports = netlink_ports(self.kernel)
        wanted = port or task.process.pid
        while not port and (self.protocol, wanted) in ports:
            wanted = 0xFFFF_F000 - len(ports) if wanted < 0x8000_0000 else wanted - 1
        self.port = wanted
        ports[self.protocol, wanted] = self

    def local_name(self) -> bytes:
        return _SOCKADDR.pack(AF_NETLINK, 0, self.port, self.groups & 0xFFFF_FFFF)

    def peer_name_bytes(self) -> bytes:
        return _SOCKADDR.pack(AF_NETLINK, 0, 0, 0)

    # --- options -------------------------------------------------------------------------------------------

    def set_option(self, task: Task, level: int, option: int, value: bytes) -> None:
        if level == SOL_SOCKET and option in (SO_SNDBUF, SO_RCVBUF, SO_RCVBUFFORCE, SO_PASSCRED):
            option_number(value)
            return
        if level != SOL_NETLINK:
            raise KernelError(Errno.ENOPROTOOPT)
        number = option_number(value)
        if option in (NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP):
            if not 1 <= number <= 64:
                raise KernelError(Errno.EINVAL)
            bit = 1 << number - 1
            self._set_groups(self.groups | bit if option == NETLINK_ADD_MEMBERSHIP else self.groups & ~bit)
        elif option not in (NETLINK_PKTINFO, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            raise KernelError(Errno.ENOPROTOOPT)

    def get_option(self, task: Task, level: int, option: int, room: int) -> bytes:
        common = self.common_option(option) if level == SOL_SOCKET else None
        if common is not None:
            return common
        if level == SOL_SOCKET and option in (SO_SNDBUF, SO_RCVBUF, SO_ERROR, SO_PASSCRED):
            return (QUEUE_BYTES if option in (SO_SNDBUF, SO_RCVBUF) else 0).to_bytes(4, "little")
        raise KernelError(Errno.ENOPROTOOPT)

    # --- messages ------------------------------------------------------------------------------------------

    def send_message(self, task: Task, data: bytes, name: bytes, control: bytes, flags: int) -> MaybeAwait[int]:
        """The answers are in the queue when this returns."""
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        if name and self._read_name(name)[0]:
            raise KernelError(Errno.ECONNREFUSED)
        self._claim_port(task, 0)
        position = 0
        while position + MessageHeader.size <= len(data):
            head = MessageHeader.parse(data, position)
            if head.length < MessageHeader.size or position + head.length > len(data):
                break
            self._request(task, head, data[position + MessageHeader.size : position + head.length])
            position += (head.length + 3) & ~3
        return len(data)

    def write(self, data: bytes) -> MaybeAwait[int]:
        """As a message without a name: BusyBox's ``ip`` asks so."""
        task = self.kernel.executor.current
        if task is None:
            raise KernelError(Errno.EINVAL)
        return self.send_message(task, data, b"", b"", 0)

    def _request(self, task: Task, head: MessageHeader, body: bytes) -> None:
        from jefeos_abi_linux import rtnetlink, sock_diag

        if not head.flags & NLM_F_REQUEST or head.type < FIRST_TYPE:
            return
        dump = head.flags & NLM_F_DUMP == NLM_F_DUMP
        answer = rtnetlink.answer if self.protocol == NETLINK_ROUTE else sock_diag.answer
        try:
            if dump and self._dump is not None:
                raise KernelError(Errno.EBUSY)
            parts = answer(task, head.type, head.flags, body)
        except CorruptError:  # shorter than the structure of its type
            self._acknowledge(head, body, Errno.EINVAL)
            return
        except KernelError as error:
            self._acknowledge(head, body, error.errno)
            return
        if parts is None:
            if head.flags & NLM_F_ACK:
                self._acknowledge(head, body, 0)
            return
        if dump:
            done = message(NLMSG_DONE, NLM_F_MULTI, head.sequence, self.port, bytes(4))
            messages = (message(kind, NLM_F_MULTI, head.sequence, self.port, part) for kind, part in parts)
            self._dump = _datagrams(chain(messages, (done,)))
            self._go_on_with_dump()
            return
        for datagram in _datagrams(message(kind, 0, head.sequence, self.port, part) for kind, part in parts):
            self._enqueue(datagram)
        if head.flags & NLM_F_ACK:
            self._acknowledge(head, body, 0)

    def _go_on_with_dump(self) -> None:
        """Put the next datagram of a long answer into the queue, once that is empty."""
        if self._dump is not None and not self._datagrams:
            datagram = next(self._dump, None)
            if datagram is None:
                self._dump = None
            else:
                self._enqueue(datagram)

    def _acknowledge(self, head: MessageHeader, body: bytes, error: int) -> None:
        """NLMSG_ERROR: minus the errno and the request's header, with its body if it failed."""
        content = struct.pack("<i", -error) + head.pack() + (body if error else b"")
        self._enqueue(message(NLMSG_ERROR, 0, head.sequence, self.port, content))

    def _enqueue(self, datagram: bytes) -> None:
        if self.queued_bytes + len(datagram) > QUEUE_BYTES:
            self._lost = True
        else:
            self._datagrams.append(datagram)
            self.queued_bytes += len(datagram)
        self.queue.wake_all()

    def receive_message(self, task: Task, count: int, flags: int) -> MaybeAwait[Received]:
        if flags & MSG_OOB:
            raise KernelError(Errno.EOPNOTSUPP)
        peek = bool(flags & MSG_PEEK)
        if self._datagrams or self._lost:
            return self._next(count, peek)
        if self.nonblocking or flags & MSG_DONTWAIT:
            raise KernelError(Errno.EAGAIN)
        return self._receive_later(count, peek)

    async def _receive_later(self, count: int, peek: bool) -> Received:
        while not self._datagrams and not self._lost:
            if not await self.queue.wait(self.receive_timeout_ns):
                raise KernelError(Errno.EAGAIN)
        return self._next(count, peek)

    def _next(self, count: int, peek: bool) -> Received:
        if self._lost:
            self._lost = False
            raise KernelError(Errno.ENOBUFS)
        data = self._datagrams[0]
        if not peek:
            self._datagrams.popleft()
            self.queued_bytes -= len(data)
            self._go_on_with_dump()
        return Received(data[:count], self.peer_name_bytes(), len(data))

    def read(self, count: int) -> MaybeAwait[bytes]:
        if self._datagrams or self._lost:
            return self._next(count, False).data
        if self.nonblocking:
            raise KernelError(Errno.EAGAIN)
        return self._read_later(count)

    async def _read_later(self, count: int) -> bytes:
        return (await self._receive_later(count, False)).data

    # --- events --------------------------------------------------------------------------------------------

    def _set_groups(self, groups: int) -> None:
        self.groups = groups
        if groups and self._stop_watching is None:
            self._stop_watching = self.kernel.net.stack.watch(self._happened)
        elif not groups and self._stop_watching is not None:
            self._stop_watching()
            self._stop_watching = None

    def _happened(self, event: Event) -> None:
        from jefeos_abi_linux.rtnetlink_messages import event_message

        found = event_message(self.kernel.net.stack, event)
        if found is not None:
            group, kind, body = found
            if self.groups & 1 << group - 1:
                self._enqueue(message(kind, 0, 0, 0, body))

    def poll(self) -> int:
        readable = POLL_READABLE if self._datagrams or self._lost else 0
        return POLL_WRITABLE | readable | (POLLERR if self._lost else 0)

    def poll_queues(self) -> tuple[WaitQueue, ...]:
        return (self.queue,)

    @property
    def available(self) -> int:
        """FIONREAD."""
        return len(self._datagrams[0]) if self._datagrams else 0

    @property
    def label(self) -> bytes:
        return b"socket:[%d]" % self.inode.ino

    def release(self) -> None:
        self._set_groups(0)
        ports = netlink_ports(self.kernel)
        if ports.get((self.protocol, self.port)) is self:
            del ports[self.protocol, self.port]
        self._datagrams.clear()
        self._dump = None
        super().release()


def _datagrams(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Several messages to a datagram."""
    datagram = b""
    for one in messages:
        if datagram and len(datagram) + len(one) > DATAGRAM_BYTES:
            yield datagram
            datagram = b""
        datagram += one
    if datagram:
        yield datagram


def netlink_ports(kernel: Kernel) -> dict[tuple[int, int], NetlinkSocket]:
    """The ports of a kernel that are taken, each protocol's apart."""
    ports: dict[tuple[int, int], NetlinkSocket] | None = getattr(kernel, "netlink_ports", None)
    if ports is None:
        ports = {}
        kernel.netlink_ports = ports  # type: ignore[attr-defined]
    return ports
