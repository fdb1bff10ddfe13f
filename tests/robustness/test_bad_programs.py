"""Bad input: programs that are broken, malicious or greedy. Each ends in the right errno or signal; the kernel goes on.

The fixture ``jefeos_boot`` asserts at the end of each test that no frame leaked and that no handler of the kernel
failed with an exception of its own.
"""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jefeos.api import ProgramTimeout, System
from jefeos.errors import Errno, KernelError

pytestmark = pytest.mark.peer

Boot = Callable[..., System]
Program = Callable[[str], str]

ELF_HEADER_FIELDS = {  # Elf64_Ehdr (elf(5)): offset and struct code
    "e_ident[EI_CLASS]": (4, "B"),
    "e_ident[EI_DATA]": (5, "B"),
    "e_ident[EI_VERSION]": (6, "B"),
    "e_type": (16, "H"),
    "e_machine": (18, "H"),
    "e_version": (20, "I"),
    "e_entry": (24, "Q"),
    "e_phoff": (32, "Q"),
    "e_shoff": (40, "Q"),
    "e_flags": (48, "I"),
    "e_ehsize": (52, "H"),
    "e_phentsize": (54, "H"),
    "e_phnum": (56, "H"),
    "e_shentsize": (58, "H"),
    "e_shnum": (60, "H"),
    "e_shstrndx": (62, "H"),
}
PROGRAM_HEADER_FIELDS = {  # Elf64_Phdr
    "p_type": (0, "I"),
    "p_flags": (4, "I"),
    "p_offset": (8, "Q"),
    "p_vaddr": (16, "Q"),
    "p_paddr": (24, "Q"),
    "p_filesz": (32, "Q"),
    "p_memsz": (40, "Q"),
    "p_align": (48, "Q"),
}
PROGRAM_HEADER_BYTES = 56
ALLOWED_ERRORS = {  # execve(2); EFAULT where Linux, past the point of no return, kills the process
    Errno.ENOEXEC,
    Errno.EINVAL,
    Errno.ENOMEM,
    Errno.EACCES,
    Errno.ENOENT,
    Errno.ELIBBAD,
    Errno.EIO,
    Errno.EFAULT,
    Errno.EOVERFLOW,
}


def extremes(code: str) -> list[int]:
    """Values at the edges of a field."""
    bits = struct.calcsize(code) * 8
    top = (1 << bits) - 1
    edges = {0, 1, top, top >> 1, (top >> 1) + 1, 0xFFF, 0x1000}
    if bits == 64:
        edges |= {0x7FFFFFFFF000, 0x7FFFFFFFE000, 0x800000000000, 0xFFFFFFFFFFFFF000, 1 << 62}
    return sorted(edge & top for edge in edges)


def patched(image: bytes, offset: int, code: str, value: int) -> bytes:
    """The image with one field set."""
    return image[:offset] + struct.pack("<" + code, value) + image[offset + struct.calcsize(code) :]


def run_broken(system: System, content: bytes) -> None:
    """The program may be refused, may die of a signal, loop or exit: but it ends, and the next one runs."""
    vfs = system.kernel.vfs
    refusal = None
    with contextlib.suppress(KernelError):  # there is none the first time
        vfs.unlink(vfs.as_kernel(), b"/tmp/broken")
    system.write_file("/tmp/broken", content, 0o755)
    try:
        system.run(["/tmp/broken"], timeout=5)
    except KernelError as error:
        refusal = error
    except ProgramTimeout:
        pass  # an endless loop is the program's right; the kernel ended it
    assert refusal is None or refusal.errno in ALLOWED_ERRORS, str(refusal)


