"""Fault injection: making calls and their parts fail on purpose, at chosen moments that repeat."""
