"""Hooks of jefeos-net-inet: the network stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jefeos.hookspecs import hookimpl

if TYPE_CHECKING:
    from logging import Logger

    from jefeos.net.stack import NetworkStack
    from jefeos.sched.clock import Clock, Entropy
    from jefeos.sched.loop import KernelLoop

JEFEOS_API = 1


@hookimpl
def jefeos_network_stack(loop: KernelLoop, clock: Clock, entropy: Entropy, log: Logger) -> NetworkStack:
    from jefeos_net_inet.stack import InetStack
    from jefeos_net_inet.timers import LoopTimers

    return InetStack(LoopTimers(loop, clock), entropy, log)
