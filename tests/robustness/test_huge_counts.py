"""System calls with ranges of terabytes: what costs is what is there, in time and in the host's memory.

A regression test for each call that once took minutes, or gigabytes of the host.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jefeos.api import System

pytestmark = pytest.mark.peer

HEAD = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#define CHECK(what) if (!(what)) { printf("%s: errno %d\n", #what, errno); return 1; }
int main(void) {
"""

PUNCH = r"""
    char data[8192], back[8192];
    memset(data, 'x', sizeof data);
    int file = open("/tmp/sparse", O_RDWR | O_CREAT, 0600);
    CHECK(pwrite(file, data, 8192, 1UL << 40) == 8192)
    CHECK(ftruncate(file, 0x7fffffffffffffff) == 0)
    CHECK(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, (1UL << 40) + 4096) == 0)
    CHECK(pread(file, back, 8192, 1UL << 40) == 8192)
    CHECK(back[0] == 0 && back[4195] == 0 && back[4196] == 'x' && back[8191] == 'x')
"""

MINCORE = r"""
    size_t length = 50UL << 30, pages = length >> 12;
    char *answer = mmap(0, pages, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *memory = mmap(0, length, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memory[length - 1] = 1;
    CHECK(mincore(memory, length, answer) == 0)
    CHECK(answer[pages - 1] == 1 && answer[pages / 2] == 0)
    int file = open("/tmp/sparse", O_RDWR | O_CREAT, 0600);
    CHECK(ftruncate(file, length) == 0)
    CHECK(pwrite(file, "x", 1, 5 << 12) == 1)
    memory = mmap(0, length, 3, MAP_SHARED, file, 0);
    CHECK(mincore(memory, length, answer) == 0)
    CHECK(answer[4] == 0 && answer[5] == 1 && answer[6] == 0)
"""

WRITEV = r"""
    enum { PIECES = 1024, LENGTH = 1 << 20 };
    char *memory = mmap(0, LENGTH, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec vector[PIECES];
    for (int i = 0; i < PIECES; i++) { vector[i].iov_base = memory; vector[i].iov_len = LENGTH; }
    memory[LENGTH - 1] = 'e';
    int null = open("/dev/null", O_WRONLY), file = open("/tmp/f", O_RDWR | O_CREAT, 0600);
    CHECK(writev(null, vector, PIECES) == (long)PIECES * LENGTH)
    vector[19].iov_base = 0;
    CHECK(pwritev(file, vector, 20, 7) == 19L * LENGTH)
    char last;
    CHECK(lseek(file, 0, SEEK_END) == 7 + 19L * LENGTH && pread(file, &last, 1, 6 + 19L * LENGTH) == 1 && last == 'e')
"""


SENDMSG = r"""
    enum { PIECES = 1024, LENGTH = 1 << 20 };
    char *memory = mmap(0, LENGTH, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec vector[PIECES];
    for (int i = 0; i < PIECES; i++) { vector[i].iov_base = memory; vector[i].iov_len = LENGTH; }
    struct msghdr message = { .msg_iov = vector, .msg_iovlen = PIECES };
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0)
    CHECK(sendmsg(pair[0], &message, MSG_DONTWAIT) == -1 && errno == EMSGSIZE)
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0)
    CHECK(sendmsg(pair[0], &message, MSG_DONTWAIT) > 65536)
"""


@pytest.mark.parametrize(
    "body", [PUNCH, MINCORE, WRITEV, SENDMSG], ids=["punch-hole", "mincore", "writev", "sendmsg"]
)
def test_huge_ranges_take_no_time(jefeos_boot: Callable[..., System], tmp_path: Path, body: str) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    source, program = tmp_path / "huge.c", tmp_path / "huge"
    source.write_text(f'{HEAD}{body}    puts("good");\n    return 0;\n}}\n')
    subprocess.run([compiler, "-static", "-w", "-O1", "-o", program, source], check=True)
    system = jefeos_boot(mount=[f"{tmp_path}:/mnt"], ram="128M")
    done = system.run(["/mnt/huge"], timeout=60)
    assert (done.status, done.stdout, done.stderr) == (0, b"good\n", b"")
