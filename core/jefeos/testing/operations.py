"""Changes to a tree of files: as values, applied to a model and to a mounted filesystem alike.

    model = Model()
    for operation in everyday(model, random.Random(seed), 200):     chosen to succeed on what is there
        perform(operation, here)                                    on a `jefeos.testing.mounted.Mounted`
        model.apply(operation)
    assert here.tree() == model.tree()

A model is names and nodes: a name (an absolute path) leads to the number of a node, a node has a kind and contents. So
hard links are two names of one number, and a moved file keeps its number: what must still be there after a crash can
be told by number (`jefeos.testing.crash`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from attrs import Factory, define, evolve, frozen

from jefeos.testing.mounted import Mounted
from jefeos.vfs.file import File
from jefeos.vfs.flags import O_RDWR, S_IFDIR, S_IFLNK, S_IFREG

MOST_BYTES: Final = 40_000


class Kind(StrEnum):
    """What an operation does."""

    PUT = "put"
    WRITE = "write"
    TRUNCATE = "truncate"
    MKDIR = "mkdir"
    RMDIR = "rmdir"
    UNLINK = "unlink"
    UNLINK_OPEN = "unlink while open"
    CLOSE_ALL = "close all"
    RENAME = "rename"
    LINK = "link"
    SYMLINK = "symlink"
    SYNC = "sync"
    FSYNC = "fsync"


@frozen
class Operation:
    """One change. Which fields count depends on its kind."""

    kind: Kind
    path: bytes = b""
    other: bytes = b""
    """The second path of rename and link, the target of a symbolic link."""
    offset: int = 0
    """Of a write; the new size of a truncation."""
    data: bytes = b""

    @property
    def promises(self) -> bool:
        """Whether everything so far is on the medium when it has ended."""
        return self.kind in (Kind.SYNC, Kind.FSYNC)

    def __repr__(self) -> str:
        data = f" {len(self.data)} bytes" if self.data else ""
        other = f" {self.other!r}" if self.other else ""
        offset = f" at {self.offset}" if self.offset else ""
        return f"<{self.kind} {self.path!r}{other}{data}{offset}>"


@frozen
class Node:
    """What names lead to. ``contents`` is the target of a symbolic link, empty for a directory."""

    kind: int
    contents: bytes = b""


@frozen
class Snapshot:
    """A model at one moment."""

    names: dict[bytes, int]
    nodes: dict[int, Node]

    def tree(self) -> dict[bytes, tuple[int, bytes]]:
        """As `Mounted.tree` gives it."""
        nodes = self.nodes
        return {path: (nodes[number].kind, nodes[number].contents) for path, number in self.names.items()}


@define
class Model:
    """What a filesystem should hold."""

    names: dict[bytes, int] = Factory(dict)
    nodes: dict[int, Node] = Factory(dict)
    _numbered: int = 0

    def tree(self) -> dict[bytes, tuple[int, bytes]]:
        """As `Mounted.tree` gives it."""
        return self.snapshot().tree()

    def snapshot(self) -> Snapshot:
        """A copy that stays as it is."""
        return Snapshot(dict(self.names), dict(self.nodes))

    def of_kind(self, kind: int) -> list[bytes]:
        """All names of that kind, in order."""
        return sorted(path for path, number in self.names.items() if self.nodes[number].kind == kind)

    def node(self, path: bytes) -> Node:
        """What a name leads to."""
        return self.nodes[self.names[path]]

    def below(self, path: bytes) -> list[bytes]:
        """All names in and under a directory."""
        return [name for name in self.names if name.startswith(path + b"/")]

    def apply(self, operation: Operation) -> None:
        """Do it to the model."""
        path, other = operation.path, operation.other
        match operation.kind:
            case Kind.PUT:
                if path in self.names:
                    self._set(path, operation.data)
                else:
                    self._add(path, Node(S_IFREG, operation.data))
            case Kind.WRITE if operation.data:
                old, offset = self.node(path).contents, operation.offset
                end = offset + len(operation.data)
                self._set(path, old[:offset].ljust(offset, b"\0") + operation.data + old[end:])
            case Kind.TRUNCATE:
                self._set(path, self.node(path).contents[: operation.offset].ljust(operation.offset, b"\0"))
            case Kind.MKDIR:
                self._add(path, Node(S_IFDIR))
            case Kind.SYMLINK:
                self._add(path, Node(S_IFLNK, other))
            case Kind.RMDIR | Kind.UNLINK:
                self._remove(path)
            case Kind.UNLINK_OPEN:
                number = self.names[path]
                self._remove(path)
                if number in self.nodes:  # other names of it see what is written
                    old = self.nodes[number].contents
                    self.nodes[number] = Node(S_IFREG, operation.data + old[len(operation.data) :])
            case Kind.LINK:
                self.names[other] = self.names[path]
            case Kind.RENAME:
                self._rename(path, other)

    def _add(self, path: bytes, node: Node) -> None:
        self._numbered += 1
        self.names[path] = self._numbered
        self.nodes[self._numbered] = node

    def _set(self, path: bytes, contents: bytes) -> None:
        number = self.names[path]
        self.nodes[number] = evolve(self.nodes[number], contents=contents)

    def _remove(self, path: bytes) -> None:
        number = self.names.pop(path)
        if number not in self.names.values():
            del self.nodes[number]

    def _rename(self, path: bytes, other: bytes) -> None:
        if self.names.get(other) == self.names[path]:
            return  # two names of one file: nothing happens
        if other in self.names:
            self._remove(other)
        for name in self.below(path):
            self.names[other + name[len(path) :]] = self.names.pop(name)
        self.names[other] = self.names.pop(path)


@define
class Held:
    """Files that are kept open although their names are gone."""

    files: list[File] = Factory(list)

    def close(self) -> None:
        """Close them all."""
        for file in self.files:
            file.unref()
        self.files.clear()


def perform(operation: Operation, here: Mounted, held: Held | None = None) -> None:
    """Do it to a mounted filesystem. Raises KernelError as the calls do."""
    vfs, actor = here.vfs, here.actor
    path, other = operation.path, operation.other
    match operation.kind:
        case Kind.PUT:
            here.put(path, operation.data)
        case Kind.WRITE:
            here.write(path, operation.offset, operation.data)
        case Kind.TRUNCATE:
            vfs.truncate(actor, path, operation.offset)
        case Kind.MKDIR:
            vfs.mkdir(actor, path, 0o755)
        case Kind.RMDIR:
            vfs.rmdir(actor, path)
        case Kind.UNLINK:
            vfs.unlink(actor, path)
        case Kind.UNLINK_OPEN:
            file = vfs.open_file(actor, path, O_RDWR)
            vfs.unlink(actor, path)
            if held is None:
                file.unref()
            else:
                held.files.append(file)
                file.pwrite(operation.data, 0)
        case Kind.CLOSE_ALL:
            if held is not None:
                held.close()
        case Kind.RENAME:
            vfs.rename(actor, path, other)
        case Kind.LINK:
            vfs.link(actor, path, other)
        case Kind.SYMLINK:
            vfs.symlink(actor, other, path)
        case Kind.SYNC:
            here.vfs.sync()
        case Kind.FSYNC:
            here.fsync(path)


@frozen
class Abilities:
    """What `everyday` may ask of a filesystem."""

    hard_links: bool = True
    symlinks: bool = True
    most_bytes: int = MOST_BYTES
    """Of one file."""
    most_files: int = 40
    sync_share: float = 0.08
    """How often it is sync or fsync."""


def everyday(model: Model, dice: random.Random, count: int, abilities: Abilities | None = None) -> Iterator[Operation]:
    """``count`` operations that make sense on the model as it is when each is asked for."""
    maker = _Maker(model, dice, abilities or Abilities())
    for _ in range(count):
        yield maker.choose()


@define
class _Maker:
    model: Model
    dice: random.Random
    abilities: Abilities

    def choose(self) -> Operation:
        dice, abilities = self.dice, self.abilities
        if dice.random() < abilities.sync_share:
            return self._sync()
        files, folders = self.model.of_kind(S_IFREG), self.model.of_kind(S_IFDIR)
        full = len(self.model.names) >= abilities.most_files
        weights: dict[Kind, float] = {
            Kind.PUT: 0 if full else 6,
            Kind.MKDIR: 0 if full else 2,
            Kind.SYMLINK: 1 if abilities.symlinks and not full else 0,
            Kind.LINK: 1 if abilities.hard_links and files and not full else 0,
            Kind.WRITE: 6 if files else 0,
            Kind.TRUNCATE: 2 if files else 0,
            Kind.UNLINK: 6 if full else 2 if files else 0,
            Kind.UNLINK_OPEN: 1 if files else 0,
            Kind.CLOSE_ALL: 0.5,
            Kind.RENAME: 4 if files or folders else 0,
            Kind.RMDIR: 1 if any(not self.model.below(folder) for folder in folders) else 0,
        }
        kind = dice.choices(list(weights), list(weights.values()))[0]
        return self._of(kind, files, folders)

    def _of(self, kind: Kind, files: list[bytes], folders: list[bytes]) -> Operation:
        dice = self.dice
        match kind:
            case Kind.PUT:
                return Operation(kind, self._new_name(), data=self._data())
            case Kind.MKDIR:
                return Operation(kind, self._new_name())
            case Kind.SYMLINK:
                return Operation(kind, self._new_name(), dice.choice((b"somewhere", b"/x" * dice.randint(1, 400))))
            case Kind.LINK:
                return Operation(kind, dice.choice(files), self._new_name())
            case Kind.WRITE:
                path = dice.choice(files)
                size = len(self.model.node(path).contents)
                most = self.abilities.most_bytes
                offset = min(dice.choice((0, size, dice.randint(0, size), size + dice.randint(0, 9000))), most - 1)
                return Operation(kind, path, offset=offset, data=self._data()[: most - offset])
            case Kind.TRUNCATE:
                path = dice.choice(files)
                size = len(self.model.node(path).contents)
                new = dice.choice((0, size // 2, dice.randint(0, size), size + dice.randint(0, 9000)))
                return Operation(kind, path, offset=min(new, self.abilities.most_bytes))
            case Kind.UNLINK | Kind.UNLINK_OPEN:
                links = self.model.of_kind(S_IFLNK) if kind == Kind.UNLINK else []
                return Operation(kind, dice.choice(files + links), data=b"late")
            case Kind.RMDIR:
                return Operation(kind, dice.choice([folder for folder in folders if not self.model.below(folder)]))
            case Kind.RENAME:
                return self._rename(files, folders)
        return Operation(kind)

    def _rename(self, files: list[bytes], folders: list[bytes]) -> Operation:
        dice = self.dice
        path = dice.choice(files + folders)
        if path in files and len(files) > 1 and dice.random() < 0.4:
            return Operation(Kind.RENAME, path, dice.choice([other for other in files if other != path]))
        while (other := self._new_name()).startswith(path + b"/"):
            pass
        return Operation(Kind.RENAME, path, other)

    def _sync(self) -> Operation:
        files = self.model.of_kind(S_IFREG)
        if files and self.dice.random() < 0.5:
            return Operation(Kind.FSYNC, self.dice.choice(files))
        return Operation(Kind.SYNC)

    def _new_name(self) -> bytes:
        dice = self.dice
        folders = [folder for folder in self.model.of_kind(S_IFDIR) if folder.count(b"/") < 5]
        while True:
            folder = dice.choice([b"", *folders])
            length = dice.choice((1, 1, 3, 8, 20, 100))
            name = b"".join([b"%c" % dice.choice(b"abcdefghijklmnopqrstuvwxyz0123456789 _-") for _ in range(length)])
            name = name.strip() or b"n"
            if folder + b"/" + name not in self.model.names:
                return folder + b"/" + name

    def _data(self) -> bytes:
        dice = self.dice
        most = self.abilities.most_bytes
        length = dice.choice((0, 1, 100, 700, 4096, dice.randint(0, 5000), dice.randint(0, most)))
        return dice.randbytes(min(length, most))
