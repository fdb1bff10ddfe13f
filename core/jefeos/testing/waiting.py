"""Waiting for what will come true, with a generous bound.

    assert await until(lambda: len(got) == 3)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 60.0


async def until(condition: Callable[[], object], patience_s: float = PATIENCE_S, step_s: float = 0.001) -> bool:
    """Let the loop run until ``condition`` holds. False if it does not within ``patience_s`` of the loop's time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    while not condition():
        if loop.time() > end:
            return False
        await asyncio.sleep(step_s)
    return True
