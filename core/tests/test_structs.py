"""Declared binary structures: golden bytes, round trips, short data, values that do not fit."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jefeos.errors import CorruptError, Errno
from jefeos.structs import Struct, nested, pad, raw, s8, s16, s32, s64, u8, u16, u32, u64


class Inner(Struct):
    low: int = u16()
    high: int = s16(-1)


class Outer(Struct):
    a: int = u8(7)
    _gap: None = pad(3)
    b: int = u32()
    inner: Inner = nested(Inner)
    name: bytes = raw(5)
    c: int = s8()
    d: int = s32()
    e: int = u64()
    f: int = s64()


class Network(Struct, endian=">"):
    port: int = u16()
    address: int = u32()


GOLDEN = bytes.fromhex("01 000000 04030201 3412 feff 6e616d0000 ff feffffff 0807060504030201 ffffffffffffff7f")


def golden() -> Outer:
    return Outer(
        a=1,
        b=0x01020304,
        inner=Inner(low=0x1234, high=-2),
        name=b"nam",
        c=-1,
        d=-2,
        e=0x0102030405060708,
        f=(1 << 63) - 1,
    )


def test_golden_bytes_and_sizes() -> None:
    assert golden().pack() == GOLDEN
    assert Outer.size == len(GOLDEN) == 38
    assert Network(port=80, address=0x7F000001).pack() == b"\x00\x50\x7f\x00\x00\x01"
    assert Network.parse(b"\x00\x50\x7f\x00\x00\x01").address == 0x7F000001


def test_parsing_gives_the_members_back_and_ignores_padding() -> None:
    parsed = Outer.parse(GOLDEN[:1] + b"\xaa\xbb\xcc" + GOLDEN[4:])
    expected = golden()
    expected.name = b"nam\0\0"
    assert parsed == expected
    assert parsed.pack() == GOLDEN


def test_defaults() -> None:
    fresh = Outer()
    assert (fresh.a, fresh.b, fresh.inner, fresh.name) == (7, 0, Inner(low=0, high=-1), b"")
    assert Outer().inner is not Outer().inner  # never shared
    assert Outer.parse(fresh.pack()).pack() == fresh.pack()


@given(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.binary(max_size=5),
    st.integers(-(2**63), 2**63 - 1),
)
def test_round_trip(a: int, b: int, high: int, name: bytes, f: int) -> None:
    packed = Outer(a=a, b=b, inner=Inner(high=high), name=name, f=f).pack()
    assert packed == struct.pack("<B3xIHh5sbiQq", a, b, 0, high, name, 0, 0, 0, f)
    parsed = Outer.parse(packed)
    assert (parsed.a, parsed.b, parsed.inner.high, parsed.name, parsed.f) == (a, b, high, name.ljust(5, b"\0"), f)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_truncation_at_every_length(kind: type) -> None:
    for length in range(Outer.size):
        with pytest.raises(CorruptError) as error:
            Outer.parse(kind(GOLDEN[:length]))
        assert str(error.value) == f"EUCLEAN: Outer at offset 0 needs 38 bytes, {length} are there"
        assert error.value.errno == Errno.EUCLEAN
    assert Outer.parse(kind(GOLDEN)).a == 1


@pytest.mark.parametrize(("offset", "there"), [(1, 37), (38, 0), (99, 0), (-1, 39)])
def test_offsets_outside(offset: int, there: int) -> None:
    with pytest.raises(CorruptError, match=f"needs 38 bytes, {there} are there"):
        Outer.parse(GOLDEN, offset)


def test_parsing_at_an_offset_with_more_behind() -> None:
    assert Inner.parse(b"....\x01\x00\x02\x00....", 4) == Inner(low=1, high=2)


@pytest.mark.parametrize(
    "members",
    [{"a": 256}, {"a": -1}, {"b": 1 << 32}, {"c": 128}, {"name": b"longer"}, {"name": 5}, {"d": "text"}, {"e": None}],
)
def test_values_that_do_not_fit(members: dict[str, object]) -> None:
    with pytest.raises(CorruptError, match="Outer"):
        Outer(**members).pack()


def test_members_that_do_not_exist() -> None:
    with pytest.raises(TypeError, match="Outer has no member 'wrong'"):
        Outer(wrong=1)
    with pytest.raises(TypeError, match="has no member '_gap'"):
        Outer(_gap=1)


def test_comparison_and_repr() -> None:
    assert Inner(low=1) == Inner(low=1) != Inner(low=2)
    assert Inner() != Network()
    assert repr(Inner(low=3)) == "Inner(low=3, high=-1)"
    with pytest.raises(TypeError):
        hash(Inner())
