"""Binary structures, declared once in the order and with the names of their specification.

    class Timespec(Struct):
        tv_sec: int = s64()
        tv_nsec: int = s64()

    Timespec.size                    16
    Timespec(tv_sec=1).pack()        the 16 bytes
    Timespec.parse(data, offset=0)   checked: short data raises CorruptError that names structure and lengths

Fields are packed without implicit alignment: padding is declared (`pad(4)`), as specifications print it. A
field is an integer (`u8` … `s64`), raw bytes of fixed length (`raw(n)`), padding, or a nested structure
(`nested(Timespec)`). Byte order is little endian unless the class says ``endian=">"``.

Not here: variable-length parts and bit fields; the code that owns the format reads those.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Self

from jefeos.errors import CorruptError


class Field:
    """One member: its `struct` format and, for a nested structure, its class."""

    __slots__ = ("code", "default", "hidden", "kind")

    def __init__(self, code: str, default: Any, kind: type[Struct] | None = None, hidden: bool = False) -> None:
        self.code = code
        self.default = default
        self.kind = kind
        self.hidden = hidden


def u8(default: int = 0) -> Any:
    """Unsigned 8-bit integer."""
    return Field("B", default)


def u16(default: int = 0) -> Any:
    """Unsigned 16-bit integer."""
    return Field("H", default)


def u32(default: int = 0) -> Any:
    """Unsigned 32-bit integer."""
    return Field("I", default)


def u64(default: int = 0) -> Any:
    """Unsigned 64-bit integer."""
    return Field("Q", default)


def s8(default: int = 0) -> Any:
    """Signed 8-bit integer."""
    return Field("b", default)


def s16(default: int = 0) -> Any:
    """Signed 16-bit integer."""
    return Field("h", default)


def s32(default: int = 0) -> Any:
    """Signed 32-bit integer."""
    return Field("i", default)


def s64(default: int = 0) -> Any:
    """Signed 64-bit integer."""
    return Field("q", default)


def raw(length: int) -> Any:
    """``length`` bytes as they are; shorter values are padded with zeros when packed."""
    return Field(f"{length}s", b"")


def pad(length: int) -> Any:
    """``length`` bytes that carry nothing: zero when packed, ignored when parsed."""
    return Field(f"{length}x", None, hidden=True)


def nested(kind: type[Struct]) -> Any:
    """A structure inside this one."""
    return Field(f"{kind.size}s", None, kind=kind)


class Struct:
    """Base of declared structures. Keyword arguments set members; the others have their defaults."""

    size: ClassVar[int] = 0
    """Length in bytes."""
    _fields: ClassVar[dict[str, Field]] = {}
    _raw_lengths: ClassVar[dict[str, int]] = {}
    _nested: ClassVar[dict[str, type[Struct]]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _codec: ClassVar[struct.Struct] = struct.Struct("<")

    def __init_subclass__(cls, endian: str = "<", **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        cls._codec = struct.Struct(endian + "".join(field.code for field in declared.values()))
        cls.size = cls._codec.size
        cls._fields = {name: field for name, field in declared.items() if not field.hidden}
        cls._raw_lengths = {
            name: int(field.code[:-1])
            for name, field in cls._fields.items()
            if field.code.endswith("s") and field.kind is None
        }
        cls._nested = {name: field.kind for name, field in cls._fields.items() if field.kind is not None}
        cls._defaults = {name: field.default for name, field in cls._fields.items()}
        for name in declared:
            delattr(cls, name)

    def __init__(self, **members: Any) -> None:
        values = self.__dict__  # in the order of the fields, and all at once: many structures are made
        values.update(self._defaults)
        values.update(members)
        if len(values) != len(self._fields):
            unknown = next(name for name in members if name not in self._fields)
            raise TypeError(f"{type(self).__name__} has no member {unknown!r}")
        for name, kind in self._nested.items():
            if name not in members:
                values[name] = kind()

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview, offset: int = 0) -> Self:
        """Read one from ``data`` at ``offset`` bytes. Raises CorruptError when it does not fit."""
        if offset < 0 or len(data) - offset < cls.size:
            raise CorruptError(
                f"{cls.__name__} at offset {offset} needs {cls.size} bytes, {max(len(data) - offset, 0)} are there"
            )
        values = cls._codec.unpack_from(data, offset)
        instance = cls.__new__(cls)
        members = instance.__dict__
        members.update(zip(cls._fields, values, strict=True))
        for name, kind in cls._nested.items():
            members[name] = kind.parse(members[name])
        return instance

    def pack(self) -> bytes:
        """The bytes. Raises CorruptError when a member does not fit its field."""
        for name, length in self._raw_lengths.items():  # the codec would cut silently
            value = getattr(self, name)
            if isinstance(value, (bytes, bytearray)) and len(value) > length:
                raise CorruptError(f"{type(self).__name__}: {name} does not fit its {length} bytes")
        members = self.__dict__
        values = [members[name] for name in self._fields]
        if self._nested:
            values = [
                value.pack() if name in self._nested else value
                for name, value in zip(self._fields, values, strict=True)
            ]
        try:
            return self._codec.pack(*values)
        except struct.error as error:
            raise CorruptError(f"{type(self).__name__}: a member does not fit: {error}") from None

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({members})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in self._fields
        )

    __hash__ = None  # type: ignore[assignment]
