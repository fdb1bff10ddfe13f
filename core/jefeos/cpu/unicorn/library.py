"""Unicorn's C library through ctypes: finding it, its numbers, its functions.

The Python package ``unicorn`` is not imported: its binding costs 50 ms to import and several microseconds a
callback. Only the library file that it installs is used. Two handles of the same file are kept, on purpose:

* ``start`` (from `ctypes.CDLL`) lets go of the interpreter lock while guest code runs, so that the ticker and
  input threads live;
* everything else (from `ctypes.PyDLL`) keeps the lock: these calls take 50 ns, and to hand the lock over at
  each of them costs more than that, and much more when another thread wants it.

``argtypes`` stay unset on hot functions: callers pass arguments that are wrapped once, which saves a conversion
a call. The two variadic functions do declare their fixed arguments, since some ABIs (Apple's arm64) pass the
variable ones differently.

Source: Unicorn 2.1 ``unicorn.h`` and ``x86.h`` (the names are theirs without the prefix).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from jefeos.errors import BootError

ARCH_X86: Final = 4
MODE_64: Final = 1 << 3
PROT_ALL: Final = 7
CPU_X86_NEHALEM: Final = 15  # exactly x86-64-v2: SSE4.2, POPCNT, CX16; no AVX, no XSAVE, no RDRAND

ERR_OK: Final = 0
ERR_INSN_INVALID: Final = 10
ERR_EXCEPTION: Final = 21

HOOK_INTR: Final = 1
HOOK_INSN: Final = 2
INS_IN: Final = 218
INS_OUT: Final = 500
INS_RDTSC: Final = 608
INS_SYSCALL: Final = 699
INS_SYSENTER: Final = 700

# uc_ctl packs the direction, the number of arguments and the command into one int (unicorn.h, UC_CTL).
_CTL_WRITE: Final = 1 << 30
CTL_EXITS_ENABLE: Final = _CTL_WRITE | 1 << 26 | 4
CTL_EXITS_SET: Final = _CTL_WRITE | 2 << 26 | 6
CTL_CPU_MODEL: Final = _CTL_WRITE | 1 << 26 | 7
CTL_TB_REMOVE_CACHE: Final = _CTL_WRITE | 2 << 26 | 9
CTL_TB_FLUSH: Final = _CTL_WRITE | 10

SUPPORTED_MAJOR: Final = 2
INSTALL_HINT: Final = "install it with: pip install 'unicorn>=2.1,<3'"


class UcReg(IntEnum):
    """Unicorn's numbers of the registers used here (x86.h, uc_x86_reg)."""

    EFLAGS = 25
    FPSW = 31
    RAX = 35
    RBP = 36
    RBX = 37
    RCX = 38
    RDI = 39
    RDX = 40
    RIP = 41
    RSI = 43
    RSP = 44
    CR0 = 50
    CR2 = 52
    CR3 = 53
    CR4 = 54
    FP0 = 82
    R8 = 106
    R9 = 107
    R10 = 108
    R11 = 109
    R12 = 110
    R13 = 111
    R14 = 112
    R15 = 113
    XMM0 = 122
    GDTR = 243
    FPCW = 246
    FPTAG = 247
    MSR = 248
    MXCSR = 249
    FS_BASE = 250
    GS_BASE = 251
    RFLAGS = 253
    FIP = 254
    FDP = 256
    FOP = 258


# Callbacks declare only the arguments they use: the caller's further register arguments are ignored, and each
# argument less saves building a Python int.
PlainCallback = ctypes.CFUNCTYPE(None)
InterruptCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)
ValueCallback = ctypes.CFUNCTYPE(ctypes.c_uint32)


class Library:
    """The loaded library: one attribute per function, and `check` for their error codes."""

    def __init__(self) -> None:
        path = _load_path()
        try:
            slow: Any = ctypes.CDLL(path)
            fast: Any = ctypes.PyDLL(path)
            self.start: Any = slow.uc_emu_start
            self.stop: Any = fast.uc_emu_stop
            self.open: Any = fast.uc_open
            self.close: Any = fast.uc_close
            self.map_memory: Any = fast.uc_mem_map_ptr
            self.read: Any = fast.uc_reg_read
            self.write: Any = fast.uc_reg_write
            self.read_batch: Any = fast.uc_reg_read_batch
            self.write_batch: Any = fast.uc_reg_write_batch
            self.context_alloc: Any = fast.uc_context_alloc
            self.context_size: Any = fast.uc_context_size
            self.context_save: Any = fast.uc_context_save
            self.context_restore: Any = fast.uc_context_restore
            self.context_free: Any = fast.uc_context_free
            self.hook_add: Any = fast.uc_hook_add
            self.hook_delete: Any = fast.uc_hook_del
            self.control: Any = fast.uc_ctl
            version: Any = fast.uc_version
            describe: Any = fast.uc_strerror
        except (OSError, AttributeError) as error:
            raise BootError(f"the CPU engine cannot load Unicorn ({error}): {INSTALL_HINT}") from error
        self.path = path
        self.context_size.restype = ctypes.c_size_t
        self.hook_add.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.c_int, ctypes.c_void_p,
            ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64,
        ]  # fmt: skip
        self.control.argtypes = [ctypes.c_void_p, ctypes.c_int]
        describe.restype = ctypes.c_char_p
        self._describe: Any = describe
        major = version(None, None) >> 24
        if major != SUPPORTED_MAJOR:
            raise BootError(f"Unicorn {major}.x at {path} does not fit: {INSTALL_HINT}")

    def check(self, code: int, doing: str) -> None:
        """Raise BootError if a set-up call failed."""
        if code != ERR_OK:
            text = (self._describe(code) or b"").decode()
            raise BootError(f"the CPU engine could not {doing}: {text} (Unicorn error {code})")


def _load_path() -> str:
    """The library's file: where LIBUNICORN_PATH says, in the installed package, or by the system's search."""
    names = {"darwin": "libunicorn.2.dylib", "win32": "unicorn.dll", "cygwin": "cygunicorn.dll"}
    name = names.get(sys.platform, "libunicorn.so.2")
    folders = []
    chosen = os.environ.get("LIBUNICORN_PATH")
    if chosen:
        folders.append(Path(chosen))
    spec = importlib.util.find_spec("unicorn")
    if spec is not None and spec.submodule_search_locations:
        folders.extend(Path(location) / "lib" for location in spec.submodule_search_locations)
    for folder in folders:
        if (folder / name).is_file():
            return str(folder / name)
    return name
