"""A small shell and a dozen applets, for booting without a root."""
