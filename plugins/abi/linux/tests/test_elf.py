"""The ELF reader on files that lie: every header field at its extremes, truncation at every length, random bytes.

Whatever the file says, the reader gives an image or raises KernelError with an errno that execve can have.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from jefeos.errors import Errno, KernelError
from jefeos_abi_linux.elf import (
    MACHINE_X86_64,
    PF_X,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    TYPE_EXECUTABLE,
    TYPE_SHARED,
    Elf64Header,
    ElfImage,
    FatalLoadError,
    Identification,
    ProgramHeader,
    alignment,
    check_segment,
    interpreter_path,
    read_image,
    span,
)

ALLOWED = {Errno.ENOEXEC, Errno.EIO, Errno.EINVAL, Errno.ELIBBAD, Errno.ENOMEM}
INTERPRETER = b"/lib/ld.so\0"


def make_file(*extra: ProgramHeader, kind: int = TYPE_EXECUTABLE) -> bytes:
    """A small well-formed program: one PT_LOAD, an interpreter, whatever is added."""
    offset = Elf64Header.size
    headers = [
        ProgramHeader(p_type=PT_LOAD, p_flags=5, p_offset=0, p_vaddr=0x400000, p_filesz=0x1000, p_memsz=0x1000),
        ProgramHeader(p_type=PT_INTERP, p_offset=0x800, p_filesz=len(INTERPRETER), p_memsz=len(INTERPRETER)),
        *extra,
    ]
    header = Elf64Header(
        e_ident=Identification(magic=b"\x7fELF"),
        e_type=kind,
        e_machine=MACHINE_X86_64,
        e_entry=0x400100,
        e_phoff=offset,
        e_phentsize=ProgramHeader.size,
        e_phnum=len(headers),
    )
    data = header.pack() + b"".join(item.pack() for item in headers)
    return (data.ljust(0x800, b"\0") + INTERPRETER).ljust(0x1000, b"\x90")


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda count, offset: data[offset : offset + count]


def examine(data: bytes) -> ElfImage | None:
    """Everything the loader asks of a file before it maps it. None when it is refused as it should be."""
    try:
        image = read_image(reader(data))
        interpreter_path(reader(data), image)
        image.program_headers_address()
        span(image.loads)
        alignment(image.loads)
        for segment in image.loads:
            check_segment(segment, 0)
        return image
    except KernelError as error:
        if error.errno not in ALLOWED:
            raise
        return None


def test_a_good_file_is_read() -> None:
    data = make_file(ProgramHeader(p_type=PT_GNU_STACK, p_flags=6 | PF_X), kind=TYPE_SHARED)
    image = read_image(reader(data))
    assert image.is_position_independent
    assert image.wants_executable_stack
    assert image.program_headers_address() == 0x400000 + Elf64Header.size
    assert interpreter_path(reader(data), image) == INTERPRETER[:-1]
    assert span(image.loads) == (0x400000, 0x1000)


def test_every_field_at_its_extremes() -> None:
    data = make_file()
    refused = 0
    fields = [(offset, size) for offset, size in _fields(Elf64Header, 16)]
    for position in range(2):
        base = Elf64Header.size + position * ProgramHeader.size
        fields += [(base + offset, size) for offset, size in _fields(ProgramHeader, 0)]
    for offset, size in fields:
        top = (1 << 8 * size) - 1
        for value in (0, 1, 2, 0xFFF, 0x1000, top // 2, top // 2 + 1, top - 0xFFF, top):
            mutated = bytearray(data)
            mutated[offset : offset + size] = (value & top).to_bytes(size, "little")
            refused += examine(bytes(mutated)) is None
    assert refused > 50


def _fields(structure: type[Elf64Header] | type[ProgramHeader], skip: int) -> list[tuple[int, int]]:
    sizes = {"H": 2, "I": 4, "Q": 8}
    at, found = skip, []
    for field in list(structure._fields.values())[1 if skip else 0 :]:
        found.append((at, sizes[field.code]))
        at += sizes[field.code]
    assert at == structure.size
    return found


def test_truncation_at_every_length() -> None:
    data = make_file()
    for length in range(len(data)):
        cut = data[:length]
        if length < Elf64Header.size + 2 * ProgramHeader.size or length < 0x800 + len(INTERPRETER):
            assert examine(cut) is None
        else:
            assert examine(cut) is not None


def test_random_bytes() -> None:
    chance = random.Random(5)
    data = make_file()
    for _ in range(3000):
        mutated = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            mutated[chance.randrange(0, 180)] = chance.randrange(256)
        examine(bytes(mutated))


@pytest.mark.parametrize(
    ("change", "errno"),
    [
        ({"e_machine": 3}, Errno.ENOEXEC),
        ({"e_type": 1}, Errno.ENOEXEC),
        ({"e_phentsize": 32}, Errno.ENOEXEC),
        ({"e_phnum": 0}, Errno.ENOEXEC),
        ({"e_phnum": 1171}, Errno.ENOEXEC),
        ({"e_phoff": 1 << 63}, Errno.ENOEXEC),
    ],
)
def test_what_execve_says(change: dict[str, int], errno: Errno) -> None:
    data = make_file()
    header = Elf64Header.parse(data)
    for name, value in change.items():
        setattr(header, name, value)
    with pytest.raises(KernelError) as caught:
        read_image(reader(header.pack() + data[Elf64Header.size :]))
    assert caught.value.errno == errno
    assert not isinstance(caught.value, FatalLoadError)


def test_an_interpreter_that_is_no_program() -> None:
    with pytest.raises(KernelError) as caught:
        read_image(reader(b"\x7fELF".ljust(200, b"\0")), bad=Errno.ELIBBAD)
    assert caught.value.errno == Errno.ELIBBAD
    with pytest.raises(KernelError) as caught:
        read_image(reader(b"\x7fEL"), bad=Errno.ELIBBAD)
    assert caught.value.errno == Errno.EIO
