"""Random sequences of file operations, for the host's Linux and for JefeOS alike (test_against_linux.py)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from jefeos.vfs import flags as f

Operation = tuple[Any, ...]
LENGTH = 400
NAMES = [b"a", b"b", b"c", b"d", b"e"]
LONG_NAME = b"n" * 256
FIRST_TREE: list[Operation] = [
    ("umask", 0o022),
    ("mkdir", b"/d", 0o755), ("mkdir", b"/d/a", 0o777), ("mkdir", b"/d/e", 0o2777), ("mkdir", b"/e", 0o1777),
    ("chmod", b"/d/e", 0o2777), ("chmod", b"/e", 0o1777), ("chmod", b"/d/a", 0o777), ("chmod", b"/", 0o777),
    ("put", b"/a", b"lower contents " * 700), ("put", b"/d/b", b"x"), ("put", b"/d/a/c", b"deep" * 3000),
    ("put", b"/e/a", b"of root"), ("link", b"/a", b"/d/c", False), ("symlink", b"d/a", b"/b"),
    ("symlink", b"/d/missing", b"/d/d"), ("symlink", b"/e/", b"/e/b"), ("mkfifo", b"/e/c", 0o644),
    ("symlink", b"../../c", b"/d/a/e"), ("chown", b"/d/a", 1000, 1000, True), ("chown", b"/d/b", 1000, 0, True),
    ("umask", 0o022),
]


def a_path(rng: random.Random) -> bytes:
    parts = [rng.choice(NAMES) for _ in range(rng.choice((1, 1, 2, 2, 2, 3, 3, 4)))]
    if rng.random() < 0.12:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice((b".", b"..", b"..", b"")))
    path = b"/".join(parts)
    chance = rng.random()
    if chance < 0.5:
        path = b"/" + path
    if rng.random() < 0.07:
        path += rng.choice((b"/", b"/.", b"/..", b"//"))
    if chance > 0.99:
        path = rng.choice((b"", b"/", b".", b"..", b"//", b"/.", LONG_NAME, b"a/" + LONG_NAME, b"a/" * 2047 + b"aa",
                           b"a/" * 2047 + b"a"))
    return path


def open_flags(rng: random.Random) -> int:
    flags = rng.choice((f.O_RDONLY, f.O_RDONLY, f.O_WRONLY, f.O_RDWR, f.O_RDWR)) | f.O_NONBLOCK
    for flag, odds in ((f.O_CREAT, 0.5), (f.O_EXCL, 0.15), (f.O_TRUNC, 0.2), (f.O_APPEND, 0.2), (f.O_NOFOLLOW, 0.15),
                       (f.O_DIRECTORY, 0.1), (f.O_PATH, 0.05), (f.O_NOATIME, 0.05)):
        if rng.random() < odds:
            flags |= flag
    if rng.random() < 0.02:
        flags = (flags & ~f.O_CREAT) | f.O_TMPFILE
    return flags


def a_mode(rng: random.Random) -> int:
    return rng.choice((0o644, 0o600, 0o755, 0o777, 0o000, 0o4755, 0o2755, 0o1777, 0o2644, rng.randrange(0o10000)))


def an_operation(rng: random.Random) -> Operation:
    path, other = a_path(rng), a_path(rng)
    slot = rng.randrange(6)
    makers: list[tuple[int, Callable[[], Operation]]] = [
        (22, lambda: ("open", slot, path, open_flags(rng), a_mode(rng))),
        (4, lambda: ("close", slot)),
        (6, lambda: ("read", slot, rng.choice((0, 1, 10, 5000)))),
        (8, lambda: ("write", slot, rng.choice((b"", b"hello", b"w" * 5000, b"z" * rng.randrange(200))))),
        (3, lambda: ("pread", slot, rng.randrange(6000), rng.choice((0, 3, 4090, 20000, -1)))),
        (3, lambda: ("pwrite", slot, b"p" * rng.randrange(6000), rng.choice((0, 3, 4090, 9000, -1)))),
        (3, lambda: ("lseek", slot, rng.choice((0, 5, -3, 10000)), rng.randrange(3))),
        (3, lambda: ("ftruncate", slot, rng.choice((0, 3, 5000, 12288, -1)))),
        (2, lambda: ("fstat", slot)),
        (2, lambda: ("fchmod", slot, a_mode(rng))),
        (9, lambda: ("mkdir", path, a_mode(rng) | 0o700)),
        (6, lambda: ("rmdir", path)),
        (7, lambda: ("unlink", path)),
        (5, lambda: ("symlink", other if rng.random() < 0.98 else b"", path)),
        (6, lambda: ("link", path, other, rng.random() < 0.3)),
        (12, lambda: ("rename", path, other, rng.choice((0, 0, 0, 1, 2, 3, 8)))),
        (4, lambda: ("chmod", path, a_mode(rng))),
        (4, lambda: ("chown", path, rng.choice((-1, 0, 1000, 1001)), rng.choice((-1, 0, 1000, 50, 60)),
                     rng.random() < 0.5)),
        (3, lambda: ("truncate", path, rng.choice((0, 3, 5000, 12288, -1)))),
        (6, lambda: ("stat", path, True)),
        (3, lambda: ("stat", path, False)),
        (3, lambda: ("readlink", path)),
        (3, lambda: ("access", path, rng.choice((0, 1, 2, 4, 6, 7)), rng.random() < 0.5)),
        (3, lambda: ("listdir", path)),
        (2, lambda: ("utime", path, rng.choice((None, (5_000_000_000, 6_000_000_001))))),
        (1, lambda: ("mkfifo", path, a_mode(rng))),
        (2, lambda: ("chdir", path)),
        (1, lambda: ("umask", rng.choice((0, 0o022, 0o077)))),
        (4, lambda: ("user", rng.choice((0, 0, 1000, 1001)))),
        (1, lambda: ("getcwd",)),
    ]
    return rng.choices([maker for _, maker in makers], [weight for weight, _ in makers])[0]()


def a_sequence(seed: int) -> list[Operation]:
    rng = random.Random(seed)
    return FIRST_TREE + [an_operation(rng) for _ in range(LENGTH)] + [("user", 0), ("tree",)]
