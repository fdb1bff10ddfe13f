"""ELF executables: reading the headers of a 64-bit x86 program, none of which is to be trusted.

    Elf64_Ehdr ── e_phoff, e_phnum ──> Elf64_Phdr[] ── PT_LOAD    bytes of the file to map
                                                    ── PT_INTERP  path of the dynamic linker
                                                    ── PT_GNU_STACK, PT_PHDR, PT_TLS …

Two kinds of failure, as on Linux. While the old program could still go on (the headers are no program at all,
the interpreter is missing) execve fails with ENOEXEC, EIO, ENOENT, ELIBBAD … Once the old address space would be
gone (a segment cannot be mapped), there is nobody to return to: `FatalLoadError`, and the process dies of SIGSEGV.

Work is bounded: at most 64 KiB of program headers are read, and every length is checked before it is used.
Sections, symbols and relocations are not looked at: those are the dynamic linker's.

Source: System V gABI, chapters 4 and 5; the checks and their errnos are those that execve(2) shows on Linux.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen
from jefeos.cpu.paging import PAGE_MASK, PAGE_SIZE, TASK_SIZE
from jefeos.errors import Errno, KernelError
from jefeos.structs import Struct, nested, raw, u8, u16, u32, u64

ELF_MAGIC: Final = b"\x7fELF"
MACHINE_X86_64: Final = 62
TYPE_EXECUTABLE: Final = 2
TYPE_SHARED: Final = 3

PT_LOAD: Final = 1
PT_INTERP: Final = 3
PT_GNU_STACK: Final = 0x6474E551

PF_X: Final = 1
PF_W: Final = 2
PF_R: Final = 4

PROGRAM_HEADERS_LIMIT_BYTES: Final = 65536
INTERPRETER_LIMIT_BYTES: Final = 4096

ReadAt = Callable[[int, int], bytes]
"""``read_at(count, offset)``: up to ``count`` bytes of the file; fewer only at its end."""


class FatalLoadError(KernelError):
    """The program broke after the point of no return: Linux would have killed the process with SIGSEGV."""


class Identification(Struct):
    """e_ident."""

    magic: bytes = raw(4)
    ei_class: int = u8(2)
    ei_data: int = u8(1)
    ei_version: int = u8(1)
    ei_osabi: int = u8()
    ei_pad: bytes = raw(8)


class Elf64Header(Struct):
    """Elf64_Ehdr."""

    e_ident: Identification = nested(Identification)
    e_type: int = u16()
    e_machine: int = u16()
    e_version: int = u32()
    e_entry: int = u64()
    e_phoff: int = u64()
    e_shoff: int = u64()
    e_flags: int = u32()
    e_ehsize: int = u16()
    e_phentsize: int = u16()
    e_phnum: int = u16()
    e_shentsize: int = u16()
    e_shnum: int = u16()
    e_shstrndx: int = u16()


class ProgramHeader(Struct):
    """Elf64_Phdr."""

    p_type: int = u32()
    p_flags: int = u32()
    p_offset: int = u64()
    p_vaddr: int = u64()
    p_paddr: int = u64()
    p_filesz: int = u64()
    p_memsz: int = u64()
    p_align: int = u64()


@frozen
class ElfImage:
    """The headers of one file, checked as far as they can be without mapping anything."""

    header: Elf64Header
    program_headers: tuple[ProgramHeader, ...]

    @property
    def loads(self) -> list[ProgramHeader]:
        """PT_LOAD segments in file order."""
        return [header for header in self.program_headers if header.p_type == PT_LOAD]

    @property
    def is_position_independent(self) -> bool:
        """ET_DYN: a PIE, a static PIE or a dynamic linker."""
        return self.header.e_type == TYPE_SHARED

    @property
    def wants_executable_stack(self) -> bool:
        """PT_GNU_STACK asks for it. Without that header the stack is not executable on x86-64."""
        flags = [header.p_flags for header in self.program_headers if header.p_type == PT_GNU_STACK]
        return bool(flags and flags[-1] & PF_X)

    def program_headers_address(self) -> int:
        """Address of the program headers in the image, before the load bias; 0 if no segment holds them.

        Of several segments that hold them the last one counts, as on Linux.
        """
        wanted = self.header.e_phoff
        address = 0
        for segment in self.loads:
            if segment.p_offset <= wanted < segment.p_offset + segment.p_filesz:
                address = wanted - segment.p_offset + segment.p_vaddr
        return address


def is_elf(head: bytes) -> bool:
    """Whether the file's first bytes are those of an ELF file of any kind."""
    return head.startswith(ELF_MAGIC)


