"""Structures of the file calls, as Linux lays them out on x86-64.

Sources: asm/stat.h, linux/stat.h, asm/statfs.h, asm-generic/termbits.h, asm-generic/termios.h, asm-generic/poll.h,
asm-generic/fcntl.h, linux/eventpoll.h, linux/openat2.h. What the host's compiler says about sizes and offsets is
compared in tests/test_structs.py.

`stat_bytes` and `dirent64` are on the path of every ``ls`` and every shell, and pack in one go.
"""

from __future__ import annotations

import struct
from typing import Final

from jefeos.structs import Struct, nested, pad, raw, s16, s32, s64, u8, u16, u32, u64
from jefeos.tty.termios import CONTROL_CHARS, Termios, WindowSize
from jefeos.vfs.flags import device_major, device_minor
from jefeos.vfs.inode import FilesystemStat, Stat

NS: Final = 1_000_000_000


class LinuxStat(Struct):
    """struct stat."""

    st_dev: int = u64()
    st_ino: int = u64()
    st_nlink: int = u64()
    st_mode: int = u32()
    st_uid: int = u32()
    st_gid: int = u32()
    _pad0 = pad(4)
    st_rdev: int = u64()
    st_size: int = s64()
    st_blksize: int = s64()
    st_blocks: int = s64()
    st_atime: int = s64()
    st_atime_nsec: int = u64()
    st_mtime: int = s64()
    st_mtime_nsec: int = u64()
    st_ctime: int = s64()
    st_ctime_nsec: int = u64()
    _unused = pad(24)


class StatxTimestamp(Struct):
    """struct statx_timestamp."""

    tv_sec: int = s64()
    tv_nsec: int = u32()
    _pad = pad(4)


class LinuxStatx(Struct):
    """struct statx."""

    stx_mask: int = u32()
    stx_blksize: int = u32()
    stx_attributes: int = u64()
    stx_nlink: int = u32()
    stx_uid: int = u32()
    stx_gid: int = u32()
    stx_mode: int = u16()
    _pad0 = pad(2)
    stx_ino: int = u64()
    stx_size: int = u64()
    stx_blocks: int = u64()
    stx_attributes_mask: int = u64()
    stx_atime: StatxTimestamp = nested(StatxTimestamp)
    stx_btime: StatxTimestamp = nested(StatxTimestamp)
    stx_ctime: StatxTimestamp = nested(StatxTimestamp)
    stx_mtime: StatxTimestamp = nested(StatxTimestamp)
    stx_rdev_major: int = u32()
    stx_rdev_minor: int = u32()
    stx_dev_major: int = u32()
    stx_dev_minor: int = u32()
    stx_mnt_id: int = u64()
    stx_dio_mem_align: int = u32()
    stx_dio_offset_align: int = u32()
    _spare = pad(96)


class LinuxStatfs(Struct):
    """struct statfs."""

    f_type: int = s64()
    f_bsize: int = s64()
    f_blocks: int = u64()
    f_bfree: int = u64()
    f_bavail: int = u64()
    f_files: int = u64()
    f_ffree: int = u64()
    f_fsid: int = u64()
    f_namelen: int = s64()
    f_frsize: int = s64()
    f_flags: int = s64()
    _spare = pad(32)


class LinuxTermios(Struct):
    """The kernel's struct termios (TCGETS), shorter than a C library's."""

    c_iflag: int = u32()
    c_oflag: int = u32()
    c_cflag: int = u32()
    c_lflag: int = u32()
    c_line: int = u8()
    c_cc: bytes = raw(CONTROL_CHARS)


class LinuxTermios2(Struct):
    """struct termios2 (TCGETS2): with speeds as numbers."""

    c_iflag: int = u32()
    c_oflag: int = u32()
    c_cflag: int = u32()
    c_lflag: int = u32()
    c_line: int = u8()
    c_cc: bytes = raw(CONTROL_CHARS)
    c_ispeed: int = u32()
    c_ospeed: int = u32()


class LinuxTermio(Struct):
    """struct termio (TCGETA), from System V."""

    c_iflag: int = u16()
    c_oflag: int = u16()
    c_cflag: int = u16()
    c_lflag: int = u16()
    c_line: int = u8()
    c_cc: bytes = raw(8)
    _pad = pad(1)


class LinuxWinsize(Struct):
    """struct winsize."""

    ws_row: int = u16()
    ws_col: int = u16()
    ws_xpixel: int = u16()
    ws_ypixel: int = u16()


class PollFd(Struct):
    """struct pollfd."""

    fd: int = s32()
    events: int = u16()
    revents: int = u16()


class LinuxFlock(Struct):
    """struct flock."""

    l_type: int = s16()
    l_whence: int = s16()
    _pad0 = pad(4)
    l_start: int = s64()
    l_len: int = s64()
    l_pid: int = s32()
    _pad1 = pad(4)


class FOwnerEx(Struct):
    """struct f_owner_ex."""

    type: int = s32()
    pid: int = s32()


class EpollEvent(Struct):
    """struct epoll_event, packed on x86-64."""

    events: int = u32()
    data: int = u64()


class OpenHow(Struct):
    """struct open_how."""

    flags: int = u64()
    mode: int = u64()
    resolve: int = u64()


# The declared layouts, without an object per call.
_PACK_STAT: Final = LinuxStat._codec.pack
_PACK_STATX: Final = LinuxStatx._codec.pack
_PACK_TIME: Final = StatxTimestamp._codec.pack


