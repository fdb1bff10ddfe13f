"""Points: the places inside of system calls where something can be made to fail, and how they are reached.

The kernel has no checks for injected faults. While an injector that needs them is attached, the methods named below
are replaced in their classes by ones that ask the injectors first, as a kernel probe is put into code that knows
nothing of it; the last injector that goes puts everything back. Hence the only state here that outlives a kernel:
the list of attached injectors, and of what was replaced.

A method that calls another one of the same point counts once: an error is what its caller would have seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from jefeos.errors import KernelError
from jefeos.mm.frames import FrameAllocator
from jefeos.mm.space import AddressSpace
from jefeos.proc.files import FdTable
from jefeos.proc.process import ProcessTable
from jefeos.proc.signals import SignalCode, SignalInfo
from jefeos.proc.task import Task
from jefeos.vfs.buffers import BufferAccount
from jefeos.vfs.inode import Inode

if TYPE_CHECKING:
    from jefeos.inject.injector import Injector
    from jefeos.inject.spec import Fault

_METHODS: Final[dict[str, tuple[type, tuple[str, ...]]]] = {
    "frame": (FrameAllocator, ("alloc", "alloc_raw", "alloc_many", "alloc_raw_many")),
    "copy": (AddressSpace, ("read", "write", "zero", "read_cstr", "read_u64", "compare_exchange_u32")),
    "io": (
        Inode,
        ("lookup", "readdir", "create", "create_unnamed", "mkdir", "symlink", "mknod", "link", "unlink", "rmdir",
         "rename", "readlink", "read", "write", "truncate", "allocate", "read_at", "write_at", "set_size", "read_page",
         "write_page", "set_attributes", "sync", "get_xattr", "set_xattr", "list_xattrs", "remove_xattr"),
    ),
    "descriptor": (FdTable, ("install",)),
    "buffer": (BufferAccount, ("claim_capacity", "claim")),
    "process": (ProcessTable, ("allocate_id",)),
}  # fmt: skip
"""Where each point is: in these methods of this class, and of its subclasses."""

_attached: list[Injector] = []
_replaced: list[tuple[type, str, Any]] = []
_inside: set[str] = set()
"""Points of which a method is running."""


def attach(injector: Injector) -> None:
    """Let ``injector`` be asked."""
    _attached.append(injector)
    if _replaced:
        return
    for point, (owner, names) in _METHODS.items():
        for kind in _family(owner):
            for name in names:
                method = vars(kind).get(name)
                if method is None and kind is owner:  # inherited from the layers that the class is made of
                    method = getattr(kind, name)
                if method is not None:
                    _replace(kind, name, _failing(point, method))
    _replace(Task, "park", _disturbed(Task.park))


def detach(injector: Injector) -> None:
    """Forget ``injector``, and with the last one all replacements."""
    if injector in _attached:
        _attached.remove(injector)
    if not _attached:
        while _replaced:
            kind, name, before = _replaced.pop()
            if before is None:
                delattr(kind, name)
            else:
                setattr(kind, name, before)


def _replace(kind: type, name: str, method: Any) -> None:
    _replaced.append((kind, name, vars(kind).get(name)))
    setattr(kind, name, method)


def _family(owner: type) -> list[type]:
    """The class and everything derived from it, each once."""
    seen = [owner]
    for kind in seen:  # which grows meanwhile
        below: list[type] = type.__subclasses__(kind)
        seen += [subclass for subclass in below if subclass not in seen]
    return seen


def _fault(point: str) -> Fault | None:
    for injector in _attached:
        fault = injector.at_point(point)
        if fault is not None:
            return fault
    return None


def _failing(point: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def failing(*arguments: Any, **named: Any) -> Any:
        if point in _inside:
            return method(*arguments, **named)
        fault = _fault(point)
        if fault is not None:
            raise KernelError(fault.error or 0, f"injected at @{point}")
        _inside.add(point)
        try:
            return method(*arguments, **named)
        finally:
            _inside.discard(point)

    return failing


def _disturbed(park: Callable[..., None]) -> Callable[..., None]:
    """`Task.park`, after which an interruption or a signal may come at once."""

    @functools.wraps(park)
    def disturbed(task: Task, token: Any) -> None:
        park(task, token)
        fault = _fault("wait")
        if fault is None:
            return
        if fault.signal is None:
            task.interrupt()
        else:  # from outside of the task's turn, as from another process
            info = SignalInfo(fault.signal, SignalCode.SI_KERNEL)
            task.kernel.loop.call_soon(task.kernel.signals.send_task, task, fault.signal, info)

    return disturbed
