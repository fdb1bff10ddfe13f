"""The engine on Unicorn: `UnicornEngine`. The library is loaded when an engine is made, not on import."""

from jefeos.cpu.unicorn.engine import UnicornEngine

__all__ = ["UnicornEngine"]
