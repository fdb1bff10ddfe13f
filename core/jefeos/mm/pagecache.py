"""The page cache: file pages in frames of guest RAM, shared by everyone who reads or maps the file.

    inode ──► FileMapping ──► {page index: frame}      the file's own pages
                   └────────► users: areas (Vma) of address spaces that map it

One `FileMapping` stands for the contents of one file. read(2), write(2) and every mmap of the file see the same
frames, so they agree without copying. Its pages come from a `PageSource` (the inode) when first touched; a
mapping without a source *is* the storage (tmpfs, memfd, shared anonymous memory): missing pages are zeros and
pages stay until they are truncated.

Rules:

* `page` gives a frame that the cache owns. A caller that allocates before it is done with the frame holds a
  reference of its own meanwhile, since allocation may reclaim clean pages.
* A page is *dirty* when its content is newer than its source's: written through `write` or a shared mapping.
  `update` is for callers that have written to the source themselves (write-through): it refreshes what is cached.
* ``size_bytes`` (an int, or a callable that returns one, or None for no end) is the file's size as the owner
  knows it: `read` ends there and a fault past its last page is SIGBUS. `write` and `truncate` keep an int current.
* The owner calls `release` when the file is gone (after `writeback`, if the file lives on elsewhere: dirty pages
  are dropped); pages go when the last area that maps them goes too.

Reclaim takes clean pages of mappings that were not used since the last time it looked, then other clean pages,
then clean pages that programs have mapped (they fault again), and last writes dirty pages back. There is no
background write-back: `writeback` runs at fsync, msync, sync and when memory is short.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from jefeos.cpu.paging import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE
from jefeos.errors import KernelError
from jefeos.mm.frames import CODE_LIVE, CODE_STALE, ZERO_PAGE, FrameAllocator

if TYPE_CHECKING:
    from jefeos.mm.vma import Vma

WORKING_SET_SHARE: Final = 64  # this part of all frames is left to the files that programs map, when memory ends …
WORKING_SET_LEAST: Final = 32  # … and at least so many frames
FILLED_AT_ONCE: Final = 4 * PAGE_SIZE  # from this much on a read takes missing pages from the source in one go …
MOST_AT_ONCE: Final = 256  # … so many pages at most
LARGEST_SHARE: Final = 4  # a file that fills this part of all frames gets no more for what is read in passing
MAPPED_SHARE: Final = 8  # the part of their pages that goes at once before that

class PageSource(Protocol):
    """Where a mapping's pages come from and go to: an inode."""

    def read_page(self, index: int, page: memoryview) -> None:
        """Fill ``page`` (4096 zero bytes) with page ``index``, as far as the file goes. Raises KernelError."""

    def read_pages(self, index: int, count: int) -> bytes:
        """``count`` pages from ``index`` on, as far as the file goes. Raises KernelError."""

    def write_page(self, index: int, data: bytes) -> None:
        """Store a page; what lies past the end of the file is ignored. Raises KernelError."""