def stat_bytes(stat: Stat) -> bytes:
    """struct stat."""
    return _PACK_STAT(
        stat.dev, stat.ino, stat.nlink, stat.mode, stat.uid, stat.gid, stat.rdev, stat.size, stat.block_size,
        stat.blocks, *divmod(stat.atime_ns, NS), *divmod(stat.mtime_ns, NS), *divmod(stat.ctime_ns, NS),
    )  # fmt: skip


STATX_BASIC_STATS: Final = 0x7FF
STATX_BTIME: Final = 0x800
STATX_MNT_ID: Final = 0x1000
STATX_ATTR_MOUNT_ROOT: Final = 0x2000


def statx_bytes(stat: Stat, mount_id: int | None, *, mount_root: bool = False) -> bytes:
    """struct statx with all that is known; ``mount_id`` None where there is no mount."""
    return _PACK_STATX(
        STATX_BASIC_STATS | STATX_BTIME | (STATX_MNT_ID if mount_id is not None else 0),
        stat.block_size,
        STATX_ATTR_MOUNT_ROOT if mount_root else 0,
        stat.nlink, stat.uid, stat.gid, stat.mode, stat.ino, stat.size, stat.blocks,
        STATX_ATTR_MOUNT_ROOT,
        _PACK_TIME(*divmod(stat.atime_ns, NS)), _PACK_TIME(*divmod(stat.btime_ns, NS)),
        _PACK_TIME(*divmod(stat.ctime_ns, NS)), _PACK_TIME(*divmod(stat.mtime_ns, NS)),
        device_major(stat.rdev), device_minor(stat.rdev), device_major(stat.dev), device_minor(stat.dev),
        mount_id or 0, 0, 0,
    )  # fmt: skip


def statfs_bytes(stat: FilesystemStat, mount_flags: int = 0) -> bytes:
    """struct statfs. ``mount_flags`` are ST_* bits, whose low ones equal MS_*."""
    return LinuxStatfs(
        f_type=stat.type,
        f_bsize=stat.block_size,
        f_blocks=stat.blocks,
        f_bfree=stat.blocks_free,
        f_bavail=stat.blocks_available,
        f_files=stat.files,
        f_ffree=stat.files_free,
        f_fsid=stat.fsid,
        f_namelen=stat.name_max,
        f_frsize=stat.block_size,
        f_flags=stat.flags | mount_flags | ST_VALID,
    ).pack()


ST_VALID: Final = 0x20

_DIRENT64: Final = struct.Struct("<QqHB")  # d_ino d_off d_reclen d_type, then the name
_DIRENT: Final = struct.Struct("<QQH")


def dirent64(ino: int, next_position: int, kind: int, name: bytes) -> bytes:
    """struct linux_dirent64, padded to 8 bytes. ``kind`` is the type part of st_mode."""
    length = (_DIRENT64.size + len(name) + 8) & ~7
    head = _DIRENT64.pack(ino, next_position, length, kind >> 12)
    return (head + name).ljust(length, b"\0")


def dirent(ino: int, next_position: int, kind: int, name: bytes) -> bytes:
    """struct linux_dirent (getdents): the type is its last byte."""
    length = (_DIRENT.size + len(name) + 2 + 7) & ~7
    head = _DIRENT.pack(ino, next_position, length) + name
    return head.ljust(length - 1, b"\0") + bytes((kind >> 12,))


def termios_struct(termios: Termios) -> LinuxTermios:
    """struct termios of the settings."""
    return LinuxTermios(
        c_iflag=int(termios.iflag),
        c_oflag=int(termios.oflag),
        c_cflag=int(termios.cflag),
        c_lflag=int(termios.lflag),
        c_line=termios.line,
        c_cc=termios.control_chars,
    )


def termios2_struct(termios: Termios) -> LinuxTermios2:
    """struct termios2 of the settings."""
    base = termios_struct(termios)
    return LinuxTermios2(**vars(base), c_ispeed=termios.input_speed, c_ospeed=termios.output_speed)


BAUD_RATES: Final = (0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400)
"""Speeds of the codes B0 … B38400 in c_cflag; with CBAUDEX the faster ones follow."""
FAST_BAUD_RATES: Final = (
    0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000,
    3000000, 3500000, 4000000,
)  # fmt: skip
CBAUD_MASK: Final = 0o10017
CBAUDEX: Final = 0o10000


def speed_of(cflag: int, old_speed: int) -> int:
    """Bits per second for the code in c_cflag; ``old_speed`` for BOTHER, which names none."""
    code = cflag & CBAUD_MASK
    if not code & CBAUDEX:
        return BAUD_RATES[code]
    return FAST_BAUD_RATES[code & 0o17] or old_speed


def termios_value(data: LinuxTermios | LinuxTermios2, old: Termios) -> Termios:
    """The settings in a structure of a program. ``old`` has what the structure does not."""
    if isinstance(data, LinuxTermios2):
        input_speed, output_speed = data.c_ispeed, data.c_ospeed
    else:
        input_speed = output_speed = speed_of(data.c_cflag, old.output_speed)
    return Termios(
        iflag=data.c_iflag,
        oflag=data.c_oflag,
        cflag=data.c_cflag,
        lflag=data.c_lflag,
        line=data.c_line,
        control_chars=data.c_cc,
        input_speed=input_speed,
        output_speed=output_speed,
    )


def winsize_bytes(size: WindowSize) -> bytes:
    """struct winsize."""
    return LinuxWinsize(
        ws_row=size.rows, ws_col=size.columns, ws_xpixel=size.x_pixels, ws_ypixel=size.y_pixels
    ).pack()


def window_size(data: bytes) -> WindowSize:
    """The size in a struct winsize."""
    parsed = LinuxWinsize.parse(data)
    return WindowSize(parsed.ws_row, parsed.ws_col, parsed.ws_xpixel, parsed.ws_ypixel)
