"""Scenarios of host_scenarios.py about routers: the host's kernel or its radvd is ours, or we are the host's."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from host_world import HOST4, PATIENCE_S, TAP, World
from jefeos.errors import KernelError
from jefeos.net.address import AF_INET, AF_INET6, ANY6, Address, SocketAddress, parse_address
from jefeos.net.stack import Neighbour, NeighbourState, Route, RouterAdvertisement


async def routers_advertise(world: World) -> None:
    """radvd on the host's side: an address, a default route and a lifetime, and both go when it says so."""
    await world.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    await world.run("ip", "-6", "addr", "add", "fd00:88::1/128", "dev", "lo", "nodad")
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        configuration = Path(folder, "radvd.conf")
        configuration.write_text(
            f"interface {TAP} {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvLinkMTU 1400;\n"
            " prefix fd00:77::/64 { AdvValidLifetime 7300; AdvPreferredLifetime 100; }; };\n"
        )
        daemon = await asyncio.create_subprocess_exec(
            "radvd",
            "-n",
            "-m",
            "stderr",
            "-C",
            str(configuration),
            "-p",
            str(Path(folder, "pid")),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            mine = parse_address("fd00:77::5054:ff:fe12:3456")
            await world.until(
                lambda: any(one.address == mine and not one.tentative for one in world.interface.addresses),
                "an address",
            )
            routes = [
                route
                for route in world.stack.routes()
                if route.destination == ANY6 and not route.prefix_length
            ]
            assert len(routes) == 1 and routes[0].gateway[:2] == b"\xfe\x80" and world.interface.mtu == 1400
            await world.run("ip", "-6", "route", "add", "fd00:77::/64", "dev", TAP)
            assert "1 received" in await world.run(
                "ping", "-c", "1", "-s", "3000", "fd00:77::5054:ff:fe12:3456"
            )
            ours = world.stack.open_ping(AF_INET6)
            ours.send_to(bytes((128, 0, 0, 0, 0, 0, 0, 1)), SocketAddress(parse_address("fd00:88::1"), 0))
            assert (await world.receive(ours)).data[0] == 129
            ours.close()
        finally:
            daemon.terminate()  # which says goodbye with a lifetime of 0
            await daemon.wait()
        await world.until(
            lambda: (
                not any(
                    not route.prefix_length and len(route.destination) == 16 for route in world.stack.routes()
                )
            ),
            "the end of the default route",
        )


async def the_host_redirects_us(world: World) -> None:
    """The host is our router, and knows nearer ones: we go there next time, for as long as they are there."""
    await world.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    await world.run("ip", "route", "add", "10.77.0.0/24", "via", "10.9.8.9")
    await world.run("ip", "-6", "route", "add", "fd00:77::/64", "via", "fe80::9", "dev", TAP)
    shown = await world.run("ip", "-6", "-o", "addr", "show", "dev", TAP, "scope", "link")
    router6 = parse_address(shown.split()[3].partition("/")[0])
    await _redirected(world, AF_INET, parse_address("10.77.0.5"), HOST4, parse_address("10.9.8.9"))
    await _redirected(world, AF_INET6, parse_address("fd00:77::5"), router6, parse_address("fe80::9"))


async def _redirected(world: World, family: int, far: Address, router: Address, near: Address) -> None:
    stack, index = world.stack, world.interface.index
    stack.add_route(Route(bytes(len(far)), 0, index, router))
    assert stack.route_to(far).gateway == router
    stack.add_neighbour(Neighbour(near, index, bytes.fromhex("525400000009"), NeighbourState.PERMANENT))
    ping = stack.open_ping(family)
    question = bytes((8 if family == AF_INET else 128, 0, 0, 0, 0, 0, 0, 1))
    end = world.loop.time() + PATIENCE_S
    while stack.route_to(far).gateway != near:
        assert world.loop.time() < end, (far, stack.route_to(far), stack.counters()["Icmp"])
        with suppress(KernelError):
            ping.send_to(question, SocketAddress(far, 0))
        await asyncio.sleep(0.2)
    ping.close()
    assert stack.route_to(far[:-1] + b"\6").gateway == router  # it is for one destination
    stack.remove_neighbour(near, index)
    assert stack.route_to(far).gateway == router


async def we_advertise(world: World) -> None:
    """The host's kernel takes us for its router: an address, a default route; and both end as we say."""
    await world.run("sysctl", "-qw", f"net.ipv6.conf.{TAP}.accept_ra=1", f"net.ipv6.conf.{TAP}.router_solicitations=3")
    world.interface.add_address(parse_address("fd00:99::1"), 64)
    world.stack.advertise(world.interface.index, lambda: RouterAdvertisement(parse_address("fd00:99::")))
    for up in ("down", "up"):  # it asks for routers when it comes up
        await world.run("ip", "link", "set", TAP, up)

    async def until_told(*command: str, shows: str, there: bool = True) -> None:
        end = world.loop.time() + PATIENCE_S
        while (shows in (output := await world.run(*command))) != there:
            assert world.loop.time() < end, output
            await asyncio.sleep(0.05)

    ours = next(one.address for one in world.interface.addresses if one.address[:2] == b"\xfe\x80")
    default = f"default via {socket.inet_ntop(socket.AF_INET6, ours)} proto ra"
    await until_told("ip", "-6", "-o", "addr", "show", "dev", TAP, "-tentative", shows="fd00:99::")
    await until_told("ip", "-6", "route", "show", "dev", TAP, shows=default)
    assert "1 received" in await world.run("ping", "-n", "-c", "1", "-W", "30", "-I", TAP, "fd00:99::1")
    world.stack.advertise(world.interface.index, None)
    await until_told("ip", "-6", "route", "show", "dev", TAP, shows=default, there=False)
