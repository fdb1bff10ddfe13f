"""Run on JefeOS and on the host: what is given back after calls that failed or were cut off. Prints what it sees."""

import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
CLONE3 = 435
CLONE_PIDFD = 0x1000
NAME = f"\0given-back-{os.getpid()}"


def is_closed(reading_end: int) -> bool:
    """Whether nobody holds the other end of a pipe any more."""
    for _ in range(100):
        socket.socket(socket.AF_UNIX).close()  # where Linux looks for sockets that nobody can receive
        if select.select([reading_end], [], [], 0.3)[0]:
            return os.read(reading_end, 1) == b""
    return False


def accept_without_a_descriptor() -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(NAME)
    server.listen(1)
    client = socket.socket(socket.AF_UNIX)
    client.connect(NAME)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, limits[1]))
    try:
        server.accept()
    except OSError as error:
        print("accept", error.errno)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    server.settimeout(30)
    server.accept()[0].send(b"still there")
    print(client.recv(100))


def clone_without_a_descriptor() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    pidfd = ctypes.c_int(-1)
    arguments = (ctypes.c_uint64 * 8)(CLONE_PIDFD, ctypes.addressof(pidfd), 0, 0, signal.SIGCHLD)
    made = libc.syscall(CLONE3, arguments, ctypes.c_size_t(64))
    if made == 0:
        os._exit(0)
    print("clone3", made, ctypes.get_errno(), pidfd.value)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    try:
        print("child", os.waitpid(-1, 0))
    except ChildProcessError:
        print("no child")


def pidfd_is_the_parents() -> None:
    pidfd = ctypes.c_int(-1)
    arguments = (ctypes.c_uint64 * 8)(CLONE_PIDFD, ctypes.addressof(pidfd), 0, 0, signal.SIGCHLD)
    if libc.syscall(CLONE3, arguments, ctypes.c_size_t(64)) == 0:
        os._exit(len(os.listdir("/proc/self/fd")))
    before = len(os.listdir("/proc/self/fd")) - 1
    print("in the child", os.waitstatus_to_exitcode(os.wait()[1]) - before)
    os.close(pidfd.value)


def killed_while_it_sends_a_file() -> None:
    reading, writing = os.pipe()
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    one.setblocking(False)
    try:
        while True:
            one.send(bytes(100000))
    except BlockingIOError:
        one.setblocking(True)
    child = os.fork()
    if not child:
        socket.send_fds(one, [b"x"], [writing])
        os._exit(1)
    os.close(writing)
    time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("killed sender", is_closed(reading))


def sockets_inside_each_other() -> None:
    reading, writing = os.pipe()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    socket.send_fds(one, [b"x"], [other.fileno(), writing])  # other holds itself now
    socket.send_fds(other, [b"x"], [one.fileno()])
    os.close(writing)
    one.close()
    other.close()
    print("island", is_closed(reading))


def a_held_socket_lives() -> None:
    reading, writing = os.pipe()
    kept, outer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    socket.send_fds(one, [b"x"], [writing])
    socket.send_fds(kept, [b"x"], [other.fileno()])
    os.close(writing)
    one.close()
    other.close()
    socket.socket(socket.AF_UNIX).close()
    _, (inner,), _, _ = socket.recv_fds(outer, 1, 1)
    data, (end,), _, _ = socket.recv_fds(socket.socket(fileno=inner), 1, 1)
    os.write(end, b"through two sockets")
    print(data, os.read(reading, 100))


def closed_files_leave_an_epoll() -> None:
    poller = select.epoll()
    for _ in range(50):
        one, other = socket.socketpair(socket.AF_UNIX)
        poller.register(one, select.EPOLLIN)
        one.close()
        other.close()
    print("events", poller.poll(0))
    one, other = socket.socketpair(socket.AF_UNIX)
    poller.register(one, select.EPOLLIN)
    double = os.dup(one.fileno())
    number = one.fileno()
    one.close()
    other.send(b"x")
    print("kept by its double", poller.poll(0) == [(number, select.EPOLLIN)])
    os.close(double)
    print("events", poller.poll(0))


signal.alarm(150)
for name in sys.argv[1:]:
    globals()[name]()
