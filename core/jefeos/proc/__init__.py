"""Processes and threads: their state, signals, descriptors, credentials, limits, exec, exit and wait."""
