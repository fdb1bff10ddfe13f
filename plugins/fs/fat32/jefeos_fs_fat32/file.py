"""Contents of files: chains as runs of clusters, read and written a run at a time.

FAT knows no holes: growing a file takes clusters and writes zeros. What is cut off a file is freed only after its entry
says so (writes.py); a file that was cut short and grows again within one batch of writes has it committed first, as
the end of its chain can lead only one way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from jefeos.errors import CorruptError, Errno, KernelError
from jefeos.vfs.flags import FALLOC_FL_KEEP_SIZE

from jefeos_fs_fat32.inode import Entry, FatInode
from jefeos_fs_fat32.layout import IS_ARCHIVE, MOST_FILE_BYTES, Slot

if TYPE_CHECKING:
    from jefeos.mm.pagecache import FileMapping

    from jefeos_fs_fat32.directory import FatDirectory
    from jefeos_fs_fat32.filesystem import FatFilesystem
    from jefeos_fs_fat32.table import Run

ZEROS: Final = bytes(1 << 20)


class FatFile(FatInode):
    """A regular file."""

    def __init__(self, fs: FatFilesystem, ino: int, directory: FatDirectory, entry: Entry, slot: Slot) -> None:
        super().__init__(fs, ino, directory, entry, slot)
        self.runs: list[Run] = []
        self._ends: list[int] = []
        """For each run the number of clusters up to its end."""
        self._known = 0
        """Clusters in `runs`."""
        self._is_whole = not self.cluster
        """`runs` is the whole chain, not only as much as the file's size needs."""
        self._cut_batch = 0

    @property
    def blocks(self) -> int:
        cluster_bytes = self.fs.geometry.cluster_bytes
        return -(-self.size // cluster_bytes) * (cluster_bytes // 512)

    @property
    def mapping(self) -> FileMapping:
        if self._mapping is None:
            self.fs.will_map(self)
        return super().mapping

    @property
    def is_idle(self) -> bool:
        """Nobody has it open, or its pages in an address space, and nothing in them is newer than the volume."""
        mapping = self._mapping
        return not self.open_count and mapping is not None and not mapping.users and not mapping.dirty

    def release_pages(self) -> None:
        """Give cached pages back; they are read again when they are needed."""
        if self._mapping is not None:
            self._mapping.release()
            self._mapping = None

    # --- chain -------------------------------------------------------------------------------------------------------

    def _set_runs(self, runs: list[Run]) -> None:
        self.runs, self._ends = runs, []
        total = 0
        for _, count in runs:
            total += count
            self._ends.append(total)
        self._known = total

    def _load(self, *, whole: bool = False) -> None:
        """Know the clusters that the size needs, or all of them. Raises CorruptError."""
        if self._is_whole:
            return
        geometry = self.fs.geometry
        need = geometry.clusters if whole else -(-self.size // geometry.cluster_bytes)
        if need > geometry.clusters:
            raise CorruptError(f"{self._where}: its size {self.size} is more than the volume holds")
        self._set_runs(self.fs.table.runs(self.cluster, need, self._where))
        self._is_whole = whole

    @property
    def _where(self) -> str:
        return f"file {self.entry.name.decode('utf-8', 'replace') if self.entry else self.ino}"

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The places on the volume of a part of the file, as (offset, length). Raises CorruptError."""
        geometry = self.fs.geometry
        cluster_bytes = geometry.cluster_bytes
        if offset + length > self._known * cluster_bytes:
            self._load()
            if offset + length > self._known * cluster_bytes:
                what = f"its chain ends after {self._known} clusters, its size is {self.size}"
                raise CorruptError(f"{self._where}: {what}")
        index = bisect_right(self._ends, offset // cluster_bytes)
        while length > 0:
            first, count = self.runs[index]
            inside = offset - (self._ends[index] - count) * cluster_bytes
            part = min(length, count * cluster_bytes - inside)
            yield geometry.offset_of(first) + inside, part
            offset, length, index = offset + part, length - part, index + 1

    def _grow_to(self, size: int) -> None:
        """Have clusters for ``size`` bytes. Raises KernelError: ENOSPC, and nothing has changed."""
        fs = self.fs
        need = -(-size // fs.geometry.cluster_bytes)
        if need <= self._known:
            return
        self._load(whole=True)
        more = need - self._known
        if more <= 0:
            return
        if self._cut_batch == fs.writes.number:
            fs.writes.commit()
        tail = self.runs[-1][0] + self.runs[-1][1] - 1 if self.runs else 0
        new = fs.allocate(more, tail)
        if tail:
            fs.table.set(tail, new[0][0])
        else:
            self.cluster = new[0][0]
        for first, count in new:
            self._append(first, count)

    def _append(self, first: int, count: int) -> None:
        self._known += count
        if self.runs and sum(self.runs[-1]) == first:
            self.runs[-1] = (self.runs[-1][0], self.runs[-1][1] + count)
            self._ends[-1] = self._known
        else:
            self.runs.append((first, count))
            self._ends.append(self._known)

    def _cut_to(self, size: int) -> None:
        """Let the clusters past ``size`` bytes go."""
        self._load(whole=True)
        keep = -(-size // self.fs.geometry.cluster_bytes)
        if keep >= self._known:
            return
        kept: list[Run] = []
        gone: list[Run] = []
        left = keep
        for first, count in self.runs:
            part = min(left, count)
            if part:
                kept.append((first, part))
            if part < count:
                gone.append((first + part, count - part))
            left -= part
        self._set_runs(kept)
        last = sum(kept[-1]) - 1 if kept else 0
        if not kept:
            self.cluster = 0
        fs, writes = self.fs, self.fs.writes
        if self.is_fresh:
            if last:
                fs.table.set(last, fs.table.end)
            fs.table.release(gone)
            return
        if last:
            writes.cuts.append(last)
            self._cut_batch = writes.number
        writes.releases += gone

    # --- storage -----------------------------------------------------------------------------------------------------

    def read_at(self, offset: int, count: int) -> bytes:
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        read = self.fs.volume.read
        pieces = [read(place, length) for place, length in self._pieces(offset, count)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write_at(self, offset: int, data: bytes) -> None:
        self.fs.require_writable()
        end = offset + len(data)
        if end > MOST_FILE_BYTES:
            raise KernelError(Errno.EFBIG)
        if not data:
            return
        self.fs.writes.begin()
        if self.removed_batch == self.fs.writes.number and not self.never_stored:
            self.fs.writes.commit()  # a name that comes back with a loss of power has the contents that it had
        self._grow_to(end)
        if offset > self.size:
            self._zero(self.size, offset)
        view = memoryview(data)
        write = self.fs.volume.write
        for place, length in self._pieces(offset, len(data)):
            write(place, view[:length])
            view = view[length:]
        self.changed()

    def write(self, offset: int, data: bytes) -> int:
        """As much as there is room for, as write(2): ENOSPC or EFBIG only if that is nothing."""
        if offset + len(data) > MOST_FILE_BYTES:
            if offset >= MOST_FILE_BYTES and data:
                raise KernelError(Errno.EFBIG)
            data = data[: max(MOST_FILE_BYTES - offset, 0)]
        if offset + len(data) > self._known * self.fs.geometry.cluster_bytes and data:
            room = self._room_for(offset + len(data))
            if room <= offset:
                raise KernelError(Errno.ENOSPC)
            data = data[: room - offset]
        return super().write(offset, data)

    def _room_for(self, size: int) -> int:
        """The most bytes up to ``size`` that the file can have now."""
        fs = self.fs
        fs.require_writable()
        self._load(whole=True)
        cluster_bytes = fs.geometry.cluster_bytes
        more = -(-size // cluster_bytes) - self._known
        if more > fs.table.free_clusters:
            fs.writes.commit()  # some may wait to be freed
        return min(size, (self._known + fs.table.free_clusters) * cluster_bytes)

    def set_size(self, size: int) -> None:
        self.fs.require_writable()
        if size > MOST_FILE_BYTES:
            raise KernelError(Errno.EFBIG)
        self.fs.writes.begin()
        if size < self.size:
            self._cut_to(size)
        elif size > self.size:
            self._grow_to(size)
            self._zero(self.size, size)
        self.changed()

    def _zero(self, start: int, end: int) -> None:
        for place, length in self._pieces(start, end - start):
            while length > 0:
                part = min(length, len(ZEROS))
                self.fs.volume.write(place, memoryview(ZEROS)[:part])
                place, length = place + part, length - part

    def allocate(self, mode: int, offset: int, length: int) -> None:
        self.fs.require_writable()
        if mode & ~FALLOC_FL_KEEP_SIZE:
            raise KernelError(Errno.EOPNOTSUPP)
        if offset + length > self.size and mode & FALLOC_FL_KEEP_SIZE:
            raise KernelError(Errno.EOPNOTSUPP, "FAT keeps no clusters past the end of a file")
        if offset + length > self.size:
            self.truncate(offset + length)

    def touch_modified(self) -> None:
        super().touch_modified()
        self.attributes |= IS_ARCHIVE

    # --- the end -----------------------------------------------------------------------------------------------------

    def evict(self) -> None:
        super().evict()
        self.fs.mapped.pop(self, None)
        if self.nlink or self.fs.read_only:
            return
        try:
            self._load(whole=True)
        except CorruptError:
            return  # whose clusters these are is for fsck to find out
        self.fs.release(self.runs, at_once=self.never_stored)
        self._set_runs([])
        self.cluster, self.size, self._is_whole = 0, 0, True
