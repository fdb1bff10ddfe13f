"""The engine: what runs programs. One object, one processor, every task's code.

The kernel prepares page tables in guest RAM, loads a context and calls `Engine.run`. The engine runs ring-3
code until something needs the kernel, and then calls back on the same host thread:

    syscall    SYSCALL        returns the new RAX and the program goes on, or None: stop
    page_fault #PF            returns True: run the instruction again, or False: stop
    interrupt  INT n          like syscall, for every n except 3 and 4
    exception  the rest       always stops (#DE #DB #BP #OF #UD #GP …)

Calling back inside `run` is what makes a system call cost about a microsecond: stop only to block, to switch
or to die. When `run` has returned, for any reason, the state is precise: it can be saved, changed, loaded and
run again.

RIP, as a callback or the kernel afterwards sees it:

| event | inside the callback | after `run` |
|---|---|---|
| syscall, None | after it | after it (restart: RIP -= 2, RAX = number) |
| interrupt, None | after the INT n | after it |
| page_fault, False | at the instruction | at the instruction, nothing of it done |
| exception, fault | at the instruction | at the instruction |
| exception, trap (#DB single step, #BP, #OF) | after the instruction | after it |

Never write RIP inside a callback: stop, then `set`. An engine with `switches_inside` is freer: inside its syscall
callback the state may be saved, and another one loaded, reset and changed in any register. The value that the callback
then returns becomes RAX of the state that is loaded by that time, which goes on.

What the kernel owes the engine:

* ``flush_tlb`` after any change of a present entry of the address space that is loaded (a not-present entry
  made present excepted). ``set_cr3`` and ``load`` flush too.
* Pages that a program may write are NX (see ARCHITECTURE, section 3): flip them on the execution fault.
* ``invalidate_code`` when a frame that ever held executed code has new content and is mapped executable again.
  Stores by programs are noticed by themselves; stores through `Engine.ram` are not.
* ``is_code_safe`` before a frame becomes executable, and ``guard_code`` if it is not: some engines must be kept
  from certain instructions. Without it a hostile program can end the host process.
* Every address space holds the entries of `Engine.kernel_entries` in its top-level table.

Time: a ticker thread makes `run` return at a steady period (`ticked`), for preemption in real time; with
``max_instructions`` a run ends after exactly that many instructions, for virtual time. Not offered here: devices,
physical interrupts, more than one processor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

SyscallHandler = Callable[[int, int, int, int, int, int, int], "int | None"]
PageFaultHandler = Callable[[int, int], bool]
ExceptionHandler = Callable[[int, int], None]
InterruptHandler = Callable[[int], "int | None"]


class CpuContext(ABC):
    """A saved processor state: registers, segment bases, FPU and SSE state, CR3. Opaque; made by the engine."""

    cr3: int


class Engine(ABC):
    """A processor with its RAM. See the module's text for the rules."""

    name: str
    ram: memoryview
    """Guest physical RAM from address 0, as bytes."""
    ram_words: memoryview
    """The same memory as 64-bit words."""
    reserved_bytes: int
    """The engine keeps RAM below this address for itself."""
    kernel_entries: tuple[tuple[int, int], ...]
    """(index, entry) pairs that every top-level page table must hold."""
    current_cr3: int
    """Physical address of the loaded top-level table."""
    ticks_are_precise: bool
    """Whether a run that the ticker or another thread ends leaves every instruction done or not begun. Where it is
    False, only limited runs do, and the ticker must not be used."""
    switches_inside: bool
    """Whether another context may be loaded inside the syscall callback (see the module's text)."""
    ticked: bool
    """Whether the ticker ended the last run."""
    instructions_retired: int
    """Instructions that the last limited run executed. Each try of a faulting one and each turn of a REP counts."""

    @abstractmethod
    def attach(
        self,
        *,
        syscall: SyscallHandler,
        page_fault: PageFaultHandler,
        exception: ExceptionHandler,
        interrupt: InterruptHandler,
    ) -> None:
        """Set the kernel's callbacks. An exception that escapes one stops the run and is raised by `run`."""

    @abstractmethod
    def replace_syscall_handler(self, syscall: SyscallHandler) -> None:
        """From the next system call on. Cheap, and allowed inside callbacks."""

    @abstractmethod
    def run(self, max_instructions: int = 0) -> None:
        """Run the loaded context until something stops it. ``max_instructions`` 0 means no limit."""

    @abstractmethod
    def stop(self) -> None:
        """End the current run, or else the next one at its start. From any thread, and inside callbacks."""

    @abstractmethod
    def start_ticker(self, period_ms: float) -> None:
        """End runs each ``period_ms`` from now on. Cheap to call when it is on already."""

    @abstractmethod
    def stop_ticker(self) -> None:
        """No more ticks. Cheap."""

    @abstractmethod
    def set_time_stamp_source(self, source: Callable[[], int] | None) -> None:
        """Where RDTSC gets its value: None (the default) is the host's counter. For virtual time."""

    @abstractmethod
    def new_context(self) -> CpuContext:
        """A context to save into. Its content is the fresh state of `reset` with everything zero."""

    @abstractmethod
    def save(self, context: CpuContext) -> None:
        """Copy the loaded state into ``context``. Not while running."""

    @abstractmethod
    def load(self, context: CpuContext) -> None:
        """Make ``context`` the loaded state, with its address space. Not while running."""

    @abstractmethod
    def reset(self, *, rip: int, rsp: int, cr3: int) -> None:
        """Make the loaded state a fresh ring-3 start: registers zero, RFLAGS 0x202, FPU and SSE initialised."""

    @abstractmethod
    def registers(self) -> list[int]:
        """All registers in the order of `Reg`, unsigned. Works inside callbacks."""

    @abstractmethod
    def set_registers(self, values: list[int]) -> None:
        """Set all registers in the order of `Reg`. Not while running."""

    @abstractmethod
    def get(self, register: int) -> int:
        """One register, by `Reg`. Works inside callbacks."""

    @abstractmethod
    def set(self, register: int, value: int) -> None:
        """Set one register, by `Reg`. Inside callbacks for every register but RIP."""

    @abstractmethod
    def fpu_state(self) -> bytes:
        """The 512-byte FXSAVE image (SDM vol. 1, 10.5.1) of the loaded state."""

    @abstractmethod
    def set_fpu_state(self, image: bytes) -> None:
        """Load an FXSAVE image. Reserved MXCSR bits are dropped."""

    @abstractmethod
    def set_cr3(self, physical_address: int) -> None:
        """Switch to another address space. Works inside callbacks."""

    @abstractmethod
    def flush_tlb(self) -> None:
        """Forget cached translations of the loaded address space. Works inside callbacks."""

    @abstractmethod
    def invalidate_code(self, address: int, length: int) -> None:
        """Forget translated code of the frames now mapped executable there. Works inside callbacks."""

    @abstractmethod
    def is_code_safe(self, frame: int) -> bool:
        """Whether a frame may become executable without more ado. Ask once for each new content of a frame.

        False is rare. Then call `guard_code` wherever the frame is mapped executable, before anything runs there.
        """

    @abstractmethod
    def guard_code(self, address: int) -> None:
        """Protect the host from the page that is now executable at ``address`` of the loaded address space."""

    @abstractmethod
    def forget_guards(self, cr3: int) -> None:
        """The address space with this top-level table is gone: so is what `guard_code` noted for it."""

    @abstractmethod
    def close(self) -> None:
        """Free everything. Nothing else may be called afterwards."""
