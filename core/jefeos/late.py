"""What is imported when it is first needed: a plugin says ``package.module:name`` for it, and no boot waits."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from jefeos.errors import Errno, KernelError


def object_at(place: str, missing: Errno) -> Any:
    """The object ``package.module:name``. Raises KernelError(``missing``) if something that its module needs is not
    installed."""
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise KernelError(missing, str(error)) from error
