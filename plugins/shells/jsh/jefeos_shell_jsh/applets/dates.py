"""Dates for people. The system's time zone is UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORMAT_DEFAULT = "%a %b %e %H:%M:%S UTC %Y"
_LIMIT_SECONDS = 250_000_000_000


def local_time(seconds: int) -> datetime:
    """The date of a time since the epoch; times beyond what a date can hold are brought within."""
    return EPOCH + timedelta(seconds=max(min(seconds, _LIMIT_SECONDS), -62_000_000_000))


def format_time(pattern: str, nanoseconds: int) -> str:
    """strftime, with the letters whose meaning differs between hosts done here."""
    when = local_time(nanoseconds // 10**9)
    special = {
        "e": f"{when.day:>2}",
        "s": str(nanoseconds // 10**9),
        "N": f"{nanoseconds % 10**9:09}",
        "F": when.strftime("%Y-%m-%d"),
        "T": when.strftime("%H:%M:%S"),
        "Z": "UTC",
        "z": "+0000",
        "n": "\n",
        "t": "\t",
        "%": "%",
    }
    plain = set("aAbBcdHIjmMpSUwWxXyYD")
    result = ""
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        if letter == "%" and position + 1 < len(pattern):
            position += 1
            code = pattern[position]
            if code in special:
                result += special[code]
            elif code in plain:
                result += when.strftime("%m/%d/%y" if code == "D" else "%" + code)
            else:
                result += "%" + code
        else:
            result += letter
        position += 1
    return result
