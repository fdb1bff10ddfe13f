"""Test package: see plugin.py."""
