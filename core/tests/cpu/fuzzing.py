"""Random bytes as ring-3 code, with a hostile register file and a memory manager that gives whatever is asked.

What must hold: the host process lives, every run ends, and nothing comes out of `run` but what the handlers
raised. What the code computes does not matter. ``python fuzzing.py FIRST_SEED COUNT`` runs a long campaign.
"""

from __future__ import annotations

import random
import struct
import time

from jefeos.cpu import paging
from jefeos.cpu.registers import Reg

from .conftest import CODE, DATA, RW, RWX, RX, STACK_TOP, Guest, R

_PREFIXES = (b"\x66", b"\xf2", b"\xf3", b"\xf0", b"\x48", b"\x4c", b"\x64", b"\x65", b"\x67", b"\x2e")
_ESCAPES = (b"\x0f", b"\x0f\x01", b"\x0f\x00", b"\x0f\x38", b"\x0f\x3a", b"\x0f\xae", b"\x0f\xc7", b"\xd9", b"\xdb",
            b"\xdf", b"\xc5", b"\xc4\xe2", b"\xc4\xe1", b"\x62", b"\xcd", b"\xff", b"\xcf", b"\xcb", b"\x48\xcf",
            b"\x8e", b"\xf3\xa4", b"\xf3\xaa", b"\xf2\xae", b"\x6c", b"\x6e", b"\xe4", b"\xe6", b"\xec", b"\xee",
            b"\x9d", b"\x0f\x05", b"\x0f\x34", b"\xc8", b"\xc9", b"\x0f\xa2", b"\xcc")  # fmt: skip
_MAX_EVENTS = 60
_TICK_MS = 2
_TICKS = 3


def random_code(rng: random.Random) -> bytes:
    """A page of bytes: plain noise, or noise with the rarer opcodes made common."""
    if rng.random() < 0.3:
        return rng.randbytes(4096)
    parts = []
    size = 0
    while size < 4096:
        part = b"".join(rng.choice(_PREFIXES) for _ in range(rng.choice((0, 0, 0, 1, 1, 2))))
        if rng.random() < 0.5:
            part += rng.choice(_ESCAPES)
        part += rng.randbytes(rng.randrange(1, 8))
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:4096]


def random_address(rng: random.Random) -> int:
    base = rng.choice(
        (
            DATA,
            DATA,
            CODE,
            STACK_TOP - 256,
            0,
            1 << 47,
            (1 << 47) - 4096,
            0xFFFF_8000_0000_1000,
            (1 << 64) - 8,
        )
    )
    return (base + rng.randrange(-64, 4096)) & ((1 << 64) - 1)


class Fuzzer:
    """One engine, used for many programs."""

    def __init__(self) -> None:
        self.guest = Guest()
        guest = self.guest
        self.first_frame = guest.next_frame
        self.rng = random.Random()
        self.events = 0
        guest.on_syscall = lambda nr, *rest: self._result()
        guest.on_interrupt = lambda vector: self._result()
        guest.on_fault = self._fault
        guest.engine.start_ticker(_TICK_MS)

    def _result(self) -> int | None:
        self.events += 1
        return None if self.rng.random() < 0.2 else self.rng.getrandbits(64)

    def _fault(self, address: int, code: int) -> bool:
        self.events += 1
        if self.events > _MAX_EVENTS or address >> 47 or self.rng.random() < 0.1:
            return False
        flags = RX if code & 0x10 else self.rng.choice((RW, RW, RW, R, RWX))
        if code & 2:
            flags |= paging.PTE_WRITE
        self.guest.map(address & ~paging.PAGE_MASK, flags, self.rng.randbytes(64))
        self.guest.engine.flush_tlb()
        return True

    def once(self, seed: int) -> None:
        """One program: run it until it stops, again a few times from where it is."""
        guest, rng = self.guest, self.rng
        rng.seed(seed)
        guest.engine.ram[self.first_frame * 4096 : (guest.next_frame + 1) * 4096] = bytes(
            (guest.next_frame + 1 - self.first_frame) * 4096
        )
        guest.next_frame = self.first_frame
        guest.cr3 = guest.new_space()
        guest.exceptions.clear()
        self.events = 0
        guest.map(CODE, RX if rng.random() < 0.8 else RWX, random_code(rng))
        guest.map(DATA, RW, rng.randbytes(4096))
        guest.map(STACK_TOP - 4096, RW, b"".join(struct.pack("<Q", random_address(rng)) for _ in range(512)))
        guest.engine.reset(rip=CODE, rsp=STACK_TOP - 2048, cr3=guest.cr3)
        guest.engine.invalidate_code(CODE, 4096)
        for register in range(Reg.RBP + 1):
            guest.engine.set(register, random_address(rng) if rng.random() < 0.7 else rng.getrandbits(64))
        for register in range(Reg.R8, Reg.R15 + 1):
            guest.engine.set(register, random_address(rng))
        guest.engine.set(Reg.RSP, STACK_TOP - 2048)
        if rng.random() < 0.1:
            guest.engine.set(Reg.RFLAGS, 0x302)
        ticks = 0
        context = guest.engine.new_context()
        limit = rng.choice((0, 0, 0, 1000)) if seed % 10 == 0 else 0
        for _ in range(12):
            before = len(guest.exceptions), self.events
            guest.engine.run(limit)
            guest.engine.save(context)
            guest.engine.load(context)
            ticks += guest.engine.ticked
            if ticks >= _TICKS or self.events > _MAX_EVENTS:
                break
            if (len(guest.exceptions), self.events) == before and not guest.engine.ticked and not limit:
                raise AssertionError(f"seed {seed}: a run ended without a reason at {guest.rip():#x}")
            # Past whatever stopped it.
            guest.engine.set(Reg.RIP, CODE + rng.randrange(4096))


def main() -> None:
    """A campaign, with the seed printed before each block so that a crash of the process names it."""
    import sys

    first, count = int(sys.argv[1]), int(sys.argv[2])
    fuzzer = Fuzzer()
    started = time.monotonic()
    for seed in range(first, first + count):
        with open("/dev/shm/jefeos-fuzz-seed", "w") as file:
            file.write(str(seed))
        fuzzer.once(seed)
    print(f"{count} programs in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
