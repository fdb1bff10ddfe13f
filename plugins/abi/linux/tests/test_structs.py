"""The structures of the file calls, compared with what the host's compiler says about sizes and offsets."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.structs import Field, Struct
from jefeos.tty.termios import Termios, WindowSize
from jefeos.vfs.inode import FilesystemStat, Stat
from jefeos_abi_linux import structs, structs_common
from jefeos_abi_linux.events import SignalfdSiginfo
from jefeos_abi_linux.numbers import NUMBERS

HEADERS = (
    "#define _GNU_SOURCE\n#include <stddef.h>\n#include <stdio.h>\n#include <asm/statfs.h>\n#include <asm/stat.h>\n"
    "#include <linux/stat.h>\n#include <linux/openat2.h>\n#include <linux/eventpoll.h>\n#include <poll.h>\n"
    "#include <linux/signalfd.h>\n#include <asm/termbits.h>\n#include <linux/fcntl.h>\n#include <asm/unistd.h>\n"
    "struct winsize { unsigned short ws_row, ws_col, ws_xpixel, ws_ypixel; };\n"
)
STRUCTURES: dict[str, type[Struct]] = {
    "stat": structs.LinuxStat,
    "statx": structs.LinuxStatx,
    "statfs": structs.LinuxStatfs,
    "termios": structs.LinuxTermios,
    "termios2": structs.LinuxTermios2,
    "winsize": structs.LinuxWinsize,
    "pollfd": structs.PollFd,
    "flock": structs.LinuxFlock,
    "f_owner_ex": structs.FOwnerEx,
    "epoll_event": structs.EpollEvent,
    "open_how": structs.OpenHow,
    "signalfd_siginfo": SignalfdSiginfo,
}


def offsets(kind: type[Struct]) -> dict[str, int]:
    """Where each member starts: found by setting it and looking for the first byte that changes."""
    found = {}
    zero = kind().pack()
    for name, field in kind._fields.items():
        assert isinstance(field, Field)
        if field.kind is not None:
            value = field.kind(**{next(iter(field.kind._fields)): 1})
        else:
            value = b"\1" if isinstance(field.default, bytes) else 1
        changed = kind(**{name: value}).pack()
        found[name] = next(index for index, pair in enumerate(zip(zero, changed, strict=True)) if pair[0] != pair[1])
    return found


@pytest.mark.peer
def test_layouts_are_the_compilers(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    lines = []
    expected = []
    for c_name, kind in STRUCTURES.items():
        lines.append(f'printf("{c_name} %zu\\n", sizeof(struct {c_name}));')
        expected.append(f"{c_name} {kind.size}")
        for member, offset in offsets(kind).items():
            lines.append(f'printf("{c_name}.{member} %zu\\n", offsetof(struct {c_name}, {member}));')
            expected.append(f"{c_name}.{member} {offset}")
    source = tmp_path / "layout.c"
    source.write_text(HEADERS + "int main(void) {\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
    program = tmp_path / "layout"
    subprocess.run([host_program("gcc"), "-w", "-o", program, source], check=True, timeout=60)
    output = subprocess.run([program], capture_output=True, text=True, check=True, timeout=100).stdout
    assert output.splitlines() == expected


@pytest.mark.peer
def test_numbers_are_the_headers(tmp_path: Path, host_program: Callable[[str], str]) -> None:
    source = tmp_path / "numbers.c"
    source.write_text("#include <asm/unistd.h>\n")
    command = [host_program("gcc"), "-E", "-dM", source]
    macros = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout
    known = {
        words[1].removeprefix("__NR_"): int(words[2])
        for words in map(str.split, macros.splitlines())
        if len(words) == 3 and words[1].startswith("__NR_")
    }
    assert len(known) > 300
    assert {name: NUMBERS.get(name) for name in known} == known


def test_numbers_are_unique() -> None:
    assert len(set(NUMBERS.values())) == len(NUMBERS) > 360
    assert (NUMBERS["read"], NUMBERS["openat"], NUMBERS["clone3"], NUMBERS["mseal"]) == (0, 257, 435, 462)


def test_fast_stat_is_the_declared_one() -> None:
    stat = Stat(1, 2, 0o100644, 3, 4, 5, 6, 7, 4096, 8, 1_000_000_009, -1, 3_000_000_000, 0)
    parsed = structs.LinuxStat.parse(structs.stat_bytes(stat))
    assert (parsed.st_dev, parsed.st_ino, parsed.st_nlink, parsed.st_mode) == (1, 2, 3, 0o100644)
    assert (parsed.st_atime, parsed.st_atime_nsec) == (1, 9)
    assert (parsed.st_mtime, parsed.st_mtime_nsec) == (-1, 999_999_999)
    assert (parsed.st_size, parsed.st_blksize, parsed.st_blocks, parsed.st_rdev) == (7, 4096, 8, 6)
    assert len(structs.statx_bytes(stat, 5)) == 256
    assert len(structs.statfs_bytes(FilesystemStat(1))) == 120


def test_dirent_layouts() -> None:
    record = structs.dirent64(7, 3, 0o040000, b"name")
    assert record == (7).to_bytes(8, "little") + (3).to_bytes(8, "little") + b"\x18\0\x04name\0"
    old = structs.dirent(7, 3, 0o100000, b"n")
    assert (len(old), old[16], old[18:20], old[-1]) == (24, 24, b"n\0", 8)
    for length in range(1, 30):
        assert len(structs.dirent64(1, 1, 0, b"x" * length)) % 8 == 0
        assert structs.dirent(1, 1, 0, b"x" * length)[18 + length] == 0


def test_terminal_settings_round_trip() -> None:
    settings = Termios().with_chars(VMIN=3, VTIME=4)
    again = structs.termios_value(structs.termios_struct(settings), Termios())
    assert structs.termios_struct(again) == structs.termios_struct(settings)
    assert structs.termios_value(structs.termios2_struct(settings), Termios()) == settings
    assert structs.window_size(structs.winsize_bytes(WindowSize(24, 80, 1, 2))) == WindowSize(24, 80, 1, 2)
    speeds = structs.speed_of(0o15, 0), structs.speed_of(0o10002, 0), structs.speed_of(0o10000, 77)
    assert speeds == (9600, 115200, 77)


def test_times() -> None:
    half = (500_000_000).to_bytes(8, "little")
    assert structs_common.timespec_bytes(1_500_000_000) == (1).to_bytes(8, "little") + half
    assert structs_common.timeval_bytes(1_500_000_999)[8:] == (500_000).to_bytes(8, "little")
