"""Pax extended headers: the records that override what a ustar header cannot say.

A record is ``b"%d %s=%s\\n" % (length, key, value)`` where the length counts the whole record, itself included
(POSIX.1-2017, pax, "pax Extended Header"). Keys may repeat: GNU's sparse format 0.0 depends on the order, so
records stay a list here and become a dictionary only where the last one wins.
"""

from __future__ import annotations

from attrs import field, frozen
from jefeos.errors import CorruptError, Errno

NANOSECONDS = 10**9
TIME_LIMIT_SECONDS = 1 << 40  # some 35,000 years: keeps times within every structure they are packed in
NUMBER_LIMIT = 1 << 63
NUMBER_DIGITS_LIMIT = 20
SPARSE_ENTRIES_LIMIT = 1 << 20
XATTR_PREFIX = b"SCHILY.xattr."

Records = list[tuple[bytes, bytes]]


@frozen
class SparseMap:
    """Where the data of a sparse member goes. ``pieces`` is None when the map precedes the data (format 1.0)."""

    real_size: int
    pieces: list[tuple[int, int]] | None


@frozen
class Overrides:
    """What a member's extended headers say instead of its header; None where they say nothing."""

    path: bytes | None = None
    link_path: bytes | None = None
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    sparse: SparseMap | None = None
    xattrs: dict[bytes, bytes] = field(factory=dict)


NOTHING = Overrides()


def parse_records(data: bytes) -> Records:
    """Split the data of an extended header. Errors: `CorruptError` naming the position in it."""
    records: Records = []
    position = 0
    end = len(data)
    while position < end and data[position]:  # some writers pad with NULs
        space = data.find(b" ", position, position + NUMBER_DIGITS_LIMIT)
        length = parse_decimal(data[position:space], "record length") if space > position else 0
        stop = position + length
        if space < 0 or length < space - position + 3 or stop > end or data[stop - 1] != ord("\n"):
            raise CorruptError(f"the extended header has a malformed record at its byte {position}")
        key, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if not equals or not key:
            raise CorruptError(f"the extended header has a record without a key at its byte {position}")
        records.append((key, value))
        position = stop
    return records


def interpret(records: Records) -> Overrides:
    """The meaning of a member's records, global ones first. An empty value takes an override back."""
    if not records:
        return NOTHING
    last = dict(records)
    path = last.get(b"GNU.sparse.name") or last.get(b"path") or None
    link_path = last.get(b"linkpath") or None
    for name in (path, link_path):
        if name is not None and b"\x00" in name:
            raise CorruptError("the extended header has a name with a NUL byte in it")
    return Overrides(
        path=path,
        link_path=link_path,
        size=_number(last, b"size"),
        uid=_number(last, b"uid"),
        gid=_number(last, b"gid"),
        mtime_ns=parse_time(last[b"mtime"]) if last.get(b"mtime") else None,
        sparse=_sparse_map(records, last),
        xattrs={
            key[len(XATTR_PREFIX) :]: value for key, value in last.items() if key.startswith(XATTR_PREFIX)
        },
    )


def parse_decimal(text: bytes, what: str) -> int:
    """A plain decimal number below 2**63."""
    if not text.isdigit() or len(text) > NUMBER_DIGITS_LIMIT:
        raise CorruptError(f"the {what} {text[:32]!r} is not a number")
    value = int(text)
    if value >= NUMBER_LIMIT:
        raise CorruptError(f"the {what} {value} is out of range", Errno.EOVERFLOW)
    return value


def parse_time(text: bytes) -> int:
    """A time such as ``1725619000.25`` in nanoseconds."""
    digits = text.removeprefix(b"-")
    whole, _, fraction = digits.partition(b".")
    seconds = parse_decimal(whole, "time")
    if fraction and not fraction.isdigit():
        raise CorruptError(f"the time {text[:32]!r} is not a number")
    if seconds > TIME_LIMIT_SECONDS:
        raise CorruptError(f"the time {text[:32]!r} is out of range", Errno.EOVERFLOW)
    value = seconds * NANOSECONDS + int(fraction[:9].ljust(9, b"0"))
    return -value if digits != text else value


def parse_map_in_data(data: bytes) -> tuple[list[tuple[int, int]] | None, int]:
    """The map of sparse format 1.0, decimal lines before the data: (pieces, bytes used), or (None, 0) if cut."""
    lines = data.split(b"\n")
    complete = len(lines) - 1
    if complete < 1:
        return None, 0
    count = parse_decimal(lines[0], "sparse piece count")
    if count > SPARSE_ENTRIES_LIMIT:
        raise CorruptError(
            f"the sparse map has {count} pieces, more than {SPARSE_ENTRIES_LIMIT}", Errno.EFBIG
        )
    if complete < 1 + 2 * count:
        return None, 0
    numbers = [parse_decimal(line, "sparse map entry") for line in lines[1 : 1 + 2 * count]]
    used = sum(len(line) + 1 for line in lines[: 1 + 2 * count])
    return list(zip(numbers[::2], numbers[1::2], strict=True)), used


def _number(records: dict[bytes, bytes], key: bytes) -> int | None:
    text = records.get(key)
    return parse_decimal(text, key.decode()) if text else None


def _sparse_map(records: Records, last: dict[bytes, bytes]) -> SparseMap | None:
    real_size = _number(last, b"GNU.sparse.realsize")
    if last.get(b"GNU.sparse.major") == b"1":
        if real_size is None:
            raise CorruptError("a sparse member does not tell its real size")
        return SparseMap(real_size, None)
    if real_size is None:
        real_size = _number(last, b"GNU.sparse.size")
    if real_size is None:
        return None
    if b"GNU.sparse.map" in last:  # format 0.1
        texts = last[b"GNU.sparse.map"].split(b",") if last[b"GNU.sparse.map"] else []
        numbers = [parse_decimal(text, "sparse map entry") for text in texts]
    else:  # format 0.0
        numbers = [
            parse_decimal(value, "sparse map entry")
            for key, value in records
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        ]
    if len(numbers) % 2:
        raise CorruptError("the sparse map has an odd number of entries")
    return SparseMap(real_size, list(zip(numbers[::2], numbers[1::2], strict=True)))
