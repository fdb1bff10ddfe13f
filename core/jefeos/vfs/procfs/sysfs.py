"""A minimal sysfs: the one processor, the network's interfaces, and folders that programs expect to find, empty.

What is here answers questions that libraries and tools ask at start: how many processors (glibc, `lscpu`, `nproc`),
the size of huge pages (Go's runtime), is there a class of devices. Of devices only network cards have entries
(sysfs_network.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jefeos.vfs.flags import FilesystemMagic
from jefeos.vfs.inode import Clock, Filesystem, FilesystemStat, Inode
from jefeos.vfs.procfs.nodes import StaticDirectory
from jefeos.vfs.procfs.sysfs_network import BUS, InterfaceNodes, SysFile

if TYPE_CHECKING:
    from jefeos.net.networking import Networking

_TOPOLOGY = {
    "core_cpus": "1",
    "core_cpus_list": "0",
    "core_id": "0",
    "core_siblings": "1",
    "core_siblings_list": "0",
    "die_id": "0",
    "physical_package_id": "0",
    "thread_siblings": "1",
    "thread_siblings_list": "0",
}

_CACHE = {
    "coherency_line_size": "64",
    "id": "0",
    "level": "1",
    "number_of_sets": "64",
    "physical_line_partition": "1",
    "shared_cpu_list": "0",
    "shared_cpu_map": "1",
    "size": "32K",
    "type": "Data",
    "ways_of_associativity": "8",
}

# Text is a file, a dict a directory; a node is one that is made elsewhere.
_TREE: dict[str, Any] = {
    "block": {},
    "bus": {},
    "class": {"block": {}, "graphics": {}, "input": {}, "mem": {}, "net": {}, "power_supply": {}, "tty": {}},
    "dev": {"block": {}, "char": {}},
    "devices": {
        "system": {
            "cpu": {
                "cpu0": {"cache": {"index0": _CACHE}, "topology": _TOPOLOGY, "uevent": ""},
                "isolated": "",
                "kernel_max": "0",
                "offline": "",
                "online": "0",
                "possible": "0",
                "present": "0",
                "smt": {"active": "0", "control": "notsupported"},
                "vulnerabilities": {},
            },
            "node": {
                "has_cpu": "0",
                "has_memory": "0",
                "has_normal_memory": "0",
                "node0": {"cpulist": "0", "cpumap": "1", "distance": "10"},
                "online": "0",
                "possible": "0",
            },
        },
        "virtual": {},
    },
    "firmware": {},
    "fs": {"cgroup": {}},
    "kernel": {
        "address_bits": "64",
        "cpu_byteorder": "little",
        "fscaps": "1",
        "mm": {
            "hugepages": {},
            "transparent_hugepage": {
                "defrag": "always defer defer+madvise madvise [never]",
                "enabled": "always madvise [never]",
                "hpage_pmd_size": "2097152",
                "shmem_enabled": "always within_size advise [never] deny force",
                "use_zero_page": "0",
            },
        },
        "profiling": "0",
        "rcu_expedited": "0",
        "uevent_seqnum": "0",
    },
    "module": {},
    "power": {},
}


class SysFilesystem(Filesystem):
    """The filesystem at /sys."""

    name = "sysfs"
    read_only = False
    no_access_times = True

    def __init__(self, clock: Clock, net: Networking | None = None) -> None:
        super().__init__(clock)
        self._last_inode = 0
        tree = _TREE
        if net is not None:
            interfaces = InterfaceNodes(self, net)
            devices = {**_TREE["devices"], BUS.decode(): interfaces.cards(), "virtual": {"net": interfaces.virtual()}}
            tree = {**_TREE, "class": {**_TREE["class"], "net": interfaces.links()}, "devices": devices}
        self._root = self._directory(tree)

    @property
    def root(self) -> Inode:
        return self._root

    def statfs(self) -> FilesystemStat:
        return FilesystemStat(type=FilesystemMagic.SYSFS, fsid=self.device)

    def _directory(self, tree: dict[str, Any]) -> StaticDirectory:
        self._last_inode += 1
        own = self._last_inode
        nodes = {name.encode(): self._node(content) for name, content in tree.items()}
        return StaticDirectory(self, own, nodes)

    def _node(self, content: Any) -> Inode:
        if isinstance(content, Inode):
            return content
        if isinstance(content, dict):
            return self._directory(content)
        self._last_inode += 1
        text = content.encode() + b"\n"
        return SysFile(self, self._last_inode, lambda: text)
