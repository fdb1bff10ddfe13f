"""Numbers of the file interface: open flags, mode bits, poll bits, AT_*, rename and mount flags.

The values are Linux's for x86-64 (asm-generic/fcntl.h, linux/stat.h, asm-generic/poll.h, linux/fs.h,
linux/mount.h), on every host: a guest program passes and sees these numbers, so nothing here comes from the
host's ``os`` or ``stat`` module.

Two forms of the same numbers live here on purpose. The enums (`OpenFlags`, `PollMask`, `FileKind` ...) are for
signatures, tracing and rare code. The plain integers (``O_APPEND``, ``POLLIN``, ``S_IFDIR`` ...) are for the
paths that every read, write and lookup takes: an operation on an `IntFlag` costs about a microsecond, one on
an int fifty nanoseconds.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

# --- open(2): plain integers for the hot paths -------------------------------------------------------------
O_RDONLY: Final = 0
O_WRONLY: Final = 1
O_RDWR: Final = 2
O_ACCMODE: Final = 3
O_CREAT: Final = 0o100
O_EXCL: Final = 0o200
O_NOCTTY: Final = 0o400
O_TRUNC: Final = 0o1000
O_APPEND: Final = 0o2000
O_NONBLOCK: Final = 0o4000
O_DSYNC: Final = 0o10000
O_ASYNC: Final = 0o20000
O_DIRECT: Final = 0o40000
O_LARGEFILE: Final = 0o100000
O_DIRECTORY: Final = 0o200000
O_NOFOLLOW: Final = 0o400000
O_NOATIME: Final = 0o1000000
O_CLOEXEC: Final = 0o2000000
O_SYNC: Final = 0o4010000
O_PATH: Final = 0o10000000
O_TMPFILE_BIT: Final = 0o20000000
O_TMPFILE: Final = O_TMPFILE_BIT | O_DIRECTORY

# What F_GETFL shows: everything but the flags that only steer the open itself.
O_CREATION_FLAGS: Final = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC
# What F_SETFL may change.
O_SETFL_FLAGS: Final = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME
# What O_PATH leaves of the other flags.
O_PATH_FLAGS: Final = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC


class OpenFlags(IntFlag):
    """Flags of open(2), by name, for tracing and rare code."""

    RDONLY = O_RDONLY
    WRONLY = O_WRONLY
    RDWR = O_RDWR
    CREAT = O_CREAT
    EXCL = O_EXCL
    NOCTTY = O_NOCTTY
    TRUNC = O_TRUNC
    APPEND = O_APPEND
    NONBLOCK = O_NONBLOCK
    DSYNC = O_DSYNC
    ASYNC = O_ASYNC
    DIRECT = O_DIRECT
    LARGEFILE = O_LARGEFILE
    DIRECTORY = O_DIRECTORY
    NOFOLLOW = O_NOFOLLOW
    NOATIME = O_NOATIME
    CLOEXEC = O_CLOEXEC
    SYNC = O_SYNC
    PATH = O_PATH
    TMPFILE = O_TMPFILE


# --- st_mode -----------------------------------------------------------------------------------------------
S_IFMT: Final = 0o170000
S_IFIFO: Final = 0o010000
S_IFCHR: Final = 0o020000
S_IFDIR: Final = 0o040000
S_IFBLK: Final = 0o060000
S_IFREG: Final = 0o100000
S_IFLNK: Final = 0o120000
S_IFSOCK: Final = 0o140000

S_ISUID: Final = 0o4000
S_ISGID: Final = 0o2000
S_ISVTX: Final = 0o1000
S_IXUGO: Final = 0o111
S_IXGRP: Final = 0o010
S_IWOTH: Final = 0o002
PERMISSION_BITS: Final = 0o7777


class FileKind(IntEnum):
    """The type part of st_mode. ``kind >> 12`` is the d_type of a directory entry."""

    FIFO = S_IFIFO
    CHARACTER_DEVICE = S_IFCHR
    DIRECTORY = S_IFDIR
    BLOCK_DEVICE = S_IFBLK
    REGULAR = S_IFREG
    SYMLINK = S_IFLNK
    SOCKET = S_IFSOCK


# --- access(2) and permission checks -----------------------------------------------------------------------
F_OK: Final = 0
X_OK: Final = 1
W_OK: Final = 2
R_OK: Final = 4

# --- lseek(2) ----------------------------------------------------------------------------------------------
SEEK_SET: Final = 0
SEEK_CUR: Final = 1
SEEK_END: Final = 2
SEEK_DATA: Final = 3
SEEK_HOLE: Final = 4

# --- poll(2) -----------------------------------------------------------------------------------------------
POLLIN: Final = 0x001
POLLPRI: Final = 0x002
POLLOUT: Final = 0x004
POLLERR: Final = 0x008
POLLHUP: Final = 0x010
POLLNVAL: Final = 0x020
POLLRDNORM: Final = 0x040
POLLRDBAND: Final = 0x080
POLLWRNORM: Final = 0x100
POLLWRBAND: Final = 0x200
POLLRDHUP: Final = 0x2000

POLL_READABLE: Final = POLLIN | POLLRDNORM
POLL_WRITABLE: Final = POLLOUT | POLLWRNORM


class PollMask(IntFlag):
    """Events of poll(2) and epoll, by name."""

    IN = POLLIN
    PRI = POLLPRI
    OUT = POLLOUT
    ERR = POLLERR
    HUP = POLLHUP
    NVAL = POLLNVAL
    RDNORM = POLLRDNORM
    RDBAND = POLLRDBAND
    WRNORM = POLLWRNORM
    WRBAND = POLLWRBAND
    RDHUP = POLLRDHUP


# --- the *at calls -----------------------------------------------------------------------------------------
AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EACCESS: Final = 0x200
AT_REMOVEDIR: Final = 0x200
AT_SYMLINK_FOLLOW: Final = 0x400
AT_NO_AUTOMOUNT: Final = 0x800
AT_EMPTY_PATH: Final = 0x1000

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
RENAME_WHITEOUT: Final = 4

# utimensat(2): special values of tv_nsec
UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2

# setxattr(2)
XATTR_CREATE: Final = 1
XATTR_REPLACE: Final = 2

# fallocate(2)
FALLOC_FL_KEEP_SIZE: Final = 0x01
FALLOC_FL_PUNCH_HOLE: Final = 0x02
FALLOC_FL_ZERO_RANGE: Final = 0x10

# --- fcntl(2) locks and flock(2) ---------------------------------------------------------------------------
F_RDLCK: Final = 0
F_WRLCK: Final = 1
F_UNLCK: Final = 2
LOCK_SH: Final = 1
LOCK_EX: Final = 2
LOCK_NB: Final = 4
LOCK_UN: Final = 8

# --- limits ------------------------------------------------------------------------------------------------
NAME_MAX: Final = 255
PATH_MAX: Final = 4096  # with the NUL
SYMLINK_LIMIT: Final = 40
PIPE_BUF: Final = 4096
FILE_SIZE_MAX: Final = (1 << 63) - 1


class MountFlags(IntFlag):
    """Flags of mount(2) (linux/mount.h)."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    SYNCHRONOUS = 16
    REMOUNT = 32
    NOATIME = 1024
    NODIRATIME = 2048
    BIND = 4096
    MOVE = 8192
    REC = 16384
    SILENT = 32768
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    STRICTATIME = 1 << 24
    LAZYTIME = 1 << 25


class UnmountFlags(IntFlag):
    """Flags of umount2(2)."""

    FORCE = 1
    DETACH = 2
    EXPIRE = 4
    NOFOLLOW = 8


class FilesystemMagic(IntEnum):
    """f_type of statfs(2) (linux/magic.h)."""

    TMPFS = 0x01021994
    PROC = 0x9FA0
    DEVPTS = 0x1CD1
    PIPEFS = 0x50495045
    ANON_INODE = 0x09041934
    OVERLAY = 0x794C7630
    EXT4 = 0xEF53
    SOCKFS = 0x534F434B
    SYSFS = 0x62656572


def make_device(major: int, minor: int) -> int:
    """The 64-bit dev_t of ``major:minor`` in the layout of stat's st_dev (glibc's gnu_dev_makedev)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


def device_major(device: int) -> int:
    """The major number of a dev_t."""
    return (device >> 8 & 0xFFF) | (device >> 32 & 0xFFFFF000)


def device_minor(device: int) -> int:
    """The minor number of a dev_t."""
    return (device & 0xFF) | (device >> 12 & 0xFFFFFF00)
