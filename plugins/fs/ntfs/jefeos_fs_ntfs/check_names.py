"""Names: what directories list, against the names that the files themselves carry.

Both have to be there: the entry in the index of the directory, and the FILE_NAME in the record of the file. Sizes and
times in an entry are copies that NTFS itself lets grow old; they are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from attrs import Factory, define
from jefeos.errors import CorruptError

from jefeos_fs_ntfs.check_index import IndexWalk
from jefeos_fs_ntfs.check_records import RESERVED_WITHOUT_NAME, parse_name
from jefeos_fs_ntfs.check_state import Findings, Name, Node
from jefeos_fs_ntfs.layout import REFERENCE_MASK, AttributeType, Collation, MetaFile
from jefeos_fs_ntfs.names import NameKey

if TYPE_CHECKING:
    from jefeos.block.volume import Progress

    from jefeos_fs_ntfs.check_mft import MftReader
    from jefeos_fs_ntfs.names import Collator

INDEX: Final = "$I30"
ROOT_NAME: Final = "."


@define
class NameCheck:
    """Directories and names of one volume."""

    reader: MftReader
    nodes: dict[int, Node]
    unreadable: set[int]
    collator: Collator
    findings: Findings
    broken: set[int] = Factory(set)
    """Directories whose index is to be built anew."""
    lost: list[Node] = Factory(list)
    """Files that no directory leads to, and whose own directory is not there."""
    unsure: dict[int, list[tuple[int, bytes]]] = Factory(dict)
    """Directory to its entries (reference, key) that lead to records which cannot be read."""
    removed: list[Node] = Factory(list)
    """Files without a name that do not miss one."""
    wrong_link_counts: list[Node] = Factory(list)
    _maybe_incomplete: set[int] = Factory(set)

    def check(self, progress: Progress) -> None:
        """All of it."""
        directories = [node for node in self.nodes.values() if node.is_directory]
        for done, node in enumerate(directories):
            if not done % 64:
                progress(done, len(directories))
            self._check_directory(node)
        progress(len(directories), len(directories))
        for node in self.nodes.values():
            self._check_names(node)
            if node.link_count != len(node.names) and node.number not in self.unreadable:
                what = f"its link count is {node.link_count}, and it has {len(node.names)} names"
                self.findings.add(f"MFT record {node.number}", what)
                self.wrong_link_counts.append(node)
        self._check_reachable(directories)

    def where(self, node: Node) -> str:
        """Number and, where there is one, path."""
        path = self.path(node.number)
        return f"MFT record {node.number}" + (f" ({path})" if path else "")

    def path(self, number: int) -> str:
        """The path of a file by its first name, as far as it can be told."""
        parts: list[str] = []
        while number != MetaFile.ROOT and len(parts) < 64:
            node = self.nodes.get(number)
            if node is None or not node.names:
                return "…/" + "/".join(reversed(parts)) if parts else ""
            raw = node.names[0].name.encode("utf-16-le", "surrogatepass")
            parts.append(raw.decode("utf-16-le", "backslashreplace"))
            number = node.names[0].parent & REFERENCE_MASK
        return "/" + "/".join(reversed(parts))

    # -- what directories list --

    def _check_directory(self, node: Node) -> None:
        where = self.where(node)
        if (AttributeType.INDEX_ROOT, INDEX) not in node.streams:
            self.findings.add(where, "is a directory and has no index")
            self._broken(node, incomplete=True)
            return
        walk = IndexWalk(self.reader, node.number, INDEX, AttributeType.FILE_NAME, Collation.FILE_NAME, self._order)
        for entry in walk.entries():
            try:
                name = parse_name(entry.key)
            except CorruptError as error:
                self.findings.add(where, f"{entry.place}: {error.args[0]}")
                self._broken(node)
                continue
            self._check_entry(node, entry.reference, name, where)
        for fault in walk.faults:
            self.findings.add(where, fault.what, harmless=fault.harmless)
        if walk.faults:
            self._broken(node, incomplete=walk.damaged)

    def _check_entry(self, node: Node, reference: int, name: Name, where: str) -> None:
        target = self.nodes.get(reference & REFERENCE_MASK)
        shown = repr(name.name)
        if target is None or target.reference != reference:
            number = reference & REFERENCE_MASK
            if number in self.unreadable:
                self.unsure.setdefault(node.number, []).append((reference, name.key))
                return  # it is the file that is wrong
            self.findings.add(where, f"lists {shown}, which leads to record {number}: no such file is there")
            self._broken(node)
            return
        for own in target.names:
            same = (own.name, own.namespace) == (name.name, name.namespace)
            if same and own.parent == name.parent == node.reference and not own.listed:
                own.listed = True
                return
        self.findings.add(where, f"lists {shown}, a name that record {target.number} does not have")
        self._broken(node)

    def _order(self, key: bytes) -> NameKey:
        return self.collator.key(parse_name(key).name)

    def _broken(self, node: Node, incomplete: bool = False) -> None:
        self.broken.add(node.number)
        if incomplete:
            self._maybe_incomplete.add(node.number)

    # -- what files are called --

    def _check_names(self, node: Node) -> None:
        if not node.names:
            if node.number >= MetaFile.FIRST_FREE and not node.link_count:
                what = "was removed while it was open, and its space not given back"
                self.findings.add(f"MFT record {node.number}", what, harmless=True)
                self.removed.append(node)
            elif node.number >= MetaFile.FIRST_FREE and node.number not in self.unreadable:
                self.findings.add(f"MFT record {node.number}", "has no name", harmless=True)
                self.lost.append(node)
            elif node.number < MetaFile.FIRST_FREE and node.number not in RESERVED_WITHOUT_NAME:
                self.findings.add(f"MFT record {node.number}", "has no name")
            return
        for name in node.names:
            if name.listed:
                continue
            parent = self.nodes.get(name.parent & REFERENCE_MASK)
            if parent is None or parent.reference != name.parent or not parent.is_directory:
                if name.parent & REFERENCE_MASK in self.unreadable:
                    continue  # the directory is what is wrong, and that was said
                where = f"MFT record {node.number}"
                self.findings.add(where, f"is called {name.name!r} in a directory that is not there", harmless=True)
                self.lost.append(node)
            elif parent.number not in self._maybe_incomplete:
                self.findings.add(self.where(parent), f"does not list {name.name!r}, a name of record {node.number}")
                self.broken.add(parent.number)

    def _check_reachable(self, directories: Iterable[Node]) -> None:
        """Directories that only lead to each other."""
        reached: set[int] = {MetaFile.ROOT}
        for node in directories:
            way: dict[int, None] = {}
            number = node.number
            while number not in reached and number not in way:
                above = self.nodes.get(number)
                if above is None or not above.names:
                    break  # said already
                way[number] = None
                number = above.names[0].parent & REFERENCE_MASK
            if number in way:
                name = self.nodes[number].names[0].name
                self.findings.add(f"MFT record {number}", f"the directory {name!r} is inside of itself")
                self.lost.append(self.nodes[number])
            reached.update(way)
