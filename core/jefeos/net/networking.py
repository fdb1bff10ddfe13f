"""The kernel's side of its network: the stack, its devices, its resolver, each made when it is first needed.

    kernel.net.stack       NetworkStack      the plugin's, by the hook jefeos_network_stack
    kernel.net.resolver    Resolver          names for kernel services, by the hook jefeos_resolver
    kernel.net.name_servers                  whom it and programs ask

A program without the network never pays for one: without a card nothing is imported before the first internet socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from jefeos.errors import Errno, KernelError
from jefeos.net.device import NetDevice

if TYPE_CHECKING:
    from jefeos.bus.driver import DeviceManager
    from jefeos.kernel import Kernel
    from jefeos.net.nameservers import NameServers
    from jefeos.net.services import Resolver
    from jefeos.net.stack import NetworkStack

CONFIGURATION_PATIENCE_S: Final = 2.0
_LOOK_AGAIN_S: Final = 0.005


class Networking:
    """See the module's text."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._stack: NetworkStack | None = None
        self._resolver: Resolver | None = None
        self.on_their_way: list[Callable[[], bool]] = []
        """Who configures interfaces says here whether an address is on its way: `wait_until_configured` asks."""
        self.local_sockets: Callable[[], bytes] | None = None
        """Gives the lines of /proc/net/unix; set by whoever makes such sockets."""

    @property
    def stack(self) -> NetworkStack:
        """The network stack. Raises KernelError(EAFNOSUPPORT) if no plugin has one."""
        if self._stack is None:
            kernel = self._kernel
            self._stack = kernel.plugins.first(
                "jefeos_network_stack", loop=kernel.loop, clock=kernel.clock, entropy=kernel.entropy, log=kernel.log
            )
            if self._stack is None:
                raise KernelError(Errno.EAFNOSUPPORT, "no plugin provides a network stack")
            self._follow_routers(self._stack)
        return self._stack

    @property
    def in_use(self) -> bool:
        """Whether there is a stack yet: listings need not make one."""
        return self._stack is not None

    @property
    def resolver(self) -> Resolver:
        """The resolver of kernel services. Raises KernelError(ENOENT) if no plugin has one."""
        if self._resolver is None:
            self._resolver = self._kernel.plugins.first("jefeos_resolver", kernel=self._kernel)
            if self._resolver is None:
                raise KernelError(Errno.ENOENT, "no plugin provides a resolver")
            self.name_servers.tell(self._resolver)
        return self._resolver

    @cached_property
    def name_servers(self) -> NameServers:
        """Name servers of the system; whoever has leases tells it of them."""
        from jefeos.net.nameservers import NameServers

        return NameServers(self._kernel)

    def _follow_routers(self, stack: NetworkStack) -> None:
        from jefeos.net.stack import Change, Event

        def happened(event: Event) -> None:
            if event.change is Change.NAME_SERVER:
                self.name_servers.set_from_routers(stack)

        stack.watch(happened)

    def wait_until_configured(self) -> None:
        """Let the system run until no address is on its way, for CONFIGURATION_PATIENCE_S at most: a program that is
        started then finds its network."""
        loop = self._kernel.loop
        until = loop.time() + CONFIGURATION_PATIENCE_S

        async def configured() -> None:
            while any(coming() for coming in self.on_their_way) and loop.time() < until:
                await asyncio.sleep(_LOOK_AGAIN_S)

        if self.on_their_way:
            loop.run_until_complete(configured())

    def follow(self, manager: DeviceManager) -> None:
        """Give the stack the network cards that are published, and those that will be."""
        manager.listeners.append(self._published)
        for thing in list(manager.published):
            self._published(thing, True)

    def _published(self, thing: object, came: bool) -> None:
        if not isinstance(thing, NetDevice):
            return
        try:
            if came:
                self.stack.add_device(thing)
            elif self._stack is not None:
                self._stack.remove_device(thing)
        except KernelError as error:
            self._kernel.log.warning("a network card stays without a network: %s", error)

    def close(self) -> None:
        """Abort what is connected. Idempotent."""
        if self._stack is not None:
            self._stack.close()
            self._stack = None
