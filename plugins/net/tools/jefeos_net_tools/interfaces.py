"""``ip``, ``ifconfig``, ``route``, ``arp``: interfaces, addresses, routes and neighbours, shown and changed.

``ip`` speaks the part of iproute2's language that people type: address, link, route and neigh, each with show, add,
del, and for links set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from jefeos.net.address import AF_INET, AF_INET6, address_text, classful_length, family_of, parse_address
from jefeos.net.flags import InterfaceFlags
from jefeos.net.stack import Interface, InterfaceAddress, Neighbour, NeighbourState, Route

from jefeos_net_tools.common import (
    CommandError,
    command,
    interface_of,
    mask_text,
    network_text,
    parse_mask,
    parse_network,
    require_root,
    say,
    stack_of,
    usage,
    words_of,
)

if TYPE_CHECKING:
    from jefeos.proc.applet import Proc

IP_USAGE: Final = "ip [-4 | -6] address|link|route|neigh [show | add | del | set ...]"
_SCOPES: Final = {0: "global", 253: "link", 254: "host"}
_PROTOCOLS: Final = {2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}
SECOND_NS: Final = 1_000_000_000


# --- ip -------------------------------------------------------------------------------------------------------


@command
async def ip(proc: Proc, argv: list[bytes]) -> int:
    """``ip [-4 | -6] address|link|route|neigh [show|add|del|set ...]``."""
    words = words_of(argv)
    family = 0
    while words and words[0] in ("-4", "-6"):
        family = AF_INET if words.pop(0) == "-4" else AF_INET6
    if not words:
        raise usage(IP_USAGE)
    thing = words.pop(0)
    objects = {"address": _ip_address, "link": _ip_link, "route": _ip_route, "neighbour": _ip_neighbour}
    for name, handler in objects.items():
        if name.startswith(thing) or thing == "neighbor" and name == "neighbour":
            action = words.pop(0) if words else "show"
            text = handler(proc, "show" if action in ("list", "ls", "s", "sh") else action, words, family)
            await say(proc, text)
            return 0
    raise usage(IP_USAGE)


def _after(words: list[str], key: str) -> str | None:
    """The word after ``key``, taken out together with it."""
    if key not in words:
        return None
    at = words.index(key)
    if at + 1 == len(words):
        raise CommandError(f"{key} needs a value", 2)
    value = words[at + 1]
    del words[at : at + 2]
    return value


def _device(proc: Proc, words: list[str]) -> Interface:
    name = _after(words, "dev") or (words.pop(0) if len(words) == 1 else None)
    if name is None:
        raise CommandError("say which interface: dev NAME", 2)
    return interface_of(proc, name)


def _shown_interfaces(proc: Proc, words: list[str]) -> list[Interface]:
    if words:
        return [_device(proc, words)]
    return list(stack_of(proc).interfaces())


def _ip_link(proc: Proc, action: str, words: list[str], family: int) -> str:
    if action == "show":
        return "".join(_link_lines(interface) for interface in _shown_interfaces(proc, words))
    if action != "set":
        raise CommandError(f"link {action}: only show and set are there", 2)
    require_root(proc)
    name = _after(words, "dev") or (words.pop(0) if words else "")
    interface = interface_of(proc, name)
    mtu = _after(words, "mtu")
    if mtu is not None:
        if not mtu.isdecimal():
            raise CommandError(f"{mtu!r} is no MTU", 2)
        interface.set_mtu(int(mtu))
    for word in words:
        if word in ("up", "down"):
            interface.set_up(word == "up")
        else:
            raise CommandError(f"link set: {word!r} is not up, down or mtu N", 2)
    return ""


def _link_lines(interface: Interface) -> str:
    flags = interface.flags
    names = [flag.name or "" for flag in (
        InterfaceFlags.LOOPBACK, InterfaceFlags.BROADCAST, InterfaceFlags.MULTICAST, InterfaceFlags.PROMISC,
        InterfaceFlags.UP, InterfaceFlags.LOWER_UP,
    ) if flags & flag]  # fmt: skip
    loopback = flags & InterfaceFlags.LOOPBACK
    state = "UNKNOWN" if loopback else "UP" if flags & InterfaceFlags.RUNNING else "DOWN"
    return (
        f"{interface.index}: {interface.name}: <{','.join(names)}> mtu {interface.mtu} state {state}\n"
        f"    link/{'loopback' if loopback else 'ether'} {interface.mac.hex(':')} "
        f"brd {'00:00:00:00:00:00' if loopback else 'ff:ff:ff:ff:ff:ff'}\n"
    )


def _ip_address(proc: Proc, action: str, words: list[str], family: int) -> str:
    if action == "show":
        now_ns = proc.kernel.clock.monotonic_ns()
        return "".join(
            _link_lines(interface)
            + "".join(
                _address_lines(interface, own, now_ns)
                for own in interface.addresses
                if family in (0, family_of(own.address))
            )
            for interface in _shown_interfaces(proc, words)
        )
    if action not in ("add", "del") or not words:
        raise CommandError("address add|del ADDRESS/LENGTH dev NAME", 2)
    require_root(proc)
    address, length = parse_network(words.pop(0))
    interface = _device(proc, words)
    if action == "add":
        interface.add_address(address, length)
    else:
        interface.remove_address(address)
    return ""


def _address_lines(interface: Interface, own: InterfaceAddress, now_ns: int) -> str:
    words = ["inet" if len(own.address) == 4 else "inet6", f"{address_text(own.address)}/{own.prefix_length}"]
    words += ["scope", _SCOPES.get(own.scope, str(own.scope))]
    if own.tentative:
        words.append("tentative")
    if own.valid_until_ns is not None:
        words.append("dynamic")
    if len(own.address) == 4:
        words.append(interface.name)
    lives = [
        "forever" if until_ns is None else f"{max(until_ns - now_ns, 0) // SECOND_NS}sec"
        for until_ns in (own.valid_until_ns, own.preferred_until_ns)
    ]
    return f"    {' '.join(words)}\n       valid_lft {lives[0]} preferred_lft {lives[1]}\n"


def _ip_route(proc: Proc, action: str, words: list[str], family: int) -> str:
    stack = stack_of(proc)
    if action == "show":
        wanted = family or AF_INET
        return "".join(_route_line(proc, route) for route in stack.routes() if family_of(route.destination) == wanted)
    if action == "get" and len(words) == 1:
        address = parse_address(words[0])
        route = stack.route_to(address)
        via = f" via {address_text(route.gateway)}" if route.gateway else ""
        source = f" src {address_text(route.source)}" if route.source else ""
        return f"{address_text(address)}{via} dev {stack.interface(route.interface).name}{source}\n"
    if action not in ("add", "del", "replace") or not words:
        raise CommandError("route add|del NETWORK [via GATEWAY] [dev NAME] [metric N], or route get ADDRESS", 2)
    require_root(proc)
    route = _route_of(proc, words)
    same = [r for r in stack.routes() if (r.destination, r.prefix_length) == (route.destination, route.prefix_length)]
    if action == "del":
        stack.remove_route(route)
        return ""
    if action == "replace" and same:
        stack.remove_route(same[0])
    stack.add_route(route)
    return ""


def _route_of(proc: Proc, words: list[str]) -> Route:
    stack = stack_of(proc)
    destination, length = parse_network(words.pop(0))
    via, device, metric = _after(words, "via"), _after(words, "dev"), _after(words, "metric")
    if words:
        raise CommandError(f"{words[0]!r} is not known here", 2)
    gateway = parse_address(via) if via is not None else b""
    if len(gateway) == 16 and not length:
        destination = bytes(16)
    if device is not None:
        index = interface_of(proc, device).index
    elif gateway:
        index = stack.route_to(gateway).interface
    else:
        found = [r for r in stack.routes() if (r.destination, r.prefix_length) == (destination, length)]
        if not found:
            raise CommandError("say which way: via GATEWAY or dev NAME", 2)
        return found[0]
    return Route(destination, length, index, gateway, int(metric) if metric and metric.isdecimal() else 0)


def _route_line(proc: Proc, route: Route) -> str:
    words = [network_text(route.destination, route.prefix_length)]
    if route.gateway:
        words += ["via", address_text(route.gateway)]
    words += ["dev", stack_of(proc).interface(route.interface).name]
    words += ["proto", _PROTOCOLS.get(route.protocol, str(route.protocol))]
    if route.scope:
        words += ["scope", _SCOPES.get(route.scope, str(route.scope))]
    if route.source:
        words += ["src", address_text(route.source)]
    if route.metric:
        words += ["metric", str(route.metric)]
    return f"{' '.join(words)}\n"


def _ip_neighbour(proc: Proc, action: str, words: list[str], family: int) -> str:
    stack = stack_of(proc)
    if action == "show":
        return "".join(
            f"{address_text(known.address)} dev {stack.interface(known.interface).name}"
            f"{f' lladdr {known.mac.hex(chr(58))}' if known.mac else ''} {known.state.name}\n"
            for known in stack.neighbours()
            if family in (0, family_of(known.address))
        )
    if action not in ("add", "del") or not words:
        raise CommandError("neigh add ADDRESS lladdr MAC dev NAME, or neigh del ADDRESS dev NAME", 2)
    require_root(proc)
    address = parse_address(words.pop(0))
    mac = _after(words, "lladdr")
    interface = _device(proc, words)
    if action == "del":
        stack.remove_neighbour(address, interface.index)
    else:
        stack.add_neighbour(Neighbour(address, interface.index, parse_mac(mac or ""), NeighbourState.PERMANENT))
    return ""


def parse_mac(text: str) -> bytes:
    """``52:54:00:12:34:56`` to six bytes."""
    try:
        mac = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        mac = b""
    if len(mac) != 6:
        raise CommandError(f"{text!r} is no hardware address, as 52:54:00:12:34:56", 2)
    return mac


# --- ifconfig, route, arp -------------------------------------------------------------------------------------


@command
async def ifconfig(proc: Proc, argv: list[bytes]) -> int:
    """``ifconfig [-a] [interface [address] [netmask mask] [mtu n] [up | down]]``."""
    words = words_of(argv)
    everything = "-a" in words
    words = [word for word in words if word != "-a"]
    if len(words) <= 1:
        found = [interface_of(proc, words[0])] if words else [
            interface for interface in stack_of(proc).interfaces() if everything or interface.flags & InterfaceFlags.UP
        ]  # fmt: skip
        await say(proc, "\n".join(_ifconfig_lines(interface) for interface in found))
        return 0
    require_root(proc)
    interface = interface_of(proc, words.pop(0))
    mask, mtu = _after(words, "netmask"), _after(words, "mtu")
    if mtu is not None:
        interface.set_mtu(int(mtu) if mtu.isdecimal() else 0)
    for word in words:
        if word in ("up", "down"):
            interface.set_up(word == "up")
            continue
        address, length = parse_network(word)
        if mask is not None:
            length = parse_mask(mask)
        elif "/" not in word and len(address) == 4:
            length = classful_length(address)
        for own in [own for own in interface.addresses if len(own.address) == len(address)]:
            interface.remove_address(own.address)
        interface.add_address(address, length)
        interface.set_up(True)
    return 0


def _ifconfig_lines(interface: Interface) -> str:
    flags = interface.flags
    loopback = flags & InterfaceFlags.LOOPBACK
    head = f"{interface.name:<10}Link encap:{'Local Loopback' if loopback else 'Ethernet'}"
    lines = [head if loopback else f"{head}  HWaddr {interface.mac.hex(':').upper()}"]
    for own in interface.addresses:
        if len(own.address) == 4:
            lines.append(f"          inet addr:{address_text(own.address)}  Mask:{mask_text(own.prefix_length)}")
        else:
            scope = {0: "Global", 253: "Link", 254: "Host"}.get(own.scope, "Global")
            lines.append(f"          inet6 addr: {address_text(own.address)}/{own.prefix_length} Scope:{scope}")
    names = [name for name in ("UP", "LOOPBACK", "BROADCAST", "RUNNING", "PROMISC", "MULTICAST")
             if flags & InterfaceFlags[name]]  # fmt: skip
    s = interface.statistics
    lines += [
        f"          {' '.join(names)}  MTU:{interface.mtu}  Metric:1",
        f"          RX packets:{s.rx_packets} errors:{s.rx_errors} dropped:{s.rx_dropped} overruns:{s.rx_fifo_errors}",
        f"          TX packets:{s.tx_packets} errors:{s.tx_errors} dropped:{s.tx_dropped}",
        f"          RX bytes:{s.rx_bytes}  TX bytes:{s.tx_bytes}",
    ]
    return "".join(f"{line}\n" for line in lines)


@command
async def route(proc: Proc, argv: list[bytes]) -> int:
    """``route [-n] | route add|del [-net|-host] network [netmask mask] [gw gateway] [dev interface]``."""
    words = [word for word in words_of(argv) if word not in ("-n", "-net", "-host")]
    stack = stack_of(proc)
    if not words:
        lines = ["Destination     Gateway         Genmask         Flags Metric Iface\n"]
        for known in stack.routes():
            if len(known.destination) == 4:
                flags = "U" + ("G" if known.gateway else "") + ("H" if known.prefix_length == 32 else "")
                gateway = address_text(known.gateway or bytes(4))
                lines.append(
                    f"{address_text(known.destination):<16}{gateway:<16}{mask_text(known.prefix_length):<16}"
                    f"{flags:<6}{known.metric:<7}{stack.interface(known.interface).name}\n"
                )
        await say(proc, "".join(lines))
        return 0
    action = words.pop(0)
    if action not in ("add", "del") or not words:
        raise usage("route [-n] | route add|del NETWORK [netmask MASK] [gw GATEWAY] [dev NAME]")
    require_root(proc)
    mask = _after(words, "netmask")
    if mask is not None:
        words[0] = f"{words[0]}/{parse_mask(mask)}"
    wanted = _route_of(proc, list(_renamed(words)))
    (stack.add_route if action == "add" else stack.remove_route)(wanted)
    return 0


def _renamed(words: list[str]) -> Iterator[str]:
    for word in words:
        yield "via" if word == "gw" else word


@command
async def arp(proc: Proc, argv: list[bytes]) -> int:
    """``arp [-n] | arp -s address mac | arp -d address``."""
    words = [word for word in words_of(argv) if word not in ("-n", "-a")]
    stack = stack_of(proc)
    if not words:
        lines = [f"{'Address':<20}{'HWaddress':<20}{'Flags':<8}Iface\n"]
        for known in stack.neighbours():
            if len(known.address) == 4:
                mac = known.mac.hex(":") if known.mac else "(incomplete)"
                flags = "CM" if known.state is NeighbourState.PERMANENT else "C" if known.mac else ""
                name = stack.interface(known.interface).name
                lines.append(f"{address_text(known.address):<20}{mac:<20}{flags:<8}{name}\n")
        await say(proc, "".join(lines))
        return 0
    if (words[0], len(words)) not in (("-s", 3), ("-d", 2)):
        raise usage("arp [-n] | arp -s ADDRESS MAC | arp -d ADDRESS")
    require_root(proc)
    address = parse_address(words[1])
    interface = stack.route_to(address).interface
    if words[0] == "-d":
        stack.remove_neighbour(address, interface)
    else:
        stack.add_neighbour(Neighbour(address, interface, parse_mac(words[2]), NeighbourState.PERMANENT))
    return 0
