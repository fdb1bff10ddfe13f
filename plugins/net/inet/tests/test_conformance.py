"""The suite that every network stack has to pass."""

from __future__ import annotations

from jefeos.testing.stacks import NetworkStackConformance
from jefeos_net_inet.plugin import jefeos_network_stack


class TestInet(NetworkStackConformance):
    make_stack = staticmethod(jefeos_network_stack)
