"""The kernel: composition, boot and shutdown.

`boot_kernel` asks the plugin hooks once for every part (hookspecs.py gives the order), puts the parts together and
mounts the filesystems. After that no hook is on any path: the objects call each other directly.

    Kernel
      clock, entropy, host streams      the doors to everything that differs from run to run
      engine, memory                    the processor and its page tables
      scheduler, executor, loop         who runs, and the event loop in which they run
      vfs, console                      files and terminals
      processes, lifecycle, signals     processes
      personalities                     what their programs look like

A kernel belongs to the host thread that made it, and is used up after `shutdown`.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jefeos
from jefeos.bus.system import (
    RamFile,
    needs_ram_file,
    settle_network,
    start_devices,
    stop_devices,
    wants_devices,
)
from jefeos.config import BootConfig
from jefeos.errors import BootError, ConfigError, JefeError, KernelError
from jefeos.hostfiles import HostStreams
from jefeos.klog import KernelLog
from jefeos.net.networking import Networking
from jefeos.plugins import PluginHealth, Plugins, load_plugins
from jefeos.proc.files import FdTable, FsState
from jefeos.proc.futex import FutexTable
from jefeos.proc.lifecycle import Lifecycle, initial_process
from jefeos.proc.namespaces import SystemNames
from jefeos.proc.process import Process, ProcessTable
from jefeos.proc.signals import Signal, Signals, signal_name
from jefeos.rootfs import install_applets, mount_root, mount_system
from jefeos.sched.clock import Clock, Entropy, RealClock, VirtualClock
from jefeos.sched.executor import Executor
from jefeos.sched.loop import KernelLoop
from jefeos.tty.devices import TerminalDevices
from jefeos.vfs.path import Path, path_string
from jefeos.vfs.procfs.sysctl import SystemSettings
from jefeos.vfs.vfs import Vfs

if TYPE_CHECKING:
    from jefeos.block.nodes import BlockNodes
    from jefeos.bus.driver import DeviceManager
    from jefeos.cpu.engine import Engine
    from jefeos.hookspecs import Applet
    from jefeos.inject.injector import Injector
    from jefeos.inject.spec import Fault
    from jefeos.mm.manager import MemoryManager
    from jefeos.net.wire import Port
    from jefeos.personality import Personality
    from jefeos.syscall.table import SyscallTable
    from jefeos.syscall.trace import Tracer
    from jefeos.vfs.file import File
    from jefeos.vfs.fstype import FilesystemType
    from jefeos.vfs.path import Mount

DEFAULT_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "linux",
    "USER": "root",
    "LOGNAME": "root",
}

SERVICE_PATIENCE_S = 5.0
"""How long cancelled services may take to end."""


class Kernel:
    """A booted system. Made by `boot_kernel`."""

    def __init__(
        self,
        config: BootConfig,
        plugins: Plugins,
        log: logging.Logger,
        trace_output: Callable[[str], None] | None,
    ) -> None:
        self.config = config
        self.plugins = plugins
        self.clock: Clock = VirtualClock() if config.virtual_time else RealClock()
        self.messages = KernelLog(self.clock)
        self.log = self.messages.make_logger(log)
        seed = config.seed if config.seed is not None else (0 if config.virtual_time else None)
        self.entropy = Entropy(seed)
        self.names = SystemNames(config.hostname.encode())
        """Host and domain name of every process that did not unshare them."""
        self.boot_id = str(uuid.UUID(bytes=self.entropy.bytes(16), version=4))
        self.settings = SystemSettings(self)
        """What /proc/sys shows."""
        self.bugs = 0
        """Exceptions that escaped from handlers since boot; each one killed a process and is a defect."""
        self.out_of_memory_kills = 0
        self.shutdown_reason: str | None = None
        """Why the run is over: halt, poweroff or restart (reboot(2)), or panic (pid 1 ended)."""
        self._ended: dict[Process, asyncio.Future[int]] = {}
        self.injectors: list[Injector] = []
        self.closed = self._ending = False

        self.scheduler = plugins.first("jefeos_scheduler", name=config.scheduler, config=config)
        if self.scheduler is None:
            raise ConfigError(f"no plugin provides the scheduler {config.scheduler!r}")
        self.ram_file = RamFile(config.ram_bytes) if needs_ram_file(config) else None
        self.engine = _make_engine(config, self.ram_file)
        try:
            self._compose(trace_output)
        except BaseException:
            self.close()
            raise

    def _compose(self, trace_output: Callable[[str], None] | None) -> None:
        plugins = self.plugins
        config = self.config = settle_network(self.config, plugins)
        self.log.info("JefeOS %s on %s", jefeos.__version__, self.engine.name)
        self.loop = KernelLoop(self.clock)
        if config.virtual_time:
            self.engine.set_time_stamp_source(self.clock.monotonic_ns)
        memory: MemoryManager | None = plugins.first(
            "jefeos_memory_manager", name=config.memory_manager, engine=self.engine, config=config
        )
        if memory is None:
            raise ConfigError(f"no plugin provides the memory manager {config.memory_manager!r}")
        self.memory = memory
        self.log.info("memory: %d KiB of %d KiB free", memory.free_frames() * 4, config.ram_bytes >> 10)
        self.personalities: list[Personality] = [
            personality for found in plugins.collect("jefeos_personalities") for personality in found
        ]
        for personality in self.personalities:
            table = plugins.first(
                "jefeos_syscall_table",
                personality=personality.name,
                names=personality.table.numbers,
                config=config,
            )
            table.add_all(personality.table.declared.values())
            personality.table = table
            plugins.collect("jefeos_register_syscalls", table=table)
        self.tracer: Tracer | None = None
        if trace_output is not None:
            from jefeos.syscall.trace import Tracer

            self.tracer = Tracer(trace_output)
        self.vfs = Vfs(self.clock, self.memory.page_cache)
        self.processes = ProcessTable()
        self.signals = Signals()
        self.futexes = FutexTable()
        self.lifecycle = Lifecycle(self)
        self.executor = Executor(self)
        self.terminals = TerminalDevices(self, self.clock)
        self.console = self.terminals.console
        self.host_streams = HostStreams(self.clock, self.loop, self.vfs.anonymous_path)
        self.filesystem_types: list[FilesystemType] = [
            kind for found in plugins.collect("jefeos_filesystems") for kind in found
        ]
        self.applets: dict[str, Applet] = {}
        self.devices: DeviceManager | None = None
        self.disks: BlockNodes | None = None
        self.wire: Port | None = None
        self.net = Networking(self)
        self.loop.attach_network(self.net)
        if wants_devices(config):
            start_devices(self)
        self.memory_at_boot = self.memory.free_frames()
        """Free frames before anything was mounted: as many are free again after the shutdown."""
        mount_root(self)
        for found in plugins.collect("jefeos_applets"):
            self.applets = {**found, **self.applets}
        if config.root is None:
            install_applets(self)
        mount_system(self)
        self._start_observers = plugins.functions("jefeos_process_start")
        self._exit_observers = plugins.functions("jefeos_process_exit")
        self.root_process = initial_process(self, 0 if config.init else self.processes.allocate_id())
        """The parent of what is started from outside. It is pid 1 itself unless an init program takes that id."""
        for mounted in self.vfs.mounts:
            self.log.info("mounted %s", _describe_mount(mounted))
        plugins.collect("jefeos_boot", kernel=self)
        if config.inject:
            self.inject(config.inject)

    # -- starting programs -----------------------------------------------------------------------------------

    def start(
        self,
        argv: list[bytes],
        *,
        files: list[File],
        program: bytes | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: bytes = b"/",
        controlling_tty: bool = False,
    ) -> Process:
        """Start a program of the guest with ``files`` as descriptors 0, 1, 2 … (references are taken over).

        ``program`` is its file, ``argv[0]`` by default; without a slash it is looked for in PATH. With
        ``controlling_tty`` it becomes the leader of a session on the console; an init program never does, since it
        is for its children to lead sessions (as on Linux, pid 1 is in none). Raises KernelError as execve would.
        """
        is_init = self.config.init is not None and not self.processes.processes
        table = FdTable()
        for file in files:
            table.install(file)
        variables = {**DEFAULT_ENVIRONMENT, **dict(self.config.environment or ()), **(environ or {})}
        pairs = [f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in variables.items()]
        root = self.vfs.root
        try:
            where = self.vfs.resolve(self.vfs.as_kernel(), cwd, want_directory=True) if cwd != b"/" else root
            path = self._find_in_path(program or argv[0], variables["PATH"])
        except KernelError:
            table.leave()
            raise
        process = self.lifecycle.spawn(
            path,
            argv,
            pairs,
            files=table,
            parent=self.root_process,
            fs=FsState(root, where),
            new_session=not is_init,
        )
        if is_init:
            self.log.info("pid %d: %s", process.pid, path.decode("utf-8", "replace"))
        elif controlling_tty:
            self.console.tty.jobs.set_controlling(self.console.tty, process, steal=True)
        return process

    def _find_in_path(self, name: bytes, path: str) -> bytes:
        """The file that a shell would run: execvp's search."""
        if b"/" in name:
            return name
        actor = self.vfs.as_kernel()
        failure = KernelError(2, name.decode("utf-8", "replace"))
        for folder in path.encode().split(b":"):
            candidate = (folder or b".") + b"/" + name
            try:
                inode = self.vfs.resolve(actor, candidate).inode
            except KernelError:
                continue
            if inode.is_regular and inode.mode & 0o111:
                return candidate
            failure = KernelError(13, name.decode("utf-8", "replace"))
        raise failure

    # -- running -----------------------------------------------------------------------------------------------

    def run_until_exit(self, process: Process, timeout_s: float | None = None) -> int | None:
        """Run the system until ``process`` has ended; gives its status as a shell reports it, None on time-out."""
        if process.is_dead:
            return process.shell_status
        ended: asyncio.Future[int] = self.loop.create_future()
        self._ended[process] = ended

        def give_up() -> None:
            if not ended.done():
                ended.set_result(-1)

        timer = self.loop.call_later(timeout_s, give_up) if timeout_s is not None else None
        interrupts = 0
        try:
            while not ended.done():
                try:
                    self.loop.run_until_complete(ended)
                except KeyboardInterrupt:  # the host's ^C where no terminal is attached
                    interrupts += 1
                    if interrupts > 1:
                        raise
                    self.signals.send_group(self.processes.group(process.pgid), Signal.SIGINT)
        finally:
            self._ended.pop(process, None)
            if timer is not None:
                timer.cancel()
        status = ended.result()
        return None if status == -1 else status

    def process_ended(self, process: Process) -> None:
        """The lifecycle tells of each end. That of an init program is the end of the system."""
        if process.pid == 1 and self.shutdown_reason is None and not self._ending:
            self.shutdown_reason = "panic"
            self.log.critical("kernel panic: init (pid 1, %s) %s", *_last_words(process))
            self.kill_all()
        future = self._ended.get(process)
        if future is not None and not future.done():
            future.set_result(process.shell_status)

    def request_shutdown(self, reason: str) -> None:
        """reboot(2): ``reason`` is halt, poweroff or restart. Every process ends and the run is over."""
        self.shutdown_reason = reason
        self.log.info("system %s requested", reason)
        self.kill_all()

    def sync(self) -> None:
        """sync(2): everything that was written is on its medium. Raises KernelError if it is not."""
        self.vfs.sync()
        if self.disks is not None:
            self.disks.flush()

    def kill_all(self) -> None:
        """End every process, from outside of any."""
        self._ending = True
        for process in self.processes:
            if process is not self.root_process:
                self.lifecycle.kill_process(process)

    def announce_start(self, process: Process) -> None:
        """Tell the observers of process starts, if there are any."""
        if self._start_observers:
            self._announce(self._start_observers, process)

    def announce_exit(self, process: Process) -> None:
        """Tell the observers of process ends, if there are any."""
        if self._exit_observers:
            self._announce(self._exit_observers, process)

    def _announce(self, observers: list[Callable[..., Any]], process: Process) -> None:
        for observer in list(observers):
            try:
                observer(process=process)
            except Exception:
                observers.remove(observer)
                self.log.exception("a process observer failed and is detached: %s", observer)

    def inject(self, faults: Iterable[Fault]) -> Injector:
        """Make system calls or parts of them fail until the injector is detached. Raises ConfigError."""
        from jefeos.inject.injector import Injector

        injector = Injector(self, faults)
        self.injectors.append(injector)
        return injector

    # -- the end -----------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End every process, tell the plugins, write everything back, release everything. Idempotent."""
        if self.closed:
            return
        for injector in list(self.injectors):
            injector.detach()
        try:
            self.kill_all()
            self.plugins.collect("jefeos_shutdown", kernel=self)
            self._end_services()
            self.vfs.unmount_all()
        finally:
            self.close()

    def _end_services(self) -> None:
        services = asyncio.all_tasks(self.loop)
        for service in services:
            service.cancel()
        if services:
            self.loop.run_until_complete(asyncio.wait(services, timeout=SERVICE_PATIENCE_S))

    def close(self) -> None:
        """Give the host's resources back without any ceremony."""
        if self.closed:
            return
        self.closed = True
        for injector in list(self.injectors):
            injector.detach()
        net: Networking | None = getattr(self, "net", None)
        if net is not None:
            net.close()
        vfs: Vfs | None = getattr(self, "vfs", None)
        if vfs is not None and vfs.mounts:  # after a boot that failed
            with suppress(JefeError):
                vfs.unmount_all()
        stop_devices(self)
        streams = getattr(self, "host_streams", None)
        if streams is not None:
            streams.close()
        loop = getattr(self, "loop", None)
        if loop is not None:
            loop.close()
        self.engine.close()
        if self.ram_file is not None:
            self.ram_file.close()

    def statistics(self) -> dict[str, Any]:
        """Counts since boot: system calls by name (all, those that succeeded and failed, those without a handler),
        switches, memory."""
        calls = self.executor.calls
        return {
            "system_calls": self._by_name(lambda table: calls.begun),
            "succeeded_calls": self._by_name(lambda table: calls.succeeded),
            "failed_calls": self._by_name(lambda table: calls.failed),
            "unknown_calls": self._by_name(lambda table: table.unknown),
            "context_switches": self.executor.switches,
            "processes_created": self.processes.created,
            "uptime_ns": self.clock.uptime_ns(),
            "memory": self.memory.info(),
            "kernel_bugs": self.bugs,
            "injected": {a.fault.text: (a.hits, a.reached) for i in self.injectors for a in i.armed},
        }

    def _by_name(self, counts_of: Callable[[SyscallTable], Counter[int]]) -> dict[str, int]:
        """Counts by the names of system calls, the greatest first."""
        named: Counter[str] = Counter()
        for personality in self.personalities:
            for number, count in counts_of(personality.table).items():
                named[personality.table.name(number)] += count
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))


