"""How faults are written: what each part means, and one clear line for what means nothing."""

from __future__ import annotations

import pytest
from jefeos.config import BootConfig
from jefeos.errors import ConfigError, Errno
from jefeos.inject.spec import Fault, parse_fault, parse_faults


def due(text: str) -> list[int]:
    fault = parse_fault(text)
    return [number for number in range(1, 20) if fault.is_due(number)]


def test_when_is_straces() -> None:
    assert due("read:error=EIO:when=3") == [3]
    assert due("read:error=EIO:when=17+") == [17, 18, 19]
    assert due("read:error=EIO:when=3+5") == [3, 8, 13, 18]
    assert due("read:error=EIO:when=3..5") == [3, 4, 5]
    assert due("read:error=EIO:when=3..9+2") == [3, 5, 7, 9]
    assert due("read:error=EIO") == list(range(1, 20))


def test_sets() -> None:
    some, all_, others = parse_fault("read,write:error=1"), parse_fault("all:error=1"), parse_fault("!read:error=1")
    assert [fault.concerns(name) for fault in (some, all_, others) for name in ("read", "write", "open")] == [
        True, True, False, True, True, True, False, True, True,
    ]  # fmt: skip
    assert not parse_fault("@frame").concerns("read")


def test_actions() -> None:
    assert parse_fault("read:error=EIO").error == Errno.EIO
    assert parse_fault("read:error=eio").error == Errno.EIO
    assert parse_fault("read:error=5").error == Errno.EIO
    assert parse_fault("read:retval=0x10").result == 16
    assert parse_fault("read:signal=KILL").signal == parse_fault("read:signal=SIGKILL").signal == 9
    assert parse_fault("read:signal=34").signal == 34
    assert parse_fault("@frame").error == Errno.ENOMEM
    assert parse_fault("@frame:error=EAGAIN").error == Errno.EAGAIN
    assert parse_fault("@wait").error == Errno.EINTR
    assert parse_fault("@wait:signal=TERM").error is None
    assert parse_fault("read:error=EIO:pid=7:comm=a-name-of-more-than-15:probability=0.5") == Fault(
        frozenset({"read"}), error=5, pid=7, comm=b"a-name-of-more-", probability=0.5,
        text="read:error=EIO:pid=7:comm=a-name-of-more-than-15:probability=0.5",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not the name of a system call"),
        ("read", "neither error= nor retval= nor signal="),
        ("Read:error=EIO", "'Read' is not the name"),
        ("read,:error=EIO", "'' is not the name"),
        ("!all:error=EIO", "no call at all"),
        ("@nothing", "there are: @frame, @copy"),
        ("read:error=ENOSUCH", "'ENOSUCH' is not an error"),
        ("read:error=0", "'0' is not an error"),
        ("read:error=4096", "'4096' is not an error"),
        ("read:retval=-1", "'-1' is not a return value"),
        ("read:error=EIO:retval=1", "exclude each other"),
        ("read:signal=SIGNOTHING", "'SIGNOTHING' is not a signal"),
        ("read:signal=65", "'65' is not a signal"),
        ("read:error=EIO:when=0", "when=0 is none of"),
        ("read:error=EIO:when=3-5", "when=3-5 is none of"),
        ("read:error=EIO:when=5..3", "never comes"),
        ("read:error=EIO:when=5+0", "never comes"),
        ("read:error=EIO:probability=2", "not between 0 and 1"),
        ("read:error=EIO:probability=x", "not between 0 and 1"),
        ("read:error=EIO:pid=x", "not a process id"),
        ("read:error=EIO:comm=", "names no program"),
        ("read:error=EIO:error=EIO", "error= is given twice"),
        ("read:delay_enter=5", "'delay_enter=5' is none of error="),
        ("read:error", "'error' is none of error="),
        ("@frame:retval=1", "retval= is for system calls"),
        ("@io:signal=KILL", "signal= is for system calls and @wait"),
        ("@wait:error=EIO", "can only be interrupted"),
    ],
)
def test_what_means_nothing_is_told_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_faults([text])
    assert said in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_in_the_environment_semicolons_stand_between() -> None:
    config = BootConfig.load({}, {"JEFEOS_INJECT": "read,write:error=EIO; @frame:when=3"})
    assert [fault.text for fault in config.inject] == ["read,write:error=EIO", "@frame:when=3"]
    with pytest.raises(ConfigError, match="environment variable JEFEOS_INJECT: 'nonsense'"):
        BootConfig.load({}, {"JEFEOS_INJECT": "nonsense"})
