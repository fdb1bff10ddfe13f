"""The initial stack and the signal frame: layouts against the psABI and the host's compiler."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jefeos
import pytest
from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import SignalInfo
from jefeos_abi_linux import auxv
from jefeos_abi_linux.auxv import Aux, argument_limit_bytes, build_stack, check_sizes
from jefeos_abi_linux.loader import Layout
from jefeos_abi_linux.siginfo import siginfo_bytes
from jefeos_abi_linux.signal_frame import RtSigframe, SigContext, StackT, UContext

TOP = 0x7FFF_0000_0000


class Memory:
    """As much of an address space as writing a stack needs."""

    def __init__(self) -> None:
        self.data = bytearray(1 << 16)

    def write(self, address: int, data: bytes) -> None:
        start = address - (TOP - len(self.data))
        self.data[start : start + len(data)] = data

    def read(self, address: int, length: int) -> bytes:
        start = address - (TOP - len(self.data))
        return bytes(self.data[start : start + length])

    def words(self, address: int) -> Any:
        while True:
            yield struct.unpack("<Q", self.read(address, 8))[0]
            address += 8

    def string(self, address: int) -> bytes:
        return self.read(address, 4096).partition(b"\0")[0]


@pytest.mark.parametrize("gap", [0, 1, 4095, 8191])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_stack_is_what_the_psabi_says(gap: int, count: int) -> None:
    memory: Any = Memory()
    argv = [b"x" * n for n in range(1, count + 1)]
    environ = [b"A=1", b"LONG=" + b"y" * 300]
    stack_pointer, vector = build_stack(
        memory, TOP, b"/bin/program", argv, environ, [(Aux.PAGESZ, 4096)], bytes(range(16)), gap
    )
    assert stack_pointer % 16 == 0
    words = memory.words(stack_pointer)
    assert next(words) == max(count, 1)
    assert [memory.string(next(words)) for _ in range(max(count, 1))] == (argv or [b""])
    assert next(words) == 0
    assert [memory.string(next(words)) for _ in environ] == environ
    assert next(words) == 0
    found = {}
    while (kind := next(words)) != Aux.NULL:
        found[kind] = next(words)
    assert found[Aux.PAGESZ] == 4096
    assert memory.read(found[Aux.RANDOM], 16) == bytes(range(16))
    assert memory.string(found[Aux.EXECFN]) == b"/bin/program"
    assert memory.string(found[Aux.PLATFORM]) == b"x86_64"
    assert vector in bytes(memory.data)
    assert memory.read(TOP - 8, 8) == bytes(8)


def test_limits_of_arguments() -> None:
    megabyte = 1 << 20
    check_sizes(b"/p", [b"x" * (auxv.ARGUMENT_LIMIT_BYTES - 1)], [], 8 * megabyte)
    for argv in ([b"x" * auxv.ARGUMENT_LIMIT_BYTES], [b"x" * 1000] * 2100):
        with pytest.raises(KernelError) as caught:
            check_sizes(b"/p", argv, [], 8 * megabyte)
        assert caught.value.errno == Errno.E2BIG
    assert argument_limit_bytes(8 * megabyte) == 2 * megabyte
    assert argument_limit_bytes(1 << 62) == 6 * megabyte
    assert argument_limit_bytes(0) == 128 << 10


@pytest.mark.parametrize("random", [bytes(48), b"\xff" * 48, bytes(range(48))])
@pytest.mark.parametrize("limit", [0, 8 << 20, (1 << 64) - 1])
def test_layouts_stay_in_user_space(random: bytes, limit: int) -> None:
    layout = Layout.choose(random[:8], random[8:40], limit)
    assert 0 < layout.mmap_base < layout.stack_top <= 0x7FFF_FFFF_F000
    assert layout.pie_bias < layout.mmap_base or limit > 1 << 40
    for address in (layout.stack_top, layout.mmap_base, layout.pie_bias, layout.brk_offset):
        assert address % 4096 == 0


@pytest.mark.peer
def test_code_is_placed_once_a_boot_and_stacks_for_each_program(
    host_program: Callable[[str], str], jefeos_boot: Callable[..., jefeos.System]
) -> None:
    """The engine translates code anew wherever it is seen at another address."""

    def places(system: jefeos.System) -> tuple[list[bytes], bytes]:
        lines = system.run([cat, "/proc/self/maps"], check=True).stdout.splitlines()
        code = [line.split()[0] for line in lines if b" r-xp " in line]
        (stack,) = (line.split()[0] for line in lines if line.endswith(b"[stack]"))
        return code, stack

    cat = host_program("cat")
    system = jefeos_boot(root="/")
    first, second = places(system), places(system)
    assert len(first[0]) >= 3  # the program, the C library, the dynamic linker
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert set(first[0]).isdisjoint(places(jefeos_boot(root="/"))[0])


OFFSETS = {
    "struct ucontext": (UContext, ["uc_flags", "uc_link", "uc_stack", "uc_mcontext", "uc_sigmask"]),
    "struct sigcontext": (SigContext, ["cs", "err", "trapno", "oldmask", "cr2"]),
    "stack_t": (StackT, ["ss_sp", "ss_flags", "ss_size"]),
}


@pytest.mark.peer
def test_offsets_are_the_compilers(host_program: Callable[[str], str], tmp_path: Path) -> None:
    lines = [
        f'printf("%zu\\n", offsetof({name}, {field}));' for name, (_, fields) in OFFSETS.items() for field in fields
    ]
    lines += [f'printf("%zu\\n", sizeof({name}));' for name in OFFSETS]
    lines += [
        'printf("%zu\\n", offsetof(struct sigcontext, fpstate));',
        'printf("%zu\\n", sizeof(siginfo_t));',
    ]
    source = (
        "#include <stddef.h>\n#include <stdio.h>\n#include <asm/siginfo.h>\n#include <asm/signal.h>\n"
        "#include <asm/sigcontext.h>\n#include <asm/ucontext.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n"
    )
    (tmp_path / "offsets.c").write_text(source)
    program = tmp_path / "offsets"
    subprocess.run([host_program("gcc"), "-w", "-o", program, tmp_path / "offsets.c"], check=True, timeout=60)
    said = [int(line) for line in subprocess.run([program], capture_output=True, check=True).stdout.split()]
    ours = [_offset(structure, field) for structure, fields in OFFSETS.values() for field in fields]
    ours += [structure.size for structure, _ in OFFSETS.values()]
    ours += [_offset(SigContext, "fpstate"), len(siginfo_bytes(SignalInfo(10)))]
    assert said == ours
    assert RtSigframe.size == 8 + UContext.size + 128


def _offset(structure: Any, field: str) -> int:
    """Where a member is: pack a mark into it and look for it."""
    kind = structure._fields[field]
    zeros = structure().pack()
    if kind.kind is not None:  # a nested structure: its first integer member
        inner = kind.kind()
        first = next(iter(kind.kind._fields))
        setattr(inner, first, b"\1" if kind.kind._fields[first].code.endswith("s") else 1)
        marked = structure(**{field: inner}).pack()
    else:
        marked = structure(**{field: 1}).pack()
    return next(index for index in range(len(zeros)) if zeros[index] != marked[index])
