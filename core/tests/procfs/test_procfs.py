"""procfs: every file has the shape that Linux gives it (compared with the host's where that is Linux)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jefeos.errors import Errno, KernelError
from jefeos.mm.vma import PROT_EXEC, PROT_READ, PROT_WRITE
from jefeos.proc.files import FdTable, FsState
from jefeos.proc.process import Process, ProcessState
from jefeos.proc.signals import SIG_IGN, Signal, SignalAction
from jefeos.proc.task import Task
from jefeos.vfs.flags import O_CLOEXEC, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFDIR, S_IFLNK, S_IFMT

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="compares with the /proc of a Linux host")


class Machine:
    """A booted kernel with a process of a made-up program on the CPU."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.vfs = kernel.vfs
        root = self.vfs.root
        self.process: Any = Process(kernel, 42, kernel.root_process, pgid=42, sid=42)
        self.process.name = b"my prog)"
        self.process.argv = [b"/bin/prog", b"", b"two words"]
        self.process.environ = [b"HOME=/root", b"A=1"]
        self.process.start_time_ns = kernel.clock.monotonic_ns()
        self.task = Task(kernel, 42, self.process, FsState(root, root), FdTable())
        self.process.tasks.append(self.task)
        self.space = self.task.mm = kernel.memory.new_space()
        kernel.processes.processes[42] = self.process
        kernel.processes.tasks[42] = self.task
        kernel.executor.current = self.task

    def open(self, path: bytes, flags: int = O_RDONLY) -> Any:
        return self.vfs.open_file(self.task, path, flags, 0o644)

    def read(self, path: bytes) -> bytes:
        file = self.open(path)
        text = b""
        while part := file.read(4096):
            text += part
        file.unref()
        return text

    def names(self, path: bytes) -> list[bytes]:
        file = self.open(path)
        return [entry.name for entry, _ in file.readdir_at(0)][2:]

    def close(self) -> None:
        self.kernel.executor.current = None
        self.task.files.leave()
        self.space.release()
        self.process.tasks.clear()
        self.process.state = ProcessState.REAPED
        self.kernel.processes.processes.pop(42, None)
        self.kernel.processes.tasks.pop(42, None)


@pytest.fixture
def machine(jefeos_boot: Callable[..., Any]) -> Iterator[Machine]:
    machine = Machine(jefeos_boot(plugins=()).kernel)
    yield machine
    machine.close()


