"""Pytest fixtures for systems under test, registered through the entry-point group ``pytest11``."""

from __future__ import annotations
