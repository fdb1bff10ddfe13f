"""The buffer cache: pages of a block device in the host's memory.

    filesystem, /dev/sda --read, write--> BufferCache --whole runs of pages--> BlockDevice

Reading: what is missing is fetched in runs, as large as the request; a reader that goes on where it left off gets more
and more read ahead. Writing: pages become dirty and are written back when there are too many, and by `flush`.

Ordered write-back. `order` draws a line: nothing written after it reaches the device before everything written ahead of
it was given to the device and flushed there. So a filesystem says "journal first, then the rest" without waiting. Each
dirty page belongs to the epoch in which it was dirtied; epochs are written back oldest first, with a flush between
them. A page of an older epoch that is written again forces the older epochs out beforehand.

Large transfers go past the pages, straight between the caller's buffer and the device: a large read takes what is
cached from the pages and the rest from the device, and caches nothing; a large write replaces whole pages on the device
and drops them here, unless something older is still to be written ahead of it. So file data costs one copy and leaves
the cache to metadata, and both ways see one content.

A write that the device refuses keeps its pages dirty and fails the `flush` that met it (EIO); the next one tries again.
Only whole pages are kept: a device whose end is inside of a page has a shorter last one.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final

from jefeos.block.device import BlockDevice
from jefeos.errors import Errno, KernelError

PAGE_BYTES: Final = 4096
DEFAULT_CAPACITY_BYTES: Final = 64 << 20
DIRTY_SHARE: Final = 4
"""Write back when this part of the capacity is dirty."""
FIRST_AHEAD: Final = 8
MOST_AHEAD: Final = 256
"""Pages read ahead: a first guess, doubled with each request in order, up to a mebibyte."""
MOST_AT_ONCE: Final = 1 << 20
"""Bytes in one transfer to the device."""
GAP_BYTES: Final = 16 << 10
"""What lies between two places is read with them if it is no more: that costs less than another transfer."""
LARGE_BYTES: Final = 128 << 10
"""From here on a read or write goes past the pages."""
EVICTED_SHARE: Final = 16
"""When there are too many pages, this part of the capacity is freed beyond what is needed, for the next ones."""

Page = bytes | bytearray


class BufferCache:
    """The cache of one device. Offsets and lengths are bytes."""

    def __init__(self, device: BlockDevice, capacity_bytes: int = DEFAULT_CAPACITY_BYTES) -> None:
        self.device = device
        self.size_bytes = device.size_bytes
        self.capacity_pages = max(capacity_bytes // PAGE_BYTES, 2 * MOST_AHEAD)
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._dirty: dict[int, int] = {}
        """Page number to its epoch."""
        self._epochs: dict[int, set[int]] = {}
        """The same the other way round, oldest first."""
        self._epoch = 0
        self._ahead = 0
        self._ahead_end = -1
        """The page after the last that was fetched: a reader who arrives there reads in order."""

    @property
    def cached_bytes(self) -> int:
        """How much is in the cache."""
        return len(self._pages) * PAGE_BYTES

    @property
    def dirty_bytes(self) -> int:
        """How much of it is not on the device."""
        return len(self._dirty) * PAGE_BYTES

    # -- reading --

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes. Raises KernelError: ENXIO past the end, what the device raises otherwise."""
        self._check(offset, length)
        if not length:
            return b""
        first, last = offset // PAGE_BYTES, (offset + length - 1) // PAGE_BYTES
        pages = self._pages
        if first == last:
            page = pages.get(first)
            if page is None:
                self._fetch(first, last)
                page = pages[first]
                self._evict()
            else:
                pages.move_to_end(first)
            start = offset - first * PAGE_BYTES
            return bytes(page[start : start + length])
        if length >= LARGE_BYTES:
            return self._read_large(offset, length)
        self._fetch(first, last)
        pieces: list[Page] = [pages[number] for number in range(first, last + 1)]
        whole = b"".join(pieces)
        start = offset - first * PAGE_BYTES
        self._evict()
        return whole if not start and len(whole) == length else whole[start : start + length]

    def read_once(self, offset: int, length: int) -> bytes:
        """The same for what is not worth keeping here: contents of files that are read here and there."""
        self._check(offset, length)
        return self._read_large(offset, length)

    def read_pieces(self, pieces: list[tuple[int, int]]) -> bytes:
        """The bytes of several places (offset and length; offset -1: zeros) in one: the contents of a file in pieces.

        Large in all, it goes past the pages as a large read does, and places that are near each other, in whatever
        order, come with what is between them in one transfer. Raises KernelError as `read` does.
        """
        total = sum([length for _, length in pieces])
        if total < LARGE_BYTES:
            return b"".join([bytes(length) if offset < 0 else self.read(offset, length) for offset, length in pieces])
        found: dict[tuple[int, int], bytes | memoryview] = {}
        span: list[tuple[int, int]] = []
        start = end = 0
        for piece in sorted(pieces):
            offset, length = piece
            if offset < 0:
                found[piece] = bytes(length)
                continue
            if span and (offset - end > GAP_BYTES or offset + length - start > MOST_AT_ONCE or offset < end):
                self._read_span(span, found)
                span = []
            if not span:
                start = offset
            span.append(piece)
            end = offset + length
        if span:
            self._read_span(span, found)
        return b"".join([found[piece] for piece in pieces])

    def _read_span(self, span: list[tuple[int, int]], found: dict[tuple[int, int], bytes | memoryview]) -> None:
        """Find what is in some places, which follow each other."""
        start, (last, length) = span[0][0], span[-1]
        self._check(start, last + length - start)
        try:
            whole = memoryview(self._read_large(start, last + length - start))
        except KernelError:
            if len(span) == 1:
                raise
            found |= {piece: self._read_large(*piece) for piece in span}  # what is between may be bad
            return
        for piece in span:
            begin = piece[0] - start
            found[piece] = whole[begin : begin + piece[1]]

    def _read_large(self, offset: int, length: int) -> bytes:
        """Cached pages from here, the others from the device at once, and none of them is kept."""
        pages = self._pages
        sector_bytes = self.device.sector_bytes
        first, stop = offset // PAGE_BYTES, (offset + length - 1) // PAGE_BYTES + 1
        if not (offset % sector_bytes or length % sector_bytes) and pages.keys().isdisjoint(range(first, stop)):
            if length <= MOST_AT_ONCE:
                return self.device.read(offset // sector_bytes, length // sector_bytes)
        start = first * PAGE_BYTES
        buffer = memoryview(bytearray(min(stop * PAGE_BYTES, self.size_bytes) - start))
        number = first
        while number < stop:
            begin = number * PAGE_BYTES - start
            page = pages.get(number)
            if page is not None:
                buffer[begin : begin + len(page)] = page
                number += 1
                continue
            first_missing = number
            while number < stop and number not in pages and (number - first_missing) * PAGE_BYTES < MOST_AT_ONCE:
                number += 1
            end = min(number * PAGE_BYTES - start, len(buffer))
            self.device.read_into(first_missing * PAGE_BYTES // self.device.sector_bytes, buffer[begin:end])
        return bytes(buffer[offset - start : offset - start + length])

    def _fetch(self, first: int, last: int) -> None:
        """Have the pages ``first`` to ``last`` in the cache, and perhaps more after them."""
        pages = self._pages
        end = last + 1
        if last not in pages:
            in_order = first <= self._ahead_end <= last + 1
            self._ahead = min(max(2 * self._ahead, FIRST_AHEAD), MOST_AHEAD) if in_order else 0
            end = self._ahead_end = min(last + 1 + self._ahead, -(-self.size_bytes // PAGE_BYTES))
            if end == first + 1:  # metadata here and there
                self._read_run(first, end)
                return
        number = first
        while number < end:
            if number in pages:
                if number <= last:
                    pages.move_to_end(number)
                number += 1
                continue
            stop = number + 1
            while stop < end and stop not in pages and (stop - number) * PAGE_BYTES < MOST_AT_ONCE:
                stop += 1
            try:
                self._read_run(number, stop)
            except KernelError:
                if number > last:
                    return  # what was only read ahead may be bad
                if stop - number == 1:
                    raise
                for one in range(number, min(stop, last + 1)):  # only what was asked for, to fail at the bad one
                    self._read_run(one, one + 1)
            number = stop

    def _read_run(self, first: int, stop: int) -> None:
        start = first * PAGE_BYTES
        sector_bytes = self.device.sector_bytes
        length = min(stop * PAGE_BYTES, self.size_bytes) - start
        data = self.device.read(start // sector_bytes, length // sector_bytes)
        if stop - first == 1:
            self._pages[first] = data
            return
        for index, number in enumerate(range(first, stop)):
            self._pages[number] = data[index * PAGE_BYTES : (index + 1) * PAGE_BYTES]

    # -- writing --

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write ``data``; it reaches the device later. Raises KernelError: ENXIO past the end, EROFS."""
        length = len(data)
        self._check(offset, length)
        if self.device.read_only:
            raise KernelError(Errno.EROFS, f"{self.device.name} is read-only")
        view = memoryview(data).cast("B")
        if length >= LARGE_BYTES and all(epoch == self._epoch for epoch in self._epochs):
            self._write_large(offset, view)
        else:
            self._write_pages(offset, view)

    def _write_large(self, offset: int, view: memoryview) -> None:
        """The whole pages of it to the device, at once; nothing older is waiting to be written ahead of it."""
        head = -offset % PAGE_BYTES
        stop = (offset + len(view)) // PAGE_BYTES
        first = (offset + head) // PAGE_BYTES
        tail = stop * PAGE_BYTES - offset
        self._write_pages(offset, view[:head])
        for start in range(head, tail, MOST_AT_ONCE):
            piece = view[start : min(start + MOST_AT_ONCE, tail)]
            self.device.write((offset + start) // self.device.sector_bytes, piece)
        of_now = self._epochs.setdefault(self._epoch, set())  # what comes after an `order` waits for this as well
        if not self._pages.keys().isdisjoint(range(first, stop)):  # three times as fast as to ask for each
            for number in range(first, stop):
                if self._pages.pop(number, None) is not None and self._dirty.pop(number, None) is not None:
                    of_now.discard(number)
        self._write_pages(offset + tail, view[tail:])

    def _write_pages(self, offset: int, view: memoryview) -> None:
        length = len(view)
        done = 0
        while done < length:
            number, start = divmod(offset + done, PAGE_BYTES)
            page_bytes = min(PAGE_BYTES, self.size_bytes - number * PAGE_BYTES)
            count = min(page_bytes - start, length - done)
            epoch = self._dirty.get(number)
            if epoch is not None and epoch != self._epoch:
                self._write_back(epoch)
                epoch = None
            if count == page_bytes:
                self._pages[number] = bytes(view[done : done + count])
            else:
                page = self._writable_page(number)
                page[start : start + count] = view[done : done + count]
            self._pages.move_to_end(number)
            if epoch != self._epoch:
                self._dirty[number] = self._epoch
                self._epochs.setdefault(self._epoch, set()).add(number)
            done += count
        if len(self._dirty) * DIRTY_SHARE > self.capacity_pages:
            self._write_back(self._epoch)
        self._evict()

    def order(self) -> None:
        """What was written so far reaches the medium before anything written from now on."""
        if self._epoch in self._epochs:
            self._epoch += 1

    def write_back(self) -> None:
        """Give everything to the device, which may keep it in a cache of its own. Raises KernelError(EIO)."""
        self._write_back(self._epoch)

    def flush(self) -> None:
        """Everything is on the medium when this returns. Raises KernelError(EIO) when it is not."""
        self.write_back()
        self.device.flush()

    def forget(self) -> None:
        """Drop every page that is not dirty (BLKFLSBUF; somebody else wrote to the device)."""
        for number in [number for number in self._pages if number not in self._dirty]:
            del self._pages[number]

    def _writable_page(self, number: int) -> bytearray:
        page = self._pages.get(number)
        if page is None:
            self._read_run(number, number + 1)
            page = self._pages[number]
        if isinstance(page, bytes):
            page = self._pages[number] = bytearray(page)
        return page

    def _write_back(self, last_epoch: int) -> None:
        """Give the epochs up to ``last_epoch`` to the device, with a flush after each that is followed by another."""
        for epoch in [epoch for epoch in self._epochs if epoch <= last_epoch]:
            pages = self._epochs[epoch]
            for run in _runs(sorted(pages)):
                data = b"".join([self._pages[number] for number in run])
                self.device.write(run[0] * PAGE_BYTES // self.device.sector_bytes, data)
                for number in run:
                    del self._dirty[number]
                pages.difference_update(run)
            if epoch < self._epoch:
                self.device.flush()  # if this fails, so does whatever was to come after it
            del self._epochs[epoch]

    def _evict(self) -> None:
        """Let the least recently used clean pages go, a batch at a time."""
        excess = len(self._pages) - self.capacity_pages
        if excess <= 0:
            return
        clean = (number for number in self._pages if number not in self._dirty)
        for number in list(islice(clean, excess + self.capacity_pages // EVICTED_SHARE)):
            del self._pages[number]

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise KernelError(Errno.ENXIO, f"{length} bytes at {offset} are not all on {self.device.name}")


def _runs(numbers: list[int]) -> list[list[int]]:
    """Neighbouring numbers together, at most `MOST_AT_ONCE` bytes of pages in a run."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number and len(runs[-1]) * PAGE_BYTES < MOST_AT_ONCE:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