def host(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def keys(text: bytes) -> list[bytes]:
    return [line.partition(b":")[0].strip() for line in text.splitlines() if b":" in line]


# --- processes -------------------------------------------------------------------------------------------------


def test_stat_has_52_fields_whatever_the_name(machine: Machine) -> None:
    text = machine.read(b"/proc/self/stat")
    assert text.startswith(b"42 (my prog)) R 1 42 42 0 -1 ")
    assert len(text.rpartition(b")")[2].split()) + 2 == 52
    assert text.endswith(b"\n")


@on_linux
def test_status_has_the_keys_of_the_host_in_order(machine: Machine) -> None:
    ours, theirs = keys(machine.read(b"/proc/self/status")), keys(host("/proc/self/status"))
    common = [key for key in theirs if key in ours]
    assert [key for key in ours if key in theirs] == common
    assert len(common) > 40


def test_status_values(machine: Machine) -> None:
    machine.process.handlers.actions[Signal.SIGINT] = SignalAction(SIG_IGN)
    machine.process.handlers.actions[Signal.SIGTERM] = SignalAction(0x4000)
    machine.task.blocked = 1
    machine.process.creds.groups = (4, 24)
    rows = dict(line.split(b":\t", 1) for line in machine.read(b"/proc/self/status").splitlines())
    assert rows[b"Pid"] == b"42"
    assert rows[b"PPid"] == b"%d" % machine.kernel.root_process.pid
    assert rows[b"State"] == b"R (running)"
    assert rows[b"Uid"] == b"0\t0\t0\t0"
    assert rows[b"Groups"] == b"4 24 "
    assert rows[b"SigBlk"] == b"0000000000000001"
    assert rows[b"SigIgn"] == b"0000000000000002"
    assert rows[b"SigCgt"] == b"0000000000004000"


def test_zombie(machine: Machine) -> None:
    machine.process.state = ProcessState.ZOMBIE
    machine.process.exit_code = 3
    assert machine.read(b"/proc/42/stat").split()[3] == b"Z"
    assert b"State:\tZ (zombie)\n" in machine.read(b"/proc/42/status")
    assert machine.read(b"/proc/42/cmdline") == b""
    assert machine.read(b"/proc/42/maps") == b""


def test_reaped_while_open(machine: Machine) -> None:
    file = machine.open(b"/proc/42/status")
    machine.process.state = ProcessState.REAPED
    with pytest.raises(KernelError) as caught:
        file.read(10)
    assert caught.value.errno == Errno.ESRCH
    file.unref()


def test_arguments_and_environment(machine: Machine) -> None:
    assert machine.read(b"/proc/self/cmdline") == b"/bin/prog\0\0two words\0"
    assert machine.read(b"/proc/self/environ") == b"HOME=/root\0A=1\0"
    assert machine.read(b"/proc/self/comm") == b"my prog)\n"
    file = machine.open(b"/proc/self/comm", O_WRONLY)
    file.write(b"a name that is too long\n")
    file.unref()
    assert machine.read(b"/proc/self/comm") == b"a name that is \n"


MAPS_LINE = re.compile(
    rb"[0-9a-f]{8,}-[0-9a-f]{8,} [r-][w-][x-][sp] [0-9a-f]{8,} [0-9a-f]{2,}:[0-9a-f]{2,} \d+ *( .*)?\n"
)


def test_maps(machine: Machine) -> None:
    file = machine.open(b"/etc/library", O_CREAT | O_RDWR)
    file.write(b"x" * 8192)
    space = machine.space
    space.map(0x400000, 8192, PROT_READ | PROT_EXEC, mapping=file.mapping, offset=4096, fixed=True, file=file)
    space.map(0x500000, 4096, PROT_READ | PROT_WRITE, fixed=True, name=b"[heap]")
    space.map(0x600000, 4096, PROT_READ, fixed=True, shared=True)
    lines = machine.read(b"/proc/self/maps").splitlines(keepends=True)
    assert all(MAPS_LINE.fullmatch(line) for line in lines)
    assert lines[0].startswith(b"00400000-00402000 r-xp 00001000 ")
    assert lines[0][73:] == b"/etc/library\n"
    assert lines[1] == b"00500000-00501000 rw-p 00000000 00:00 0 ".ljust(73) + b"[heap]\n"
    assert lines[2] == b"00600000-00601000 r--s 00000000 00:00 0 \n"
    assert machine.read(b"/proc/self/statm").split()[0] == b"4"
    file.unref()


@on_linux
def test_maps_of_the_host_look_the_same() -> None:
    lines = host("/proc/self/maps").splitlines(keepends=True)
    assert all(MAPS_LINE.fullmatch(line) for line in lines)
    named = [line for line in lines if b"/" in line and len(line.partition(b"/")[0]) == 73]
    assert named


@on_linux
def test_limits_look_like_the_host(machine: Machine) -> None:
    ours, theirs = machine.read(b"/proc/self/limits").splitlines(), host("/proc/self/limits").splitlines()
    assert [line[:26] for line in ours] == [line[:26] for line in theirs]
    assert [line[68:] for line in ours] == [line[68:] for line in theirs]
    assert {len(line) for line in ours} == {len(line) for line in theirs}


def test_descriptors(machine: Machine) -> None:
    files = machine.task.files
    plain = machine.open(b"/etc/passwd")
    assert files.install(plain) == 0
    read_end, write_end = machine.vfs.pipe(machine.task)
    files.install(read_end)
    files.install(write_end, cloexec=True)
    removed = machine.open(b"/etc/gone", O_CREAT | O_RDWR)
    files.install(removed)
    machine.vfs.unlink(machine.task, b"/etc/gone")
    assert machine.names(b"/proc/self/fd") == [b"0", b"1", b"2", b"3"]
    links = [machine.vfs.readlink(machine.task, b"/proc/self/fd/%d" % fd) for fd in range(4)]
    assert links[0] == b"/etc/passwd"
    assert re.fullmatch(rb"pipe:\[\d+\]", links[1])
    assert links[1] == links[2]
    assert links[3] == b"/etc/gone (deleted)"
    modes = [machine.vfs.resolve(machine.task, b"/proc/self/fd/%d" % fd, follow=False).inode.mode for fd in range(4)]
    assert [mode & 0o777 for mode in modes] == [0o500, 0o500, 0o300, 0o700]
    assert all(mode & S_IFMT == S_IFLNK for mode in modes)
    again = machine.open(b"/proc/self/fd/3", O_RDWR)
    assert again.inode is removed.inode
    again.unref()
    writer = machine.open(b"/proc/self/fd/2", O_WRONLY)
    writer.write(b"through")
    assert read_end.read(10) == b"through"
    writer.unref()
    plain.read(7)
    info = machine.read(b"/proc/self/fdinfo/0")
    assert info.startswith(b"pos:\t7\nflags:\t0")
    flags = int(machine.read(b"/proc/self/fdinfo/2").split()[3], 8)
    assert flags & O_CLOEXEC
    with pytest.raises(KernelError) as caught:
        machine.open(b"/proc/self/fd/99")
    assert caught.value.errno == Errno.ENOENT


@on_linux
def test_fdinfo_begins_like_the_host(machine: Machine) -> None:
    machine.task.files.install(machine.open(b"/etc/passwd"))
    with open("/proc/self/status", "rb") as stream:
        theirs = host(f"/proc/self/fdinfo/{stream.fileno()}")
    assert keys(machine.read(b"/proc/self/fdinfo/0")) == keys(theirs)[:4]


def test_magic_links(machine: Machine) -> None:
    machine.process.exe = machine.vfs.resolve(machine.task, b"/etc/passwd")
    machine.task.fs.cwd = machine.vfs.resolve(machine.task, b"/etc")
    readlink = machine.vfs.readlink
    assert readlink(machine.task, b"/proc/self/exe") == b"/etc/passwd"
    assert readlink(machine.task, b"/proc/self/cwd") == b"/etc"
    assert readlink(machine.task, b"/proc/self/root") == b"/"
    assert readlink(machine.task, b"/proc/self") == b"42"
    assert readlink(machine.task, b"/proc/thread-self") == b"42/task/42"
    assert machine.vfs.resolve(machine.task, b"/proc/self/cwd/passwd").inode is machine.process.exe.inode
    assert machine.names(b"/proc/self/task") == [b"42"]
    assert machine.read(b"/proc/thread-self/stat") == machine.read(b"/proc/self/stat")


def test_another_users_process_is_closed(machine: Machine) -> None:
    other = Process(machine.kernel, 43, None)
    other.tasks.append(Task(machine.kernel, 43, other, machine.task.fs, FdTable()))
    other.exe = machine.vfs.resolve(machine.task, b"/etc/passwd")
    machine.kernel.processes.processes[43] = other
    for name in ("uid", "euid", "suid", "fsuid"):
        setattr(machine.process.creds, name, 1000)
    assert machine.read(b"/proc/43/stat")
    for path in (b"/proc/43/environ", b"/proc/43/fd", b"/proc/43/exe", b"/proc/43/cwd/x"):
        with pytest.raises(KernelError) as caught:
            machine.open(path)
        assert caught.value.errno == Errno.EACCES, path
    assert machine.vfs.resolve(machine.task, b"/proc/42").inode.uid == 1000
    del machine.kernel.processes.processes[43]


@on_linux
def test_names_are_among_those_of_the_host(machine: Machine) -> None:
    assert set(machine.names(b"/proc/self")) - {b"children"} <= set(os.listdir(b"/proc/self"))
    hosts = set(os.listdir(b"/proc"))
    ours = [name for name in machine.names(b"/proc") if not name.isdigit()]
    assert set(ours) - {b"modules"} <= hosts


def test_every_file_can_be_read(machine: Machine) -> None:
    pending = [b"/proc"]
    seen = 0
    while pending:
        directory = pending.pop()
        for name in machine.names(directory):
            path = directory + b"/" + name
            kind = machine.vfs.resolve(machine.task, path, follow=False).inode.mode & S_IFMT
            if kind == S_IFDIR:
                pending.append(path)
            elif kind != S_IFLNK and path != b"/proc/kmsg" and name != b"mem":
                # kmsg waits for more at its end, and at address 0 there is no memory
                assert isinstance(machine.read(path), bytes)
                seen += 1
    assert seen > 100


def test_smaps_are_the_areas_of_maps_and_rollup_is_their_sum(machine: Machine) -> None:
    machine.space.map(0x10000, 0x5000, 3)
    machine.space.map(0x20000, 0x2000, 1)
    machine.space.write(0x11000, b"x")
    maps = machine.read(b"/proc/self/maps").splitlines()
    smaps = machine.read(b"/proc/self/smaps").splitlines()
    assert [line for line in smaps if b"-" in line.split(b" ")[0]] == maps
    rollup = machine.read(b"/proc/self/smaps_rollup").splitlines()
    for key in (b"Rss:", b"Anonymous:", b"Private_Dirty:"):
        each = [int(line.split()[1]) for line in smaps if line.startswith(key)]
        assert len(each) == len(maps)
        assert [int(line.split()[1]) for line in rollup if line.startswith(key)] == [sum(each)]
    assert any(line.split() == [b"Private_Dirty:", b"4", b"kB"] for line in smaps)


# --- the system ------------------------------------------------------------------------------------------------


@on_linux
@pytest.mark.parametrize("name", ["uptime", "loadavg", "version"])
def test_one_line_files(machine: Machine, name: str) -> None:
    ours, theirs = machine.read(b"/proc/" + name.encode()), host("/proc/" + name)
    shape = re.compile(rb"\d+")
    if name == "version":
        assert ours.startswith(b"Linux version ")
    else:
        assert shape.sub(b"N", ours) == shape.sub(b"N", theirs)


@on_linux
def test_meminfo(machine: Machine) -> None:
    ours, theirs = machine.read(b"/proc/meminfo"), host("/proc/meminfo")
    assert set(keys(ours)) <= set(keys(theirs))
    row = re.compile(rb"[A-Za-z_()0-9]+: +\d+( kB)?")
    assert all(row.fullmatch(line) for line in ours.splitlines())
    assert [line for line in ours.splitlines() if len(line) not in (24, 27)] == []
    rows = {line.split()[0]: int(line.split()[1]) for line in ours.splitlines()}
    assert 0 < rows[b"MemFree:"] <= rows[b"MemAvailable:"] <= rows[b"MemTotal:"]


@on_linux
def test_system_stat(machine: Machine) -> None:
    ours, theirs = machine.read(b"/proc/stat").splitlines(), host("/proc/stat").splitlines()
    assert len(ours[0].split()) == len(theirs[0].split()) == 11
    assert [line.split()[0] for line in ours] == [
        line.split()[0] for line in theirs if not re.match(rb"cpu[1-9]", line)
    ]


@on_linux
def test_cpuinfo(machine: Machine) -> None:
    ours, theirs = machine.read(b"/proc/cpuinfo"), host("/proc/cpuinfo")
    assert set(keys(ours)) <= set(keys(theirs)) | {b"bugs"}
    columns = {line.partition(b":")[0]: line.index(b":") for line in theirs.splitlines() if line}
    for line in filter(None, ours.splitlines()):
        assert line.index(b":") == columns.get(line.partition(b":")[0], line.index(b":"))
    assert b" avx" not in ours


def test_top_sees_news_in_a_rewound_file(machine: Machine) -> None:
    file = machine.open(b"/proc/stat")
    before = file.read(10000)
    machine.kernel.processes.created += 5
    assert file.read(10000) == b""
    file.seek(0, 0)
    assert file.read(10000) != before
    file.unref()


def test_a_reader_in_pieces_sees_one_text(machine: Machine) -> None:
    file = machine.open(b"/proc/self/status")
    first = file.read(20)
    machine.process.name = b"changed"
    assert (first + file.read(10000)).startswith(b"Name:\tmy prog)\nUmask:")
    file.unref()


def test_mounts(machine: Machine) -> None:
    lines = machine.read(b"/proc/mounts").splitlines()
    assert all(len(line.split(b" ")) == 6 for line in lines)
    places = [line.split(b" ")[1] for line in lines]
    assert places[0] == b"/"
    assert b"/proc" in places
    info = machine.read(b"/proc/self/mountinfo").splitlines()
    assert len(info) == len(lines)
    assert all(re.fullmatch(rb"\d+ \d+ \d+:\d+ /\S* /\S* \S+ - \S+ \S+ \S+", line) for line in info)


def test_mounts_outside_of_the_root_are_not_listed(machine: Machine) -> None:
    machine.task.fs.root = machine.vfs.resolve(machine.task, b"/dev")
    outside = machine.kernel.vfs.as_kernel()
    file = machine.vfs.open_file(outside, b"/proc/42/mounts", O_RDONLY, 0)
    places = [line.split(b" ")[1] for line in file.read(10000).splitlines()]
    assert b"/pts" in places
    assert b"/proc" not in places
    file.unref()


def test_settings(machine: Machine) -> None:
    assert machine.read(b"/proc/sys/kernel/ostype") == b"Linux\n"
    assert machine.read(b"/proc/sys/kernel/random/uuid") != machine.read(b"/proc/sys/kernel/random/uuid")
    assert machine.read(b"/proc/sys/kernel/random/boot_id").strip().decode() == machine.kernel.boot_id
    file = machine.open(b"/proc/sys/kernel/hostname", O_WRONLY | O_TRUNC)
    file.write(b"renamed\n")
    file.unref()
    assert machine.task.process.names.hostname == b"renamed"
    assert machine.read(b"/proc/sys/kernel/hostname") == b"renamed\n"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"vm/swappiness", b"10\n", b"10\n"),
        (b"kernel/printk", b"3 4", b"3\t4\t1\t7\n"),
        (b"kernel/core_pattern", b"/tmp/core.%p\n", b"/tmp/core.%p\n"),
        (b"kernel/pid_max", b"4194304", b"4194304\n"),
        (b"vm/swappiness", b"much", None),
        (b"kernel/printk", b"1 2 3 4 5", None),
        (b"kernel/pid_max", b"1", None),
    ],
)
def test_written_settings_are_shown(machine: Machine, name: bytes, value: bytes, shown: bytes | None) -> None:
    file = machine.open(b"/proc/sys/" + name, O_WRONLY)
    if shown is None:
        with pytest.raises(KernelError) as caught:
            file.write(value)
        assert caught.value.errno == Errno.EINVAL
    else:
        assert file.write(value) == len(value)
        assert machine.read(b"/proc/sys/" + name) == shown
    file.unref()


@on_linux
def test_settings_are_those_of_the_host(machine: Machine) -> None:
    for folder in (b"/proc/sys/kernel/random", b"/proc/sys/fs", b"/proc/sys/vm"):
        assert set(machine.names(folder)) <= set(os.listdir(folder)), folder


@pytest.mark.parametrize(
    ("path", "flags", "errno"),
    [
        (b"/proc/nothing", O_RDONLY, Errno.ENOENT),
        (b"/proc/4711", O_RDONLY, Errno.ENOENT),
        (b"/proc/new", O_CREAT | O_WRONLY, Errno.ENOENT),
        (b"/proc/self/fd/x", O_RDONLY, Errno.ENOENT),
        (b"/proc/042", O_RDONLY, Errno.ENOENT),
    ],
)
def test_failures(machine: Machine, path: bytes, flags: int, errno: Errno) -> None:
    with pytest.raises(KernelError) as caught:
        machine.open(path, flags)
    assert caught.value.errno == errno
