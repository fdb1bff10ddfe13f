"""Commands for the network, as applets over the kernel's stack."""
