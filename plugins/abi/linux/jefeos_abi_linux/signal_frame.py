"""The signal frame: what a handler finds on its stack, and how rt_sigreturn goes back.

    high   interrupted stack, minus the 128-byte red zone   (or the top of the alternate stack)
           FXSAVE image, 512 bytes, 64-byte aligned          <- uc_mcontext.fpstate
           siginfo_t                                         <- RSI
           ucontext_t: flags, link, stack_t, sigcontext, mask  <- RDX
    low    return address: sa_restorer                       <- RSP, 16n + 8 as after a CALL

RDI is the signal number, RAX 0, RIP the handler. The handler starts with a fresh FPU; the interrupted one is in
the frame. rt_sigreturn trusts nothing of what it reads back: only user flags change, RIP must be a user address, the
blocked mask never covers SIGKILL and SIGSTOP, and a frame that cannot be read is a SIGSEGV.

Source: System V x86-64 psABI 3.2.2 (red zone); the layout is that of Linux's asm/sigcontext.h and
asm-generic/ucontext.h, checked by a test against the C compiler's offsets. There is no XSAVE area, as the CPU has
no AVX.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from attrs import evolve
from jefeos.cpu.paging import TASK_SIZE
from jefeos.cpu.registers import (
    FXSAVE_BYTES,
    INITIAL_FPCW,
    INITIAL_MXCSR,
    USER_CODE_SELECTOR,
    USER_DATA_SELECTOR,
    Flag,
    Reg,
)
from jefeos.errors import Errno, KernelError
from jefeos.proc.signals import ActionFlags, Signal, SignalAction, SignalCode, SignalInfo
from jefeos.proc.task import Work
from jefeos.structs import Struct, nested, pad, raw, s32, u16, u64

from jefeos_abi_linux.siginfo import SIGINFO_BYTES, siginfo_bytes

if TYPE_CHECKING:
    from jefeos.cpu.engine import Engine
    from jefeos.proc.task import Task

RED_ZONE_BYTES: Final = 128
FPU_ALIGNMENT: Final = 64
MINIMUM_ALTERNATE_STACK_BYTES: Final = 2048

SS_ONSTACK: Final = 1
SS_DISABLE: Final = 2
SS_AUTODISARM: Final = 1 << 31

UC_SIGCONTEXT_SS: Final = 2
UC_STRICT_RESTORE_SS: Final = 4

RESTORED_FLAGS: Final = int(
    Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.TF | Flag.DF | Flag.OF | Flag.RF | Flag.AC
)
"""What a frame may change in RFLAGS (Linux's FIX_EFLAGS)."""
_CLEARED_FLAGS: Final = int(Flag.DF | Flag.RF | Flag.TF)

INITIAL_FXSAVE: Final = (
    struct.pack("<H", INITIAL_FPCW).ljust(24, b"\0") + struct.pack("<I", INITIAL_MXCSR)
).ljust(FXSAVE_BYTES, b"\0")

_CONTEXT_ORDER: Final = (
    Reg.R8, Reg.R9, Reg.R10, Reg.R11, Reg.R12, Reg.R13, Reg.R14, Reg.R15,
    Reg.RDI, Reg.RSI, Reg.RBP, Reg.RBX, Reg.RDX, Reg.RAX, Reg.RCX, Reg.RSP, Reg.RIP, Reg.RFLAGS,
)  # fmt: skip


class StackT(Struct):
    """stack_t."""

    ss_sp: int = u64()
    ss_flags: int = s32()
    padding = pad(4)
    ss_size: int = u64()


class SigContext(Struct):
    """struct sigcontext; the general registers in `_CONTEXT_ORDER`."""

    general: bytes = raw(8 * len(_CONTEXT_ORDER))
    cs: int = u16()
    gs: int = u16()
    fs: int = u16()
    ss: int = u16()
    err: int = u64()
    trapno: int = u64()
    oldmask: int = u64()
    cr2: int = u64()
    fpstate: int = u64()
    reserved = pad(64)


class UContext(Struct):
    """struct ucontext of the kernel (libc's is longer; its extra part is not in the frame)."""

    uc_flags: int = u64()
    uc_link: int = u64()
    uc_stack: StackT = nested(StackT)
    uc_mcontext: SigContext = nested(SigContext)
    uc_sigmask: int = u64()


class RtSigframe(Struct):
    """struct rt_sigframe."""

    pretcode: int = u64()
    uc: UContext = nested(UContext)
    info: bytes = raw(SIGINFO_BYTES)


_GENERAL: Final = struct.Struct(f"<{len(_CONTEXT_ORDER)}Q")
_CONTEXT_OFFSET: Final = 8
_INFO_OFFSET: Final = 8 + UContext.size


def on_alternate_stack(task: Task, stack_pointer: int) -> bool:
    """Whether the thread runs on its alternate stack (never said of one that disarms itself)."""
    base, size, flags = task.alternate_stack
    return not flags & SS_AUTODISARM and base < stack_pointer <= base + size


def alternate_stack_flags(task: Task, stack_pointer: int) -> int:
    """ss_flags as sigaltstack(2) reports them."""
    _, size, flags = task.alternate_stack
    state = SS_DISABLE if not size else SS_ONSTACK if on_alternate_stack(task, stack_pointer) else 0
    return state | flags & SS_AUTODISARM


def set_alternate_stack(task: Task, wanted: StackT, stack_pointer: int) -> None:
    """sigaltstack(2). Raises EPERM while running on it, EINVAL, ENOMEM."""
    if on_alternate_stack(task, stack_pointer):
        raise KernelError(Errno.EPERM)
    flags = wanted.ss_flags & (1 << 32) - 1
    mode = flags & ~SS_AUTODISARM
    if mode not in (0, SS_ONSTACK, SS_DISABLE):
        raise KernelError(Errno.EINVAL)
    if mode == SS_DISABLE:
        task.alternate_stack = (0, 0, flags)
    elif wanted.ss_size < MINIMUM_ALTERNATE_STACK_BYTES:
        raise KernelError(Errno.ENOMEM)
    else:
        task.alternate_stack = (wanted.ss_sp, wanted.ss_size, flags)


def push_frame(task: Task, engine: Engine, info: SignalInfo, action: SignalAction) -> None:
    """Build the frame and point the loaded registers at the handler. Raises EFAULT if there is no room."""
    if not action.flags & ActionFlags.RESTORER:
        raise KernelError(Errno.EFAULT, "sigaction without SA_RESTORER")
    registers = engine.registers()
    frame_at, fpu_at = _place(task, action, registers[Reg.RSP])
    base, size, flags = task.alternate_stack
    context = SigContext(
        general=_GENERAL.pack(*(registers[register] for register in _CONTEXT_ORDER)),
        cs=USER_CODE_SELECTOR,
        ss=USER_DATA_SELECTOR,
        err=info.error_code,
        trapno=info.vector,
        oldmask=task.blocked,
        cr2=info.address,
        fpstate=fpu_at,
    )
    frame = RtSigframe(
        pretcode=action.restorer,
        uc=UContext(
            uc_flags=UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
            uc_stack=StackT(ss_sp=base, ss_flags=_signed(flags), ss_size=size),
            uc_mcontext=context,
            uc_sigmask=task.saved_mask if task.work & Work.MASK else task.blocked,
        ),
        info=siginfo_bytes(_with_address(info, registers[Reg.RIP])),
    )
    task.mm.write(fpu_at, engine.fpu_state())
    task.mm.write(frame_at, frame.pack())
    if flags & SS_AUTODISARM:
        task.alternate_stack = (0, 0, SS_DISABLE)

    registers[Reg.RDI] = info.signo
    registers[Reg.RSI] = frame_at + _INFO_OFFSET
    registers[Reg.RDX] = frame_at + _CONTEXT_OFFSET
    registers[Reg.RAX] = 0
    registers[Reg.RSP] = frame_at
    registers[Reg.RFLAGS] &= ~_CLEARED_FLAGS
    if action.handler < TASK_SIZE:
        registers[Reg.RIP] = action.handler
    else:
        raise KernelError(Errno.EFAULT, "the handler is outside of user space")
    engine.set_registers(registers)
    engine.set_fpu_state(INITIAL_FXSAVE)


def _with_address(info: SignalInfo, rip: int) -> SignalInfo:
    """si_addr of an illegal instruction or arithmetic fault is the instruction's."""
    if info.signo in (Signal.SIGILL, Signal.SIGFPE) and info.code > 0 and not info.address:
        return evolve(info, address=rip)
    return info


def _place(task: Task, action: SignalAction, stack_pointer: int) -> tuple[int, int]:
    """Addresses of the frame and of the FPU image."""
    pointer = stack_pointer - RED_ZONE_BYTES
    base, size, _ = task.alternate_stack
    nested_on_alternate = on_alternate_stack(task, stack_pointer)
    entering = False
    if action.flags & ActionFlags.ONSTACK and size and not on_alternate_stack(task, pointer):
        pointer = base + size
        entering = True
    fpu_at = pointer - FXSAVE_BYTES & -FPU_ALIGNMENT
    frame_at = (fpu_at - RtSigframe.size & -16) - 8
    if (nested_on_alternate or entering) and not base < frame_at <= base + size:
        raise KernelError(Errno.EFAULT, "the alternate stack is full")
    if frame_at < 0:
        raise KernelError(Errno.EFAULT, "no stack")
    return frame_at, fpu_at


def pop_frame(task: Task, engine: Engine) -> int:
    """rt_sigreturn: put the interrupted state back; gives its RAX. A bad frame is a SIGSEGV."""
    registers = engine.registers()
    stack_pointer = registers[Reg.RSP]
    try:
        data = task.mm.read(stack_pointer - 8 + _CONTEXT_OFFSET, UContext.size)
        context = UContext.parse(data)
        machine = context.uc_mcontext
        fpu = task.mm.read(machine.fpstate, FXSAVE_BYTES) if machine.fpstate else INITIAL_FXSAVE
    except KernelError:
        task.kernel.signals.force(task, SignalInfo(Signal.SIGSEGV, SignalCode.SI_KERNEL))
        return 0
    task.set_blocked(context.uc_sigmask)
    flags = registers[Reg.RFLAGS] & ~RESTORED_FLAGS
    for register, value in zip(_CONTEXT_ORDER, _GENERAL.unpack(machine.general), strict=True):
        registers[register] = value
    registers[Reg.RFLAGS] = flags | registers[Reg.RFLAGS] & RESTORED_FLAGS
    if registers[Reg.RIP] >= TASK_SIZE:  # the hardware's IRET faults; the engine must never see such an address
        registers[Reg.RIP] = 0
        task.kernel.signals.force(task, SignalInfo(Signal.SIGSEGV, SignalCode.SI_KERNEL))
    engine.set_registers(registers)
    engine.set_fpu_state(fpu)
    try:
        set_alternate_stack(task, context.uc_stack, registers[Reg.RSP])
    except KernelError:
        pass  # as Linux: a stack_t that makes no sense, or one in use, leaves things as they are
    return registers[Reg.RAX]


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
