"""``netstat``: the sockets of the system; with -r its routes, with -i its interfaces, with -s its counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jefeos.net.address import SocketAddress, address_text

from jefeos_net_tools.common import command, say, stack_of, usage, words_of
from jefeos_net_tools.interfaces import route

if TYPE_CHECKING:
    from jefeos.proc.applet import Proc

USAGE: Final = "netstat [-a | -l] [-t] [-u] [-w] [-n] [-e] | netstat -r | -i | -s"
_LETTERS: Final = frozenset("altuwneris")
_KINDS: Final = {"t": ("tcp",), "u": ("udp",), "w": ("raw", "ping", "packet")}


@command
async def netstat(proc: Proc, argv: list[bytes]) -> int:
    """``netstat [-altuwne] | -r | -i | -s``."""
    letters = set()
    for word in words_of(argv):
        if not word.startswith("-") or not set(word[1:]) <= _LETTERS:
            raise usage(USAGE)
        letters |= set(word[1:])
    if "r" in letters:
        return await route(proc, [b"route", b"-n"])
    if "i" in letters:
        await say(proc, _interfaces(proc))
    elif "s" in letters:
        await say(proc, _counters(proc))
    else:
        await say(proc, _sockets(proc, letters))
    return 0


def _sockets(proc: Proc, letters: set[str]) -> str:
    kinds = [kind for letter, names in _KINDS.items() if letter in letters for kind in names]
    extended = "e" in letters
    lines = [
        f"{'Proto':<6}{'Recv-Q':>7}{'Send-Q':>7} {'Local Address':<28}{'Foreign Address':<28}"
        f"{'State':<13}{'Timer' if extended else ''}".rstrip() + "\n"
    ]
    for info in stack_of(proc).sockets():
        if kinds and info.kind not in kinds:
            continue
        listening = info.state == "LISTEN" or info.kind != "tcp" and info.remote is None
        if "a" not in letters and listening != ("l" in letters):
            continue
        proto = info.kind + ("6" if info.family == 10 else "")
        state = info.state if info.kind == "tcp" else ""
        timer = f"{info.timer or 'off'} ({max(info.expires_ns, 0) / 1e9:.2f}/{info.retransmits})" if extended else ""
        lines.append(
            f"{proto:<6}{info.receive_queue:>7}{info.send_queue:>7} {_end(info.local):<28}{_end(info.remote):<28}"
            f"{state:<13}{timer}".rstrip() + "\n"
        )
    return "".join(lines)


def _end(end: SocketAddress | None) -> str:
    if end is None:
        return "*:*"
    host = address_text(end.address) if end.address and any(end.address) else "*"
    return f"{f'[{host}]' if ':' in host else host}:{end.port or '*'}"


def _interfaces(proc: Proc) -> str:
    lines = [f"{'Iface':<10}{'MTU':>6}{'RX-OK':>10}{'RX-ERR':>8}{'RX-DRP':>8}{'TX-OK':>10}{'TX-ERR':>8}{'TX-DRP':>8}\n"]
    for interface in stack_of(proc).interfaces():
        s = interface.statistics
        lines.append(
            f"{interface.name:<10}{interface.mtu:>6}{s.rx_packets:>10}{s.rx_errors:>8}{s.rx_dropped:>8}"
            f"{s.tx_packets:>10}{s.tx_errors:>8}{s.tx_dropped:>8}\n"
        )
    return "".join(lines)


def _counters(proc: Proc) -> str:
    return "".join(
        f"{group}:\n" + "".join(f"    {name}: {value}\n" for name, value in values.items())
        for group, values in stack_of(proc).counters().items()
    )