def boot_kernel(
    config: BootConfig,
    *,
    report: Callable[[PluginHealth], None] | None = None,
    trace_output: Callable[[str], None] | None = None,
    log: logging.Logger | None = None,
) -> Kernel:
    """Load the plugins and boot. Raises BootError, ConfigError or PluginError with one clear line.

    ``report`` hears of each unhealthy plugin; ``trace_output`` gets the lines of the system-call trace.
    """
    logger = log or logging.getLogger("jefeos")
    plugins = load_plugins(config, report or (lambda health: logger.warning("%s", health.line())))
    return Kernel(config, plugins, logger, trace_output)


def _last_words(process: Process) -> tuple[str, str]:
    """The program of an init that ended, and how."""
    program = process.argv[0] if process.argv else process.name
    how = f"was killed by {signal_name(process.killed_by)}" if process.killed_by else (
        f"ended with status {process.exit_code}"
    )
    return program.decode("utf-8", "replace"), how


def _describe_mount(mounted: Mount) -> str:
    place = path_string(Path(mounted, mounted.root), None) or b"/"
    return f"{mounted.fs.name} on {place.decode('utf-8', 'replace')}"


def _make_engine(config: BootConfig, ram_file: RamFile | None) -> Engine:
    from jefeos.cpu.unicorn import UnicornEngine

    try:
        return UnicornEngine(config.ram_bytes, ram_file.descriptor if ram_file is not None else -1)
    except (MemoryError, OSError) as error:
        raise BootError(f"the host cannot give {config.ram_bytes >> 20} MiB for --ram: {error}") from None
