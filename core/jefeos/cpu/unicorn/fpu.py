"""The FXSAVE image of the loaded state, read and written register by register.

    0 FCW  2 FSW  4 FTW (one bit a register)  6 FOP  8 FIP  16 FDP  24 MXCSR  28 MXCSR_MASK
    32   ST0 … ST7, 16 bytes each (10 used), in stack order
    160  XMM0 … XMM15
    416  unused

The library names the x87 registers by their place in the register file, FXSAVE by their distance from the top of
the stack (FSW bits 11 to 13), and the library has the full tag word of two bits a register where FXSAVE has one
"not empty" bit: those two are converted here. All other fields are read straight into their place in the image.

Source: Intel SDM vol. 1, 10.5.1 and table 10-2. AVX state does not exist on this processor.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from jefeos.cpu.registers import FXSAVE_BYTES
from jefeos.cpu.unicorn.library import Library, UcReg
from jefeos.errors import UsageError

_FSW, _FTW, _MXCSR, _MXCSR_MASK = 2, 4, 24, 28
_ST_BASE: Final = 32
_XMM_BASE: Final = 160
_SLOT_BYTES: Final = 16
_ST_BYTES: Final = 10
_ST_COUNT: Final = 8
_XMM_COUNT: Final = 16
_VALID_MXCSR: Final = 0xFFFF  # with denormals-are-zero, without the misaligned bit of AMD
_EMPTY_TAG: Final = 3

# Fields whose form is the same in the library and in the image.
_SAME: Final = (
    (UcReg.FPCW, 0), (UcReg.FPSW, _FSW), (UcReg.FOP, 6), (UcReg.FIP, 8), (UcReg.FDP, 16), (UcReg.MXCSR, _MXCSR),
    *((UcReg.XMM0 + index, _XMM_BASE + index * _SLOT_BYTES) for index in range(_XMM_COUNT)),
)  # fmt: skip


class FpuAccess:
    """Preallocated buffers and argument arrays for one engine handle."""

    def __init__(self, library: Library, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle
        self._image = (ctypes.c_uint8 * FXSAVE_BYTES)()
        self._tags = ctypes.c_uint16()
        self._file = (ctypes.c_uint8 * (_ST_COUNT * _SLOT_BYTES))()
        image, file = ctypes.addressof(self._image), ctypes.addressof(self._file)
        pairs = [(int(register), image + offset) for register, offset in _SAME]
        pairs.append((int(UcReg.FPTAG), ctypes.addressof(self._tags)))
        pairs.extend((UcReg.FP0 + index, file + index * _SLOT_BYTES) for index in range(_ST_COUNT))
        self._count = ctypes.c_int(len(pairs))
        self._registers = (ctypes.c_int * len(pairs))(*(register for register, _ in pairs))
        self._places = (ctypes.c_void_p * len(pairs))(*(place for _, place in pairs))

    def read(self) -> bytes:
        """The image of the loaded state."""
        self._library.read_batch(self._handle, self._registers, self._places, self._count)
        image = bytearray(self._image)
        top = _top(image)
        tags = self._tags.value
        used = 0
        for index in range(_ST_COUNT):
            if (tags >> (2 * index)) & _EMPTY_TAG != _EMPTY_TAG:
                used |= 1 << index
        image[_FTW] = used
        image[_FTW + 1] = 0
        file = bytes(self._file)
        for index in range(_ST_COUNT):
            physical = ((top + index) % _ST_COUNT) * _SLOT_BYTES
            start = _ST_BASE + index * _SLOT_BYTES
            image[start : start + _ST_BYTES] = file[physical : physical + _ST_BYTES]
            image[start + _ST_BYTES : start + _SLOT_BYTES] = bytes(_SLOT_BYTES - _ST_BYTES)
        struct.pack_into("<I", image, _MXCSR_MASK, _VALID_MXCSR)
        return bytes(image)

    def write(self, image: bytes) -> None:
        """Load an image into the loaded state."""
        if len(image) != FXSAVE_BYTES:
            raise UsageError(f"an FXSAVE image has {FXSAVE_BYTES} bytes, not {len(image)}")
        ctypes.memmove(self._image, bytes(image), FXSAVE_BYTES)
        mxcsr = struct.unpack_from("<I", image, _MXCSR)[0] & _VALID_MXCSR
        struct.pack_into("<I", self._image, _MXCSR, mxcsr)
        top = _top(image)
        used = image[_FTW]
        tags = 0
        for index in range(_ST_COUNT):
            if not used >> index & 1:
                tags |= _EMPTY_TAG << (2 * index)
            physical = ((top + index) % _ST_COUNT) * _SLOT_BYTES
            start = _ST_BASE + index * _SLOT_BYTES
            self._file[physical : physical + _ST_BYTES] = list(image[start : start + _ST_BYTES])
        self._tags.value = tags
        self._library.write_batch(self._handle, self._registers, self._places, self._count)


def _top(image: bytes | bytearray) -> int:
    return image[_FSW + 1] >> 3 & 7
