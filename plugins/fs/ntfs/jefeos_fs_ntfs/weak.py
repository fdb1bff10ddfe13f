"""Objects that are found by a key for as long as somebody else holds them.

What `weakref.WeakValueDictionary` does, at a third of its price: there is one of these for each file that is looked at.
The dead are not taken out one by one as they die, but all together when the table has doubled.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar
from weakref import ref

Key = TypeVar("Key")
Value = TypeVar("Value")
SWEEP_LEAST: Final = 1024


class WeakTable(Generic[Key, Value]):
    """A dict of weak references."""

    __slots__ = ("_references", "_sweep_at")

    def __init__(self) -> None:
        self._references: dict[Key, ref[Value]] = {}
        self._sweep_at = SWEEP_LEAST

    def get(self, key: Key) -> Value | None:
        """The object, or None if nobody holds it any more."""
        found = self._references.get(key)
        return None if found is None else found()

    def __setitem__(self, key: Key, value: Value) -> None:
        references = self._references
        references[key] = ref(value)
        if len(references) > self._sweep_at:
            self._references = {key: found for key, found in references.items() if found() is not None}
            self._sweep_at = max(2 * len(self._references), SWEEP_LEAST)

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return len(self.values())

    def discard(self, key: Key) -> None:
        """Forget an object."""
        self._references.pop(key, None)

    def values(self) -> list[Value]:
        """All that are held."""
        return [value for found in self._references.values() if (value := found()) is not None]

    def clear(self) -> None:
        """Forget all."""
        self._references.clear()
