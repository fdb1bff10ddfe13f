"""What the resolver remembers: answers and failures by question, each for as long as its records say (RFC 2308)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import define, field, frozen

MOST_ENTRIES: Final = 1000
LONGEST_S: Final = 86_400
LONGEST_FAILURE_S: Final = 3600
Question = tuple[str, int]
"""Name in lower case without its last dot, and type."""


@frozen
class Answer:
    """Records of one type, or that there are none."""

    values: tuple[str, ...]
    exists: bool = True
    """False: there is no such name (NXDOMAIN)."""


@define
class Cache:
    """Times are seconds of one clock."""

    _entries: OrderedDict[Question, tuple[float, Answer]] = field(factory=OrderedDict)

    def get(self, question: Question, now_s: float) -> Answer | None:
        """The answer, if it is not too old."""
        found = self._entries.get(question)
        if found is None:
            return None
        until_s, answer = found
        if now_s >= until_s:
            del self._entries[question]
            return None
        self._entries.move_to_end(question)
        return answer

    def put(self, question: Question, answer: Answer, ttl_s: int, now_s: float) -> None:
        """Remember it; a time to live of 0 is "do not"."""
        ttl_s = min(ttl_s, LONGEST_S if answer.values else LONGEST_FAILURE_S)
        if ttl_s <= 0:
            return
        self._entries[question] = now_s + ttl_s, answer
        self._entries.move_to_end(question)
        while len(self._entries) > MOST_ENTRIES:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: the network is another one."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