def read_image(read_at: ReadAt, *, bad: Errno = Errno.ENOEXEC) -> ElfImage:
    """Read and check the headers. ``bad`` is the errno of a malformed file: ELIBBAD for an interpreter."""
    head = read_at(Elf64Header.size, 0)
    if len(head) < Elf64Header.size:
        # execve reads the opening of a program into a zeroed buffer, but that of an interpreter exactly.
        if bad is not Errno.ENOEXEC:
            raise KernelError(Errno.EIO, "the interpreter is shorter than an ELF header")
        head = head.ljust(Elf64Header.size, b"\0")
    header = Elf64Header.parse(head)
    if header.e_ident.magic != ELF_MAGIC or header.e_machine != MACHINE_X86_64:
        raise KernelError(bad, "not an x86-64 ELF file")
    if header.e_type not in (TYPE_EXECUTABLE, TYPE_SHARED):
        if bad is not Errno.ENOEXEC:
            raise FatalLoadError(bad, f"the interpreter has ELF type {header.e_type}")
        raise KernelError(bad, f"ELF type {header.e_type} is not a program")
    return ElfImage(header, _read_program_headers(read_at, header, bad))


def _read_program_headers(read_at: ReadAt, header: Elf64Header, bad: Errno) -> tuple[ProgramHeader, ...]:
    length = header.e_phnum * ProgramHeader.size
    if header.e_phentsize != ProgramHeader.size:
        raise KernelError(bad, f"program headers of {header.e_phentsize} bytes")
    if not 0 < length <= PROGRAM_HEADERS_LIMIT_BYTES:
        raise KernelError(bad, f"{header.e_phnum} program headers")
    table = read_exactly(read_at, length, header.e_phoff, bad)
    return tuple(ProgramHeader.parse(table, offset) for offset in range(0, length, ProgramHeader.size))


def read_exactly(read_at: ReadAt, length: int, offset: int, short: Errno = Errno.EIO) -> bytes:
    """``length`` bytes at ``offset``; ``short`` if the file ends before."""
    if offset >= 1 << 63:
        raise KernelError(short if short is not Errno.EIO else Errno.EINVAL, f"file offset {offset:#x}")
    data = read_at(length, offset)
    if len(data) != length:
        raise KernelError(short, f"the file ends within {length} bytes at {offset:#x}")
    return data


def interpreter_path(read_at: ReadAt, image: ElfImage) -> bytes | None:
    """The path in PT_INTERP (the first one counts), or None for a static program."""
    for header in image.program_headers:
        if header.p_type != PT_INTERP:
            continue
        if not 2 <= header.p_filesz <= INTERPRETER_LIMIT_BYTES:
            raise KernelError(Errno.ENOEXEC, f"PT_INTERP of {header.p_filesz} bytes")
        text = read_exactly(read_at, header.p_filesz, header.p_offset)
        if text[-1] != 0:
            raise KernelError(Errno.ENOEXEC, "PT_INTERP is not NUL-terminated")
        return text[: text.index(0)]
    return None


def check_segment(segment: ProgramHeader, bias: int) -> int:
    """The user address of a PT_LOAD segment under a load bias. Raises FatalLoadError."""
    address = (segment.p_vaddr + bias) & ((1 << 64) - 1)
    if address >= TASK_SIZE or segment.p_filesz > segment.p_memsz or segment.p_memsz > TASK_SIZE - address:
        raise FatalLoadError(
            Errno.EINVAL,
            f"segment at {address:#x}: {segment.p_filesz:#x} file bytes, {segment.p_memsz:#x} bytes in memory",
        )
    if segment.p_filesz and (segment.p_vaddr - segment.p_offset) & PAGE_MASK:
        raise FatalLoadError(
            Errno.EINVAL, f"segment at {address:#x} has file offset {segment.p_offset:#x}, of another page offset"
        )
    return address


def span(loads: list[ProgramHeader]) -> tuple[int, int]:
    """First page and length in bytes of what all segments cover together. Raises FatalLoadError if nothing does."""
    if not loads:
        raise FatalLoadError(Errno.EINVAL, "no PT_LOAD segment")
    start = min(segment.p_vaddr for segment in loads) & ~PAGE_MASK
    end = max(segment.p_vaddr + segment.p_memsz for segment in loads)
    length = -(-(end - start) // PAGE_SIZE) * PAGE_SIZE
    if not 0 < length <= TASK_SIZE:
        raise FatalLoadError(Errno.EINVAL, f"segments span {length:#x} bytes")
    return start, length


def alignment(loads: list[ProgramHeader]) -> int:
    """The largest alignment any segment asks for (a power of two, at least a page, never absurd)."""
    largest = PAGE_SIZE
    for segment in loads:
        wanted = segment.p_align
        if wanted & (wanted - 1) == 0 and largest < wanted <= 1 << 30:
            largest = wanted
    return largest