@pytest.mark.parametrize("kind", ["glibc-static", "glibc-dynamic"])
def test_each_elf_field_at_its_extremes(jefeos_boot: Boot, program: Program, kind: str) -> None:
    image = Path(program(f"hello-{kind}")).read_bytes()
    system = jefeos_boot(root="/", virtual_time=True)
    for offset, code in ELF_HEADER_FIELDS.values():
        for value in extremes(code):
            run_broken(system, patched(image, offset, code, value))
    (count,) = struct.unpack_from("<H", image, 56)
    for header in range(count):
        for field, code in PROGRAM_HEADER_FIELDS.values():
            offset = 64 + header * PROGRAM_HEADER_BYTES + field
            for value in random.Random(offset).sample(extremes(code), 3):
                run_broken(system, patched(image, offset, code, value))
    assert system.run(["/bin/echo", "alive"]).stdout == b"alive\n"


def test_truncated_at_many_lengths(jefeos_boot: Boot, program: Program) -> None:
    image = Path(program("hello-musl-static")).read_bytes()
    system = jefeos_boot(root="/", virtual_time=True)
    rng = random.Random(1)
    for length in [*range(0, 200, 3), *(rng.randrange(len(image)) for _ in range(60))]:
        run_broken(system, image[:length])
    assert system.run(["/bin/echo", "alive"]).stdout == b"alive\n"


def test_flipped_bytes(jefeos_boot: Boot, program: Program) -> None:
    image = Path(program("hello-musl-static")).read_bytes()
    system = jefeos_boot(root="/", virtual_time=True)
    rng = random.Random(2)
    for _ in range(100):
        broken = bytearray(image)
        for _ in range(rng.choice((1, 10, 200))):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        run_broken(system, bytes(broken))
    assert system.run(["/bin/echo", "alive"]).stdout == b"alive\n"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)])
def test_every_system_call_with_garbage(jefeos_boot: Boot, program: Program, seed: int) -> None:
    system = jefeos_boot(root="/", virtual_time=True, seed=seed)
    calls = 100
    first = 0
    while first <= 470:  # in parts, so that one test's time limit covers all
        last = min(first + 46, 470)
        done = system.run([program("fuzz-glibc-static"), str(seed), str(calls), str(first), str(last)], timeout=3000)
        assert done.status == 0, (first, done)
        assert b"calls" in done.stdout
        first = last + 1
    assert system.run(["/bin/echo", "alive"]).stdout == b"alive\n"


def test_fork_bomb_under_a_process_limit(jefeos_boot: Boot, program: Program) -> None:
    system = jefeos_boot(root="/")
    done = system.run([program("bomb-glibc-static"), "fork"], timeout=200)
    assert done.stdout == b"fork: Resource temporarily unavailable\n"
    assert done.status == 0


def test_fork_bomb_under_the_kernels_own_limit(jefeos_boot: Boot) -> None:
    system = jefeos_boot(root="/", max_processes=30, virtual_time=True)  # bash waits for 15 s and tries again
    done = system.run(["/bin/bash", "-c", "for i in {1..100}; do sleep 1000 & done"], timeout=200)
    assert b"Resource temporarily unavailable" in done.stderr
    assert system.run(["/bin/echo", "alive"]).stdout == b"alive\n"


def test_memory_hog_under_64_megabytes(jefeos_boot: Boot, program: Program, caplog: Any) -> None:
    system = jefeos_boot(root="/", ram="64M")
    with caplog.at_level("WARNING", logger="jefeos"):
        done = system.run([program("bomb-glibc-static"), "memory"], timeout=200)
    assert done.signal == 9
    lines = [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    assert len(lines) == 1, lines
    assert "bomb" in lines[0]
    assert system.run(["/bin/echo", "alive"]).stdout == b"alive\n"


def test_files_in_memory_are_bounded_too(jefeos_boot: Boot) -> None:
    system = jefeos_boot(root="/", ram="64M")
    done = system.run(["/bin/sh", "-c", "cat /dev/zero > /tmp/big; echo $?; rm /tmp/big; echo alive"], timeout=200)
    assert done.stdout == b"1\nalive\n"
    assert b"No space left on device" in done.stderr
