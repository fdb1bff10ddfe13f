"""Test kits for plugin authors, installed with core: fixtures that boot a kernel, and conformance suites.

The fixtures of `jefeos.testing.plugin` are there in every pytest run as soon as jefeos-core is installed.
"""
