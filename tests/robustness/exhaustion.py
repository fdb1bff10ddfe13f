"""Run on JefeOS and on the host: what programs are told when something is used up. Prints the same on both."""

import ctypes
import errno
import mmap
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path


def name_of(call, *arguments):
    """The result of a call, or the name of its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    except MemoryError:
        return "ENOMEM"


def in_child(call):
    """Run ``call`` in a child; how that ended."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            call()
        finally:
            sys.stdout.flush()
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def limit(which, number):
    resource.setrlimit(which, (number, resource.getrlimit(which)[1]))


def become_a_user_of_our_own() -> None:
    """Some limits count what a user has in all, and on the host somebody else may be at work as root."""
    if os.getuid() == 0:
        user = 100_000 + os.getpid()
        os.setgid(user)
        os.setuid(user)


def descriptors() -> None:
    limit(resource.RLIMIT_NOFILE, 50)
    count = 0
    while isinstance(name_of(os.dup, 0), int):
        count += 1
    print(name_of(os.dup, 0), name_of(os.open, "/", os.O_RDONLY), name_of(os.pipe), os.closerange(3, 60))


def address_space() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit(resource.RLIMIT_AS, pages * mmap.PAGESIZE + (20 << 20))
    print(name_of(mmap.mmap, -1, 100 << 20), len(mmap.mmap(-1, 1 << 20)))


def many_areas() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_size_t
    made = 0
    while libc.mmap(None, 4096, 1 + made % 2 * 2, 0x22, -1, 0) != ctypes.c_size_t(-1).value:
        made += 1
    print("areas", made > 60000, made < 65600, errno.errorcode[ctypes.get_errno()])


def file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit(resource.RLIMIT_FSIZE, 1000)
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    print(os.write(fd, bytes(2000)), name_of(os.write, fd, b"x"), name_of(os.ftruncate, fd, 5000))
    print(in_child(lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_DFL), os.write(fd, b"x"))))


def arguments() -> None:
    def run(words, environ):
        return name_of(os.execve, "/bin/true", words, environ)

    print(in_child(lambda: print(run(["x" * 200_000], {}))))
    print(in_child(lambda: print(run(["x"] * 3, {"A": "y" * 140_000}))))
    print(in_child(lambda: print(run(["x" * 100_000] * 40, {}))))
    print(in_child(lambda: print(run(["x" * 1000] * 1000, {}))))
    limit(resource.RLIMIT_STACK, 1 << 20)
    print(in_child(lambda: print(run(["x" * 1000] * 300, {}))), in_child(lambda: print(run(["x" * 1000] * 100, {}))))


def links_and_paths() -> None:
    os.symlink("end", "l0")
    Path("end").touch()
    for i in range(1, 45):
        os.symlink(f"l{i - 1}", f"l{i}")
    print([name_of(lambda i=i: os.stat(f"l{i}").st_size) for i in (38, 39, 40, 44)])
    os.symlink("circle", "circle")
    print(name_of(os.stat, "circle"), name_of(os.stat, "x" * 256), name_of(os.stat, "x/" * 3000))


def deep_folders() -> None:
    top = os.open(".", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep")
        os.chdir("deep")
    print(len(name_of(os.getcwd)) if isinstance(name_of(os.getcwd), str) else "", os.stat("..").st_nlink)
    for _ in range(1500):
        os.chdir("..")
        os.rmdir("deep")
    print(os.listdir(top))


def small_messages() -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        one.setblocking(False)
        sent = 0
        while name_of(one.send, b"x") == 1:
            sent += 1
        print(sent < 1000, name_of(one.send, b"x"))
        for _ in range(sent):
            other.recv(1)
        print(one.send(b"again"))


def processor_time() -> None:
    limit(resource.RLIMIT_CPU, 1)

    def spin():
        while True:
            pass

    print(in_child(spin))


def processes() -> None:
    become_a_user_of_our_own()
    limit(resource.RLIMIT_NPROC, 4)
    children = []
    reading, writing = os.pipe()
    while True:
        child = name_of(os.fork)
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        children.append(child)
        if not isinstance(child, int):
            break
    print(len(children), children[-1])


def queued_signals() -> None:
    become_a_user_of_our_own()
    libc = ctypes.CDLL(None, use_errno=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [40])
    limit(resource.RLIMIT_SIGPENDING, 10)
    sent = 0
    while libc.sigqueue(os.getpid(), 40, None) == 0:
        sent += 1
    print(0 < sent <= 10, errno.errorcode[ctypes.get_errno()])


for name in sys.argv[1:]:
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o777)

    def case(name=name, folder=folder):
        os.chdir(folder)
        globals()[name]()

    print(name)
    in_child(case)
    shutil.rmtree(folder, ignore_errors=True)
