"""Networks, as far as the core goes: the interfaces between network drivers, wires and protocol stacks."""
