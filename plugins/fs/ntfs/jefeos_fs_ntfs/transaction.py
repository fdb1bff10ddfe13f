"""Operations that happen entirely or not at all, in memory; and what of the metadata is to be written.

    operation begins ── change(record), change(node) … ── ends      the next operation …      commit
                          before-images kept                forgotten                           all dirty blocks

Everything that is decoded (file records, index nodes, bitmaps) says `change` before it changes. The first time in an
operation its state is kept; if the operation fails half way (a full disk, a bad sector), every state comes back, in
reverse order. What was changed is dirty until `take_dirty`, which is when the journal (`journal`) writes it.

Rules: nothing is written to the medium's metadata outside of a commit, and a commit never happens inside of an
operation. File contents are not kept here: they go to clusters that the metadata on the medium do not refer to yet, or
overwrite a file's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Block: TypeAlias = tuple[int, bytes]
"""Offset on the volume in bytes, and what is to stand there."""


class Changeable(Protocol):
    """What takes part in operations."""

    @property
    def weight(self) -> int:
        """Bytes that it adds to a commit."""
        ...

    def snapshot(self) -> Any:
        """Its state, to come back to."""
        ...

    def restore(self, state: Any) -> None:
        """Come back to a state."""
        ...

    def blocks(self) -> list[Block]:
        """What to write to the medium."""
        ...


class Transaction:
    """The operations since the last commit."""

    def __init__(self) -> None:
        self.dirty: dict[Changeable, None] = {}
        """In order of their first change."""
        self.weight = 0
        """Bytes of a commit now, or somewhat fewer."""
        self.active = False
        self._undo: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._kept: set[Changeable] = set()
        self._fresh: list[Changeable] = []

    def begin(self) -> None:
        """An operation begins."""
        self.active = True

    def end(self) -> None:
        """It is done: there is no way back."""
        self.active = False
        self._undo.clear()
        self._kept.clear()
        self._fresh.clear()

    def roll_back(self) -> None:
        """It failed: everything is as before."""
        for function, arguments in reversed(self._undo):
            function(*arguments)
        for changed in self._fresh:
            self.dirty.pop(changed, None)
        self.end()

    def keeps(self, changed: Changeable) -> bool:
        """Whether this operation has changed it before."""
        return changed in self._kept

    def change(self, changed: Changeable) -> None:
        """``changed`` is going to be changed."""
        if changed in self._kept:
            return
        self._kept.add(changed)
        self._undo.append((changed.restore, (changed.snapshot(),)))
        if changed not in self.dirty:
            self.dirty[changed] = None
            self.weight += changed.weight
            self._fresh.append(changed)

    def on_failure(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call this if the operation fails."""
        self._undo.append((function, arguments))

    def take_dirty(self) -> list[Changeable]:
        """All that was changed since the last time. It counts as written."""
        taken = list(self.dirty)
        self.dirty.clear()
        self.weight = 0
        return taken
