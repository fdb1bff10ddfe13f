"""What the engine's hot paths cost here: ``python -m jefeos.cpu.bench``.

Each measurement runs a few instructions of guest code in a loop, with the smallest handler in the kernel's place,
so the figures are the floor under every system call and page fault. Best of several rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from jefeos.cpu import paging
from jefeos.cpu.engine import Engine
from jefeos.cpu.registers import Reg

_RAM_BYTES: Final = 64 << 20
_CODE: Final = 0x40_0000
_DATA: Final = 0x100_0000
_ROUNDS: Final = 5
_SYSCALLS: Final = 100_000
_FAULTS: Final = 4096
_SWITCHES: Final = 20_000
_LOOPS: Final = 50_000_000
_DONE: Final = 1

# r15 counts down to the last system call, whose number is _DONE.
_SYSCALL_LOOP: Final = b"\x31\xc0\x0f\x05\x49\xff\xcf\x75\xf7\xb8\x01\x00\x00\x00\x0f\x05"
_TOUCH_LOOP: Final = (
    b"\x4c\x89\x3f\x48\x81\xc7\x00\x10\x00\x00\x49\xff\xcf\x75\xf1"  # mov [rdi],r15; add rdi,4096; dec r15; jnz
    b"\xb8\x01\x00\x00\x00\x0f\x05"
)
_SPIN_LOOP: Final = b"\x49\xff\xcf\x75\xfb\xb8\x01\x00\x00\x00\x0f\x05"
_STORE_LOOP: Final = b"\x4c\x89\x3f\x49\xff\xcf\x75\xf8\xb8\x01\x00\x00\x00\x0f\x05"


class _Bench:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._next_frame = engine.reserved_bytes >> paging.PAGE_SHIFT
        self._cr3 = self._frame() << paging.PAGE_SHIFT
        self._code_frame = self._frame()
        for index, entry in engine.kernel_entries:
            engine.ram_words[(self._cr3 >> 3) + index] = entry
        engine.attach(
            syscall=lambda nr, *_: None if nr == _DONE else 0,
            page_fault=self._fault,
            exception=self._exception,
            interrupt=lambda vector: None,
        )

    def _frame(self) -> int:
        self._next_frame += 1
        return self._next_frame - 1

    def _exception(self, vector: int, code: int) -> None:
        raise RuntimeError(f"benchmark code raised exception {vector}")

    def _word(self, address: int) -> int:
        words, table = self.engine.ram_words, self._cr3
        for shift in paging.LEVEL_SHIFTS[:3]:
            word = (table >> 3) + paging.table_index(address, shift)
            if not words[word]:
                words[word] = (self._frame() << paging.PAGE_SHIFT) | paging.TABLE_FLAGS
            table = words[word] & paging.PTE_ADDRESS_MASK
        return (table >> 3) + paging.table_index(address, paging.PT_SHIFT)

    def _fault(self, address: int, code: int) -> bool:
        self.engine.ram_words[self._entries + ((address - _DATA) >> paging.PAGE_SHIFT)] = self._filled
        return True

    def load(self, code: bytes, count: int) -> None:
        engine = self.engine
        engine.ram[self._code_frame << paging.PAGE_SHIFT :][: len(code)] = code
        engine.ram_words[self._word(_CODE)] = (
            self._code_frame << paging.PAGE_SHIFT
        ) | paging.TABLE_FLAGS & ~2
        # One run of leaf tables back to back, so that the fault handler only adds.
        words = [self._word(_DATA + (page << paging.PAGE_SHIFT)) for page in range(0, _FAULTS, 512)]
        self._entries = words[0]
        contiguous = all(word == words[0] + 512 * index for index, word in enumerate(words))
        assert contiguous, "leaf tables are not adjacent"
        for index in range(_FAULTS):
            engine.ram_words[self._entries + index] = 0
        self._filled = (self._frame() << paging.PAGE_SHIFT) | paging.TABLE_FLAGS | paging.PTE_NX
        engine.reset(rip=_CODE, rsp=_DATA, cr3=self._cr3)
        engine.invalidate_code(_CODE, paging.PAGE_SIZE)
        engine.set(Reg.R15, count)
        engine.set(Reg.RDI, _DATA)


def measure(engine: Engine, scale: int = 1) -> dict[str, float]:
    """Nanoseconds of each hot path. The engine must be new: its callbacks are set here. ``scale`` divides the work."""
    bench = _Bench(engine)

    def guest(code: bytes, count: int) -> float:
        def once() -> float:
            bench.load(code, count)
            started = time.perf_counter_ns()
            engine.run()
            return (time.perf_counter_ns() - started) / count

        return min(once() for _ in range(_ROUNDS))

    def host(action: Callable[[], object], count: int) -> float:
        def once() -> float:
            started = time.perf_counter_ns()
            for _ in range(count):
                action()
            return (time.perf_counter_ns() - started) / count

        return min(once() for _ in range(_ROUNDS))

    figures = {
        "system call": guest(_SYSCALL_LOOP, _SYSCALLS // scale),
        "page fault": guest(_TOUCH_LOOP, _FAULTS),
        "loop of two instructions": guest(_SPIN_LOOP, _LOOPS // scale),
        "loop with a store": guest(_STORE_LOOP, _LOOPS // 5 // scale),
    }
    context = engine.new_context()

    def switch() -> None:
        engine.save(context)
        engine.load(context)

    bench.load(_SPIN_LOOP, 1)
    figures["save and load"] = host(switch, _SWITCHES // scale)
    figures["flush TLB"] = host(engine.flush_tlb, _SWITCHES // scale)
    figures["all registers"] = host(engine.registers, _SWITCHES // scale)
    figures["one register"] = host(lambda: engine.get(Reg.RAX), _SWITCHES // scale)
    figures["FXSAVE image"] = host(engine.fpu_state, _SWITCHES // scale)

    def stop_at_once() -> None:
        engine.set(Reg.RIP, _CODE + len(_SPIN_LOOP) - 2)
        engine.set(Reg.RAX, _DONE)
        engine.run()

    figures["run to a stopping system call"] = host(stop_at_once, _SWITCHES // scale)
    return figures


def main() -> None:
    """Print the figures for the default engine."""
    from jefeos.cpu.unicorn import UnicornEngine

    engine = UnicornEngine(_RAM_BYTES)
    for name, nanoseconds in measure(engine).items():
        print(f"{name:32}{nanoseconds:10.1f} ns")
    engine.close()


if __name__ == "__main__":
    main()