class FileMapping:
    """The pages of one file. Made by `PageCache.new_mapping`. See the module's text for the rules."""

    __slots__ = (
        "_cache",
        "_frames",
        "_ram",
        "_released",
        "dirty",
        "owner",
        "pages",
        "serial",
        "shared_users",
        "size_bytes",
        "source",
        "touched",
        "users",
    )

    def __init__(self, cache: PageCache, source: PageSource | None, serial: int) -> None:
        self._cache = cache
        self._frames = cache.frames
        self._ram = cache.ram
        self._released = False
        self.source = source
        self.serial = serial  # identifies the mapping in futex keys
        self.owner: object | None = source  # whose pages these are; for /proc/PID/maps
        self.pages: dict[int, int] = {}
        self.dirty: set[int] = set()
        self.users: set[Vma] = set()
        self.shared_users = 0  # how many of them are shared areas, which write these very frames
        self.size_bytes: int | Callable[[], int] | None = None
        self.touched = False

    @property
    def resident(self) -> int:
        """Pages in memory."""
        return len(self.pages)

    def size(self) -> int | None:
        """The file's size in bytes, None if it has no end."""
        size = self.size_bytes
        return size() if callable(size) else size

    def is_past_end(self, index: int) -> bool:
        """Whether page ``index`` lies wholly past the end of the file."""
        size = self.size_bytes
        if callable(size):
            size = size()
        return size is not None and index << PAGE_SHIFT >= size

    # Pages.

    def page(self, index: int, for_write: bool = False) -> int:
        """The frame of page ``index``, read from the source if it is not here. Raises KernelError."""
        self.touched = True
        pfn = self.pages.get(index)
        if pfn is None:
            pfn = self._fill(index)
        if for_write:
            self.mark_dirty(index)
        return pfn

    def mark_dirty(self, index: int) -> None:
        """Page ``index`` is newer than its source from now on."""
        if self.source is not None:
            self.dirty.add(index)

    def _fill(self, index: int) -> int:
        frames = self._frames
        pfn = frames.alloc()
        source = self.source
        if source is not None:
            address = pfn << PAGE_SHIFT
            try:
                source.read_page(index, self._ram[address : address + PAGE_SIZE])
            except BaseException:
                frames.unref(pfn)
                raise
        self.pages[index] = pfn
        self._cache.cached_pages += 1
        return pfn

    # read(2) and write(2).

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``: less only at the end of the file."""
        self.touched = True
        size = self.size_bytes
        if size is not None:
            if callable(size):
                size = size()
            if offset + length > size:
                length = size - offset
        if length <= 0:
            return b""
        start = offset & PAGE_MASK
        if start + length <= PAGE_SIZE:
            pfn = self.pages.get(offset >> PAGE_SHIFT)
            if pfn is None:
                if self.source is None:
                    return bytes(length)
                pfn = self._fill(offset >> PAGE_SHIFT)
            start += pfn << PAGE_SHIFT
            return self._ram[start : start + length].tobytes()
        return self._read_pages(offset, length)

    def _read_pages(self, offset: int, length: int) -> bytes:
        ram = self._ram
        pages = self.pages
        pieces: list[bytes | memoryview] = []
        while length > 0:
            start = offset & PAGE_MASK
            count = min(PAGE_SIZE - start, length)
            index = offset >> PAGE_SHIFT
            pfn = pages.get(index)
            if pfn is None and self.source is None:
                pieces.append(ZERO_PAGE[:count])
            else:
                if pfn is None:
                    if length >= FILLED_AT_ONCE:
                        piece = self._fill_run(index, start + length >> PAGE_SHIFT)[start:]
                        if piece:
                            pieces.append(piece)
                            offset += len(piece)
                            length -= len(piece)
                            continue
                    pfn = self._fill(index)
                start += pfn << PAGE_SHIFT
                while count < length and pages.get(index := index + 1) == (pfn := pfn + 1):  # in neighbouring frames
                    count = min(count + PAGE_SIZE, length)
                # A copy, not a view: filling a later page may reclaim and reuse this one's frame.
                pieces.append(ram[start : start + count].tobytes())
            offset += count
            length -= count
        return b"".join(pieces)

    def _fill_run(self, index: int, most: int) -> bytes:
        """Read missing pages from ``index`` on in one go, at most ``most``, and keep them as far as there is memory.

        Gives their contents: whole pages, none if the source has less. What is kept may be reclaimed for the next.
        A file that is large for this memory is not kept any further: it would push out its own pages, or others' that
        are of more use; and what has to go through memory first is read at half the speed.
        """
        source, pages = self.source, self.pages
        assert source is not None
        count = min(most, MOST_AT_ONCE)
        if not pages.keys().isdisjoint(range(index, index + count)):
            count = next(number for number in range(1, count) if index + number in pages)
        data = source.read_pages(index, count)
        count = len(data) >> PAGE_SHIFT
        frames = self._frames
        if len(pages) * LARGEST_SHARE <= frames.total:
            if frames.free_count < count:
                frames.reclaim(count)  # all at once: each time looks through the files
            with suppress(KernelError):  # no memory to keep them in
                found = frames.alloc_raw_many(count)
                frames.fill(found, data)
                pages.update(zip(range(index, index + len(found)), found, strict=True))
                self._cache.cached_pages += len(found)
        return data[: count << PAGE_SHIFT]

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Change the pages and mark them dirty. Grows an int ``size_bytes``. Raises KernelError."""
        self.touched = True
        position = 0
        length = len(data)
        end = offset + length
        while position < length:
            start = offset & PAGE_MASK
            count = min(PAGE_SIZE - start, length - position)
            index = offset >> PAGE_SHIFT
            pfn = self.pages.get(index)
            if pfn is None:
                pfn = self._fill(index)
            if self.source is not None:
                self.dirty.add(index)
            start += pfn << PAGE_SHIFT
            if count == length:
                self._ram[start : start + count] = data
            else:
                self._ram[start : start + count] = data[position : position + count]
            if self._frames.code[pfn] == CODE_LIVE:
                self._code_changed(index, pfn)
            offset += count
            position += count
        size = self.size_bytes
        if isinstance(size, int) and size < end:
            self.size_bytes = end

    def update(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Refresh cached pages after the owner wrote ``data`` to the source itself. Fills and dirties nothing."""
        position = 0
        length = len(data)
        while position < length:
            start = offset & PAGE_MASK
            count = min(PAGE_SIZE - start, length - position)
            pfn = self.pages.get(offset >> PAGE_SHIFT)
            if pfn is not None:
                start += pfn << PAGE_SHIFT
                self._ram[start : start + count] = data[position : position + count]
                if self._frames.code[pfn] == CODE_LIVE:
                    self._code_changed(offset >> PAGE_SHIFT, pfn)
            offset += count
            position += count
        size = self.size_bytes
        if isinstance(size, int) and size < offset:
            self.size_bytes = offset

    def truncate(self, size: int) -> None:
        """The file now ends at ``size``: pages past it go, from programs too, and the last one's tail is zero."""
        if isinstance(self.size_bytes, int):
            self.size_bytes = size
        first_gone = (size + PAGE_MASK) >> PAGE_SHIFT
        tail = size & PAGE_MASK
        if tail:
            pfn = self.pages.get(size >> PAGE_SHIFT)
            if pfn is not None:
                address = pfn << PAGE_SHIFT
                self._ram[address + tail : address + PAGE_SIZE] = ZERO_PAGE[tail:]
                if self._frames.code[pfn] == CODE_LIVE:
                    self._code_changed(size >> PAGE_SHIFT, pfn)
        if self.users:
            self.zap(first_gone, None, private_copies=True)
        self._drop([index for index in self.pages if index >= first_gone])

    def punch(self, first: int, last: int) -> None:
        """Pages ``first <= index < last`` become holes (MADV_REMOVE, fallocate on a mapping without source)."""
        self.zap(first, last, private_copies=False)
        self._drop([index for index in self.pages if first <= index < last])

    # Coherence with the address spaces that map the file.

    def zap(self, first: int, last: int | None, *, private_copies: bool) -> None:
        """Take pages ``first <= index < last`` out of every address space that maps them.

        ``private_copies`` says whether copies made by private mappings go as well (truncation, as on Linux).
        """
        for vma in self.users:
            start, end = vma.addresses_of(first, last)
            if start < end and vma.space is not None:
                vma.space.zap_file_pages(vma, start, end, private_copies=private_copies)

    def write_protect(self, indexes: Iterable[int]) -> None:
        """Make the next store to these pages through a shared mapping fault, so that it marks them dirty."""
        users = [vma for vma in self.users if vma.shared and vma.space is not None]
        if users:
            for index in indexes:
                for vma in users:
                    start, end = vma.addresses_of(index, index + 1)
                    if start < end and vma.space is not None:
                        vma.space.restrict_page(start, writable=False, executable=True)

    def revoke(self, index: int, *, keep: Vma | None, writable: bool, executable: bool) -> None:
        """Restrict one page in all areas but ``keep``: a frame is never writable here and executable there."""
        for vma in self.users:
            if vma is not keep and vma.space is not None:
                start, end = vma.addresses_of(index, index + 1)
                if start < end:
                    vma.space.restrict_page(start, writable=writable, executable=executable)

    def _code_changed(self, index: int, pfn: int) -> None:
        self._frames.code[pfn] = CODE_STALE
        self.revoke(index, keep=None, writable=True, executable=False)

    # The end of pages.

    def writeback(self) -> None:
        """Store every dirty page, lowest first. Raises the source's KernelError; what is left stays dirty."""
        source = self.source
        if source is None or not self.dirty:
            return
        indexes = sorted(self.dirty)
        self.write_protect(indexes)
        for index in indexes:
            pfn = self.pages.get(index)
            if pfn is not None:
                address = pfn << PAGE_SHIFT
                source.write_page(index, self._ram[address : address + PAGE_SIZE].tobytes())
            self.dirty.discard(index)

    def invalidate(self) -> None:
        """Forget clean pages, so that the next use reads the source again (the source changed by itself)."""
        self.zap(0, None, private_copies=False)
        if self.source is not None:
            self._drop([index for index in self.pages if index not in self.dirty])

    def release(self) -> None:
        """The owner is done with the file. Its pages go now, or with the last area that maps them."""
        self._released = True
        if not self.users:
            self._drop_everything()

    def add_user(self, vma: Vma) -> None:
        self.users.add(vma)
        self.shared_users += vma.shared

    def remove_user(self, vma: Vma) -> None:
        self.users.remove(vma)
        self.shared_users -= vma.shared
        if vma.shared and not self.shared_users and self.dirty:
            with suppress(KernelError):  # stays dirty; sync tries again
                self.writeback()  # a program that only wrote through its mapping expects the file to have it
        if self._released and not self.users:
            self._drop_everything()

    def _drop_everything(self) -> None:
        self._drop(list(self.pages))
        self._cache.forget(self)

    def _drop(self, indexes: list[int]) -> None:
        pages = self.pages
        self._frames.unref_entries([pages.pop(index) for index in indexes])
        self._cache.cached_pages -= len(indexes)
        if self.dirty:
            self.dirty.difference_update(indexes)

    def clean_unmapped(self) -> Iterator[int]:
        """Indexes of pages that only the cache holds and that the source can give again."""
        if self.source is None:
            return iter(())
        references, dirty = self._frames.references, self.dirty
        return (index for index, pfn in self.pages.items() if references[pfn] == 1 and index not in dirty)

    def drop_clean(self, limit: int) -> int:
        """Drop up to ``limit`` clean unmapped pages, those first that came first; returns how many."""
        indexes = list(islice(self.clean_unmapped(), limit))
        self._drop(indexes)
        return len(indexes)


class PageCache:
    """All file mappings of one system. It installs itself as the frame allocator's reclaimer."""

    def __init__(self, frames: FrameAllocator, ram: memoryview) -> None:
        self.frames = frames
        self.ram = ram
        self.cached_pages = 0
        self._mappings: OrderedDict[FileMapping, None] = OrderedDict()  # the one that reclaim looks at next comes first
        self._serial = 0
        self._reclaiming = False
        frames.reclaim = self.reclaim

    def new_mapping(self, source: PageSource | None) -> FileMapping:
        """A mapping for the file behind ``source``; None makes one that is its own storage."""
        self._serial += 1
        mapping = FileMapping(self, source, self._serial)
        self._mappings[mapping] = None
        return mapping

    def forget(self, mapping: FileMapping) -> None:
        self._mappings.pop(mapping, None)

    def mappings(self) -> list[FileMapping]:
        return list(self._mappings)

    def reclaimable(self) -> int:
        """Clean pages that nobody maps."""
        return sum(1 for mapping in self._mappings for _ in mapping.clean_unmapped())

    def writeback(self) -> None:
        """Store every dirty page of every file (sync(2)). Raises the first error after trying all."""
        failure: KernelError | None = None
        for mapping in list(self._mappings):
            try:
                mapping.writeback()
            except KernelError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def reclaim(self, count: int) -> int:
        """Try to free ``count`` frames; returns how many were freed. Never raises."""
        if self._reclaiming:  # write-back allocates: what it cannot have, it does without
            return 0
        self._reclaiming = True
        try:
            freed = self._drop_cold(count)
            if freed < count:
                freed += self._drop_each(count - freed)
            if freed < count:
                freed += self._drop_mapped(count - freed)
            if freed < count:
                try:
                    self.writeback()
                except KernelError:
                    pass  # the dirty pages stay; fsync will report it
                freed += self._drop_each(count - freed)
            return freed
        finally:
            self._reclaiming = False

    def _drop_mapped(self, count: int) -> int:
        """Take pages of files away from the programs that map them: a share at once, as each of them will be missed
        and it costs the others their entries too; and not the last ones. Programs that find their code gone at every
        step would come to no end: better that there is no memory."""
        files = [mapping for mapping in self._mappings if mapping.source is not None]
        clean = sum(len(mapping.pages) - len(mapping.dirty) for mapping in files)
        spare = clean - max(self.frames.total // WORKING_SET_SHARE, WORKING_SET_LEAST)
        if spare <= 0:
            return 0
        wanted = min(max(count, clean // MAPPED_SHARE), spare)
        freed = 0
        for mapping in files:
            if mapping.users:
                mapping.zap(0, None, private_copies=False)
            freed += mapping.drop_clean(min(mapping.resident * wanted // clean + 1, wanted - freed))
        return freed

    def _drop_cold(self, count: int) -> int:
        """Second chance: files stand in a circle, and each call goes on where the last one stopped."""
        mappings = self._mappings
        freed = 0
        for _ in range(len(mappings)):
            mapping = next(iter(mappings))
            if mapping.touched:
                mapping.touched = False
            elif mapping.pages:
                freed += mapping.drop_clean(count - freed)
                if freed >= count:
                    break
            mappings.move_to_end(mapping)
        return freed

    def _drop_each(self, count: int) -> int:
        freed = 0
        for mapping in list(self._mappings):
            if freed >= count:
                break
            freed += mapping.drop_clean(count - freed)
        return freed

    def drop_all_clean(self) -> int:
        """Drop every clean page that nobody maps; returns how many."""
        return self._drop_each(self.frames.total)
