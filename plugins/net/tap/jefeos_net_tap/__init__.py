"""A wire to a tap device of a Linux host."""
