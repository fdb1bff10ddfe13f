"""procfs: /proc, what the kernel tells about processes and itself, as files of text.

* `nodes`       the kinds of node: directories, generated files, links (no knowledge of what is in them)
* `filesystem`  the root of /proc and where everything is
* `system`      meminfo, stat, cpuinfo, uptime … as text
* `sysctl`      the tree below /proc/sys, whose values are in `sysctl_values`
* `processes`   the directories /proc/PID and /proc/PID/task/TID
* `descriptors` fd and fdinfo
* `status`      stat, statm, status, limits and io of a process as text
* `memory`      maps and what follows from it; `smaps` counts pages
* `details`     the smaller files of a process: ns, mem, schedstat, syscall
* `mounts`      the mount table
* `locks`       the table of file locks
* `sysfs`       a minimal /sys, built of the same nodes
"""

from __future__ import annotations

from jefeos.vfs.procfs.filesystem import ProcFilesystem

__all__ = ["ProcFilesystem"]
