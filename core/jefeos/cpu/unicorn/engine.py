"""`UnicornEngine`: the engine's interface on Unicorn.

What is hot is built as closures over local names by `_syscall_callback` and `_interrupt_callback`: they run once
a system call and once a page fault, read registers in one batch into memory that is allocated once, and keep the
interpreter lock throughout (see `jefeos.cpu.unicorn.library`).

How a run ends. The library forgets why, so the callbacks note it: `_ended` is set when a callback or `stop`
asked for the end, `_error` holds an exception that escaped a callback. A return without either, and without a
tick, is an echo of a stop meant for an earlier run, and the run goes on.

Quirks of the library that are dealt with here, each pinned by a test:

* After an exception it believes one is in flight and makes #DF of the next: cleared in every callback. Where a
  translation is dropped whose page is no longer mapped it does so on its own account, which shows later as a #DF
  that never was: the instruction is run again and raises the right one.
* An invalid opcode is not a callback but an error that ends the run: `run` calls ``exception`` itself.
* INT 6 looks like that error too, and is told apart by the saved state.
* SYSENTER, IN and OUT do nothing at all in ring 3: they are hooked, and become #UD and #GP. Their hooks cannot end
  the translated block that they are in, so `_refuse` keeps the state and takes the whole user half away: what
  follows in the block cannot touch memory, and `run` puts the kept state back.
* Some far returns read the stack as if they were the kernel; their faults are given the USER bit. Where the
  address is the kernel half's (the GDT, if an address space lacks `kernel_entries`): #GP.
* Translated code either counts instructions or does not: everything is translated anew whenever the limit is
  switched on or off.

Not as on hardware: SYSCALL leaves RCX and R11 alone (a program must treat them as lost anyway), SSE does not
check alignment, and the SSE exception flags never rise.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn

from jefeos.cpu import paging
from jefeos.cpu.engine import (
    ExceptionHandler,
    InterruptHandler,
    PageFaultHandler,
    SyscallHandler,
)
from jefeos.cpu.registers import FaultCode, Reg, Vector
from jefeos.cpu.unicorn import library as uc
from jefeos.cpu.unicorn.exits import BlockExits
from jefeos.cpu.unicorn.guard import MAX_INSTRUCTION_BYTES, is_cut, is_deadly
from jefeos.cpu.unicorn.machine import EMPTY_CR3, add_hook
from jefeos.cpu.unicorn.state import MASK64, UnicornState
from jefeos.cpu.unicorn.ticker import Ticker
from jefeos.errors import UsageError

_RIP: Final = int(Reg.RIP)
_NOT_IN_FLIGHT: Final = 0xFFFF_FFFF
_TWO_BYTES: Final = 2  # SYSCALL, SYSENTER, INT n
_MAX_ECHOES: Final = 1000

_SYSCALL_REGISTERS: Final = (Reg.RAX, Reg.RDI, Reg.RSI, Reg.RDX, Reg.R10, Reg.R8, Reg.R9)
_SYSCALL_WORDS: Final = struct.Struct("=Q8xQ24xQQQQQ")
"""RAX, RDX, RSI, RDI, R8, R9, R10 of the general registers in the order of `ENCODED_ORDER`."""


class UnicornEngine(UnicornState):
    """One emulated x86-64 processor (x86-64-v2) and its RAM, which may be a shared mapping of a host file."""

    name = "unicorn"

    def __init__(self, ram_bytes: int, ram_file: int = -1) -> None:
        super().__init__(ram_bytes, ram_file)
        self.ticked = False
        self.instructions_retired = 0
        self._ended = False
        self._stop_requested = False
        self._running = False
        self._runner = 0
        self._run_arguments = self._lib, self._handle, ctypes.c_uint64(0), ctypes.c_uint64()
        self._error: BaseException | None = None
        self._refused: list[Vector] = []
        self._exception: ExceptionHandler = _unattached
        self._interrupt: InterruptHandler = _unattached
        self._page_fault: PageFaultHandler = _unattached
        self._ticker = Ticker(self._on_tick, self._repeat_stop)
        self._hooks: list[Any] = []
        self._replace_syscall_handler: Callable[[SyscallHandler], None] = _unattached  # type: ignore[assignment]
        self._time_stamp: Callable[[], int] | None = None
        self._rdtsc_hooked = False
        self._counting = False
        self._exits = BlockExits(self._lib.path, self._handle.value)
        self._exits.only_between_blocks(True)
        self.ticks_are_precise = self._exits.available
        self._lib.control(self._handle, uc.CTL_TB_FLUSH)
        self._attached = False

    # ---- running ----------------------------------------------------------------------------------------

    def attach(
        self,
        *,
        syscall: SyscallHandler,
        page_fault: PageFaultHandler,
        exception: ExceptionHandler,
        interrupt: InterruptHandler,
    ) -> None:
        if self._attached:
            raise UsageError("the engine has its callbacks already")
        self._attached = True
        self._exception = exception
        self._interrupt = interrupt
        self._page_fault = page_fault
        callback, self._replace_syscall_handler = self._syscall_callback(syscall)
        self._hook(uc.HOOK_INSN, uc.PlainCallback(callback), uc.INS_SYSCALL)
        self._hook(uc.HOOK_INSN, uc.PlainCallback(self._on_sysenter), uc.INS_SYSENTER)
        self._hook(uc.HOOK_INSN, uc.PlainCallback(self._on_port), uc.INS_OUT)
        self._hook(uc.HOOK_INSN, uc.ValueCallback(self._on_port), uc.INS_IN)
        self._hook(uc.HOOK_INTR, uc.InterruptCallback(self._interrupt_callback(page_fault, interrupt)))

    def replace_syscall_handler(self, syscall: SyscallHandler) -> None:
        self._replace_syscall_handler(syscall)

    def run(self, max_instructions: int = 0) -> None:
        self.ticked = False
        self.instructions_retired = 0
        if self._stop_requested:
            self._stop_requested = False
            return
        if self._counting != bool(max_instructions):
            self._switch_counting()
        lib, handle, zero, rip = self._run_arguments
        limit = ctypes.c_size_t(max_instructions) if max_instructions else zero
        self._runner = threading.get_ident()
        self._ended = False
        self._running = True
        try:
            for echo in range(_MAX_ECHOES):
                rip.value = self.get(_RIP)
                self._ahead = _TWO_BYTES
                if (
                    self._stop_requested
                ):  # no call may come between this and the start, nor a signal handler then
                    break
                code = lib.start(handle, rip, zero, zero, limit)
                self._ahead = 0
                if self._guard.active:
                    self._forget_in_flight()
                if max_instructions:
                    self.instructions_retired = self._machine.instructions_begun(max_instructions)
                if self._error is not None:
                    break
                if self._refused:
                    self._raise_refused()
                elif code:
                    self._raise_error(code)
                elif self._guard.active and not self._ended:
                    self._check_guarded()
                if self._ended or self.ticked or self._stop_requested or max_instructions:
                    break
                if echo:  # twice: a former end address in translated code, or a fault that the library kept to itself
                    lib.control(handle, uc.CTL_TB_FLUSH)
                    self._forget_in_flight()
        finally:
            self._ahead = 0
            self._running = False
            self._stop_requested = False
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self.ticked:
            self.flush_tlb()  # the library resizes its TLB only when it is flushed

    def stop(self) -> None:
        self._stop_requested = True
        self._lib.stop(self._handle)
        if self._running and threading.get_ident() != self._runner:
            self._ticker.see_stop_through()

    def start_ticker(self, period_ms: float) -> None:
        self._ticker.start(period_ms / 1000)

    def stop_ticker(self) -> None:
        self._ticker.stop()

    def set_time_stamp_source(self, source: Callable[[], int] | None) -> None:
        if source is not None and not self._rdtsc_hooked:
            self._rdtsc_hooked = True
            self._hook(uc.HOOK_INSN, uc.ValueCallback(self._on_rdtsc), uc.INS_RDTSC)
        self._time_stamp = source

    def _switch_counting(self) -> None:
        """Between runs with and without a limit: nothing translated for the one may serve the other.

        The library's counter goes away only in the next run that has no limit, and what it translates in that run
        still calls the counter. So that run is one of nothing: a fetch in an address space without a user half.
        """
        lib, handle = self._lib, self._handle
        if self._counting:
            lib.context_save(handle, self._kept)
            self._load_cr3(EMPTY_CR3)
            self._refused.append(Vector.PAGE_FAULT)
            zero = ctypes.c_uint64(0)
            lib.start(handle, zero, zero, zero, ctypes.c_size_t(0))
            self._refused.clear()
            lib.context_restore(handle, self._kept)
            self.flush_tlb()
        self._exits.only_between_blocks(self._counting)
        lib.control(handle, uc.CTL_TB_FLUSH)
        self._counting = not self._counting

    def _on_tick(self) -> None:
        if self._running:
            self.ticked = True
            self._lib.stop(self._handle)

    def _repeat_stop(self) -> bool:
        wanted = self._running and self._stop_requested
        if wanted:
            self._lib.stop(self._handle)
        return wanted

    # ---- callbacks --------------------------------------------------------------------------------------

    def _syscall_callback(
        self, handler: SyscallHandler
    ) -> tuple[Callable[[], None], Callable[[SyscallHandler], None]]:
        """HOT: once a system call. With it comes a function that changes the handler."""
        handle, stop, refused = self._handle, self._lib.stop, self._refused
        words, arguments = self._words, _SYSCALL_WORDS.unpack_from

        def callback() -> None:
            if refused:
                return
            try:
                number, third, second, first, fifth, sixth, fourth = arguments(words)
                result = handler(number, first, second, third, fourth, fifth, sixth)
                if result is None:
                    self._ended = True
                    stop(handle)
                else:
                    words[0] = result & MASK64
            except BaseException as error:
                self._fail(error)

        def callback_without_structure() -> None:
            if refused:
                return
            try:
                result = handler(*[self.get(register) for register in _SYSCALL_REGISTERS])
                if result is None:
                    self._ended = True
                    stop(handle)
                else:
                    self.set(Reg.RAX, result)
            except BaseException as error:
                self._fail(error)

        def replace(syscall: SyscallHandler) -> None:
            nonlocal handler
            handler = syscall

        return callback if self._in_place else callback_without_structure, replace

    def _interrupt_callback(
        self, page_fault: PageFaultHandler, interrupt: InterruptHandler
    ) -> Callable[[int, int], None]:
        """HOT: once a page fault."""
        lib, handle, scratch = self._lib, self._handle, self._scratch
        save, restore, stop = lib.context_save, lib.context_restore, lib.stop
        in_place, state, words = self._in_place, self._state, self._words
        layout, structure = self._machine.layout, self._machine.structure
        in_flight, error_code, is_software = layout.in_flight, layout.error_code, layout.is_software_interrupt
        cr2 = structure.cr2_word if structure is not None else 0
        page_fault_vector, user = int(Vector.PAGE_FAULT), int(FaultCode.USER)

        refused, guard = self._refused, self._guard

        def callback(_handle: int, vector: int) -> None:
            if refused:
                stop(handle)
                return
            self._ahead = 0
            try:
                if not in_place:
                    save(handle, scratch)
                if state[is_software]:
                    software(vector)
                    return
                state[in_flight] = _NOT_IN_FLIGHT
                if not in_place:
                    restore(handle, scratch)
                if vector == page_fault_vector:
                    address, error = words[cr2] if in_place else self._fault_address(), state[error_code]
                    if guard.active and self._is_before_guarded(address):
                        stop(handle)
                    elif not error & user and address >= paging.CANONICAL_LOW_END:
                        self._ended = True
                        stop(handle)
                        self._exception(Vector.GENERAL_PROTECTION, 0)
                    elif not page_fault(address, error | user):
                        self._ended = True
                        stop(handle)
                elif vector != Vector.DOUBLE_FAULT:
                    self._ended = True
                    stop(handle)
                    self._exception(vector, state[error_code])
            except BaseException as error_:
                self._fail(error_)
            finally:
                self._ahead = _TWO_BYTES

        def software(vector: int) -> None:
            if vector in (Vector.BREAKPOINT, Vector.OVERFLOW):
                self._ended = True
                stop(handle)
                self._exception(vector, 0)
                return
            result = interrupt(vector)
            if result is None:
                self._ended = True
                stop(handle)
            else:
                self.set(Reg.RAX, result)

        return callback

    def _on_sysenter(self) -> None:
        self._refuse(Vector.INVALID_OPCODE)  # as on a processor whose kernel has no 32-bit entry

    def _on_port(self) -> int:
        self._refuse(Vector.GENERAL_PROTECTION)
        return 0

    def _on_rdtsc(self) -> int:
        """Called at each RDTSC once a source was set; 1 tells the library to leave the registers alone."""
        source = self._time_stamp
        if source is None:
            return 0
        try:
            value = source() & MASK64
            self.set(Reg.RAX, value & 0xFFFF_FFFF)
            self.set(Reg.RDX, value >> 32)
        except BaseException as error:
            self._fail(error)
        return 1

    def _refuse(self, vector: Vector) -> None:
        """Fail an instruction that the library would let pass. Its effects until the end of the block are undone."""
        if not self._refused:
            self._refused.append(vector)
            self._lib.context_save(self._handle, self._kept)
            self._load_cr3(EMPTY_CR3)
        self._lib.stop(self._handle)

    def _raise_refused(self) -> None:
        vector = self._refused.pop()
        self._lib.context_restore(self._handle, self._kept)
        self.flush_tlb()
        self._ended = True
        self._exception(vector, 0)

    def _fault_address(self) -> int:
        address = ctypes.c_uint64()
        self._lib.read(self._handle, ctypes.c_int(uc.UcReg.CR2), ctypes.byref(address))
        return address.value

    def _check_guarded(self) -> None:
        """The run may have ended at a guarded address: raise #UD, or step over what only looked like it."""
        rip = self.get(Reg.RIP)
        if rip not in self._guard.active:
            return
        code = self._code_at(rip, MAX_INSTRUCTION_BYTES)
        if is_deadly(code):
            self._ended = True
            self._exception(Vector.INVALID_OPCODE, 0)
        elif is_cut(code):  # the rest is on a page that is not there yet
            missing = (rip + len(code)) & MASK64
            self._ended = not self._page_fault(missing, int(FaultCode.USER | FaultCode.FETCH))
        elif not self.ticked and not self._stop_requested:
            self._guard.lift()
            was_counting = self._counting
            if not was_counting:
                self._switch_counting()
            zero, one = ctypes.c_uint64(0), ctypes.c_size_t(1)
            code_ = self._lib.start(self._handle, ctypes.c_uint64(rip), zero, zero, one)
            if not was_counting:
                self._switch_counting()
            self._guard.switch(self.current_cr3)
            if self._refused:
                self._raise_refused()
            elif code_:
                self._raise_error(code_)

    def _is_before_guarded(self, address: int) -> bool:
        """Whether a fault is the library's own: at a guarded first byte of a page it fetches the page before too."""
        rip = self.get(Reg.RIP)
        return not rip & paging.PAGE_MASK and rip in self._guard.active and address == rip - paging.PAGE_SIZE

    def _raise_error(self, code: int) -> None:
        """An error of the library that ended the run, as the program's exception."""
        if not self._in_place:
            self._lib.context_save(self._handle, self._scratch)
        if code == uc.ERR_INSN_INVALID and self._state[self._machine.layout.is_software_interrupt]:
            self.set(Reg.RIP, self.get(Reg.RIP) + _TWO_BYTES)
            result = self._interrupt(Vector.INVALID_OPCODE)
            if result is not None:
                self.set(Reg.RAX, result)
                return
            self._ended = True
            return
        self._ended = True
        self._forget_in_flight()
        self._exception(_vector_of(code), 0)

    def _forget_in_flight(self) -> None:
        """At the end of a run the library drops the code at every end address. Each that is not mapped is one more
        exception in flight: after two of them the next page fault would be a triple fault, and not even reported."""
        state, in_flight = self._state, self._machine.layout.in_flight
        if not self._in_place:
            self._lib.context_save(self._handle, self._scratch)
        if state[in_flight] != _NOT_IN_FLIGHT:
            state[in_flight] = _NOT_IN_FLIGHT
            if not self._in_place:
                self._lib.context_restore(self._handle, self._scratch)

    def _fail(self, error: BaseException) -> None:
        """Keep an exception that escaped a callback for `run` to raise."""
        if self._error is None:
            self._error = error
        self._ended = True
        self._lib.stop(self._handle)

    def _hook(self, kind: int, callback: Any, instruction: int | None = None) -> None:
        add_hook(self._lib, self._handle, kind, callback, instruction)
        self._hooks.append(callback)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._ticker.close()
        self._free()
        self._hooks.clear()


def _vector_of(code: int) -> Vector:
    """What an error of the library means to the program that ran."""
    if code in (uc.ERR_INSN_INVALID, uc.ERR_EXCEPTION):
        return Vector.INVALID_OPCODE
    return Vector.MACHINE_CHECK  # a page table entry points outside RAM


def _unattached(vector: int, error_code: int = 0) -> NoReturn:
    raise UsageError(f"exception {vector} in an engine without callbacks (error code {error_code})")
