"""The plugin contract: every hook the kernel calls, typed and documented. Read this first.

A plugin is an installed distribution with an entry point in one of the groups ``jefeos.<kind>``
(`jefeos.plugins.KINDS`), whose value is a module::

    # jefeos_fs_example/plugin.py
    from jefeos.hookspecs import hookimpl

    JEFEOS_API = 1                      # the version of this file that the plugin was written for

    @hookimpl
    def jefeos_filesystems():
        from jefeos_fs_example.filesystem import ExampleType   # import late: boot stays fast
        return [ExampleType()]

Rules that hold for every hook:

* Hooks register and announce; they are never on a hot path. The kernel asks once, at the moment named below,
  and keeps the objects it was given. A system call, a page fault or a tick calls those objects directly.
* Implementations may take fewer arguments than the specification names; they may not add any. They are called
  by keyword, the last registered plugin first (``tryfirst=True`` and ``trylast=True`` change that order).
  The core's own defaults (`jefeos.builtin`) come last. Hook wrappers are not supported.
* An exception in an implementation makes that plugin unhealthy: it is reported in one line and its answer is left
  out, and boot goes on; with ``--strict``, or when the user named the plugin, boot ends with that line instead.
  Where a hook's own paragraph says something else, that holds.
* "First result" hooks return ``None`` for "not mine", and the first other answer is taken.

Order in a boot: scheduler, memory manager, personalities, for each of them its syscall table and then
`jefeos_register_syscalls`, (machine and drivers, if there are devices), filesystems, (root mounted), applets,
`jefeos_boot`; then the shell, if the command line wants one, and process announcements; `jefeos_shutdown` at the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

if TYPE_CHECKING:
    from logging import Logger

    from jefeos.bus.driver import Driver
    from jefeos.bus.machine import DiskRequest, Machine, MachineRequest, NicRequest
    from jefeos.bus.simulated import DeviceModel
    from jefeos.config import BootConfig
    from jefeos.cpu.engine import Engine
    from jefeos.kernel import Kernel
    from jefeos.mm.manager import MemoryManager
    from jefeos.net.services import DhcpServer, DhcpServerConfig, Resolver
    from jefeos.net.stack import NetworkStack
    from jefeos.net.wire import WireOpener
    from jefeos.personality import Personality
    from jefeos.proc.process import Process
    from jefeos.sched.clock import Clock, Entropy
    from jefeos.sched.loop import KernelLoop
    from jefeos.sched.scheduler import Scheduler
    from jefeos.syscall.table import SyscallTable
    from jefeos.vfs.fstype import FilesystemType

PROJECT = "jefeos"

#: The version of this contract. A plugin states the one it was written for as ``JEFEOS_API``.
API_VERSION = 1

#: The versions of the contract that this core still honours.
SUPPORTED_API_VERSIONS = frozenset({1})

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

#: An applet: ``async def main(proc, argv) -> exit status``; it makes system calls through ``proc``.
Applet: TypeAlias = Callable[[Any, list[bytes]], Awaitable[int]]


# --- parts of the kernel that a plugin may replace -----------------------------------------------------------


@hookspec(firstresult=True)
def jefeos_scheduler(name: str | None, config: BootConfig) -> Scheduler | None:
    """Make the scheduler (a `jefeos.sched.scheduler.Scheduler`) called ``name``. First result.

    When: once, first of all hooks. ``name`` is ``--scheduler``; ``None`` asks for the default. An implementation
    answers only for its own name (and for ``None`` only if it means to become the default).
    Returns: a new scheduler, or ``None``. If nobody answers, boot ends with a `ConfigError` that names ``name``.
    An error ends the boot: there is no system without a scheduler.
    """


@hookspec(firstresult=True)
def jefeos_memory_manager(name: str | None, engine: Engine, config: BootConfig) -> MemoryManager | None:
    """Make the memory manager over ``engine.ram`` (bytes of guest RAM, physical address 0 first). First result.

    When: once, after the CPU engine exists. ``name`` is ``--memory-manager``; ``None`` asks for the default.
    The first ``engine.reserved_bytes`` bytes belong to the engine.
    Returns: a manager, or ``None`` for "not mine". An error ends the boot.
    """


@hookspec(firstresult=True)
def jefeos_syscall_table(
    personality: str, names: Mapping[str, int], config: BootConfig
) -> SyscallTable | None:
    """Make the empty table of one personality, that `jefeos_register_syscalls` fills. First result.

    When: once for each personality. ``names`` gives the number of every call that the personality knows of, with
    or without a handler. Replace it to observe, filter or reroute system calls as a whole.
    Returns: a table, or ``None`` for "not mine". An error ends the boot.
    """


# --- what a plugin adds --------------------------------------------------------------------------------------


@hookspec
def jefeos_register_syscalls(table: SyscallTable) -> None:
    """Add system calls to ``table``, or replace some that are already there (``table.add(…, replace=True)``).

    When: once for each personality, after its own calls are in; ``table.personality`` tells which one it is.
    Returns: nothing. An error leaves what was added before it in the table and reports the plugin.
    """


@hookspec
def jefeos_personalities() -> list[Personality]:
    """The system-call personalities (`jefeos.personality.Personality`): executable formats, structures, signal frames.

    When: once, after the memory manager was made. Each executable file goes to the first personality that
    recognises its opening bytes.
    Returns: a list, possibly empty. An error reports the plugin; its programs then fail with ENOEXEC.
    """


@hookspec
def jefeos_filesystems() -> list[FilesystemType]:
    """The filesystem types this plugin knows (`jefeos.vfs.fstype.FilesystemType`).

    When: once, before the root is mounted. For ``--root SOURCE`` and ``--mount`` the kernel asks each type's
    ``probe(source)`` in order and opens the source with the first that says yes. Types with a ``volume`` are also asked
    about the machine's disks, mounted from them by mount(2), and served by ``jefeos disk`` without any kernel;
    `jefeos.block.sources.volume_type` makes such a type of a format.
    Returns: a list, possibly empty. An error reports the plugin; a source that nobody recognises ends the boot.
    """


@hookspec(firstresult=True)
def jefeos_machine(name: str, request: MachineRequest) -> Machine | None:
    """Make the machine called ``name`` (``--machine``): where devices are (`jefeos.bus.machine.Machine`). First result.

    When: once, if the system is to have devices, before the root is mounted. ``request`` says what RAM there is, which
    disks and network cards are wanted, and which models there are. An implementation answers only for its own name.
    Returns: a machine that was not started, or ``None``. An error ends the boot; so does a name nobody answers for.
    """


@hookspec
def jefeos_drivers() -> list[Driver]:
    """The device drivers of this plugin (`jefeos.bus.driver.Driver`).

    When: once, after the machine was started; each device goes to the first driver that matches it and brings it up.
    Returns: a list, possibly empty. An error reports the plugin; its devices stay without a driver.
    """


@hookspec
def jefeos_disk_controllers() -> dict[str, Callable[[Sequence[DiskRequest]], DeviceModel]]:
    """Models of disk controllers for the simulated machine, by name: from its disks to a model on the bus.

    When: once, if the system is to have devices. Returns: a dict, possibly empty. An error reports the plugin.
    """


@hookspec
def jefeos_network_cards() -> dict[str, Callable[[NicRequest], DeviceModel]]:
    """Models of network cards for the simulated machine, by name: from MAC and wire to a model on the bus.

    When: once, if the system is to have devices. Returns: a dict, possibly empty. An error reports the plugin.
    """


@hookspec
def jefeos_wires() -> dict[str, WireOpener]:
    """Kinds of wire for ``--net KIND[:REST]``, by kind: from REST and a `jefeos.net.wire.WireContext` to a `Port`.

    When: once, if the system is to have a network card. Returns: a dict, possibly empty. An error reports the plugin.
    Opening one may raise ConfigError, which ends the boot.
    """


@hookspec(firstresult=True)
def jefeos_network_stack(loop: KernelLoop, clock: Clock, entropy: Entropy, log: Logger) -> NetworkStack | None:
    """Make a network stack (`jefeos.net.stack.NetworkStack`) that has only ``lo`` yet, up. First result.

    When: at the first use of `kernel.net.stack`, which is at boot if there is a network card and else with the first
    internet socket; and by whoever needs a stack of its own (a gateway). Timers go through ``loop``, time is ``clock``.
    Returns: a stack, or ``None``. An error reports the plugin; without a stack, internet sockets are EAFNOSUPPORT.
    """


@hookspec(firstresult=True)
def jefeos_resolver(kernel: Kernel) -> Resolver | None:
    """Make what turns names into addresses for kernel services (`jefeos.net.services.Resolver`). First result.

    When: at the first name that a kernel service wants to know. Programs have resolvers of their own.
    Returns: a resolver, or ``None``. An error reports the plugin; names other than addresses are then unknown.
    """


@hookspec(firstresult=True)
def jefeos_dhcp_server(
    stack: NetworkStack, interface: int, config: DhcpServerConfig, clock: Clock, log: Logger
) -> DhcpServer | None:
    """Start a small DHCP server on an interface of ``stack`` (for gateways). First result.

    When: by a wire that hands out addresses. Returns: a running server, or ``None``.
    An error reports the plugin; whoever is on that wire then needs an address by hand.
    """


@hookspec
def jefeos_applets() -> dict[str, Applet]:
    """Programs written in Python, by file name: ``async def main(proc, argv) -> int`` with the exit status.

    When: once, after the root was mounted. Each becomes a file in ``/bin`` of a system booted without a root.
    Returns: a dict, possibly empty. ``applet_in("package.module:function")`` (`jefeos.proc.applet`) is an applet whose
    module is imported when it first runs, so that boots do not wait for it.
    Of two applets with one name, the one of the plugin asked first stays.
    An error reports the plugin, and its applets are missing.
    """


@hookspec(firstresult=True)
def jefeos_shell() -> str | None:
    """The path of the program to start when there is no root filesystem and no ``--init``. First result.

    When: by ``jefeos boot``, after `jefeos_boot`; usually it is the path of an applet, as ``/bin/jsh``.
    Returns: an absolute guest path, or ``None``. An error ends the boot.
    """


# --- announcements -------------------------------------------------------------------------------------------


@hookspec
def jefeos_boot(kernel: Kernel) -> None:
    """The kernel is complete and the root is mounted; no process runs yet. Start services, attach observers.

    When: once. An error reports the plugin.
    """


@hookspec
def jefeos_shutdown(kernel: Kernel) -> None:
    """Every process has exited; filesystems are still mounted. Undo what `jefeos_boot` did.

    When: once, also after a boot that failed half-way past `jefeos_boot`. An error is reported, never fatal.
    """


@hookspec
def jefeos_process_start(process: Process) -> None:
    """A process came into being (fork, or the first one), before its first instruction.

    When: at each one; the kernel keeps the list of implementations from boot, so it costs nothing without any.
    An error is reported once and that observer is detached; the process goes on.
    """


@hookspec
def jefeos_process_exit(process: Process) -> None:
    """A process has exited and became a zombie; ``process.exit_status`` is final.

    When: at each one, before its parent hears of it. An error counts as for `jefeos_process_start`.
    """
