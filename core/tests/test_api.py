"""JefeOS from Python: running programs, time-outs, files, several systems, shutdown, and the pytest fixtures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import jefeos
import pytest
from jefeos.api import Completed, ProgramFailed, ProgramTimeout, System
from jefeos.errors import ConfigError, Errno, JefeError, KernelError, UsageError
from jefeos.testing.plugin import finish
from jefeos.testing.programs import SPINS, exits, kills_itself


@pytest.fixture
def system(jefeos_boot: Callable[..., System]) -> System:
    """A system with a few programs of its own."""
    system = jefeos_boot()

    async def shows(proc: Any, argv: list[bytes]) -> int:
        for name in argv[1:]:
            await proc.write(1, name + b"=" + proc.environ.get(name, b"(none)") + b"\n")
        await proc.write(2, proc.getcwd())
        return 0

    async def cat(proc: Any, argv: list[bytes]) -> int:
        while data := await proc.read(0):
            await proc.write(1, data)
        return 0

    async def talks_and_hangs(proc: Any, argv: list[bytes]) -> int:
        await proc.write(1, b"partial")
        await proc.write(2, b"error")
        proc.spawn(b"/bin/spins", [b"spins"])
        proc.spawn(b"/bin/spins", [b"spins"], pgid=0)
        await proc.sleep(1000)
        return 0

    for applet in (shows, cat, talks_and_hangs):
        system.kernel.applets[applet.__name__] = applet
        system.write_file(f"/bin/{applet.__name__}", b"#!jefeos-applet %s\n" % applet.__name__.encode(), 0o755)
    system.write_file("/bin/nine", exits(9), 0o755)
    system.write_file("/bin/spins", SPINS, 0o755)
    return system


def assert_idle(system: System) -> None:
    kernel = system.kernel
    assert list(kernel.processes) == [kernel.root_process]
    assert not kernel.processes.tasks
    assert len(kernel.scheduler) == 0


# --- running ------------------------------------------------------------------------------------------------------


def test_a_completed_program(system: System) -> None:
    assert system.run(["/bin/nine", "x"]) == Completed(("/bin/nine", "x"), 9, b"", b"", None)
    system.write_file("/bin/kill", kills_itself(15), 0o755)
    assert system.run(["/bin/kill"]) == Completed(("/bin/kill",), 143, b"", b"", 15)


def test_environment_folder_and_search_path(system: System) -> None:
    done = system.run(["shows", "A", "HOME", b"B"], env={"A": "a=b", "HOME": "/tmp"}, cwd="/usr")
    assert (done.stdout, done.stderr) == (b"A=a=b\nHOME=/tmp\nB=(none)\n", b"/usr")
    with pytest.raises(KernelError) as error:
        system.run(["shows"], env={"PATH": "/usr/bin:/sbin"})
    assert error.value.errno == Errno.ENOENT
    for cwd, errno in (("/none", Errno.ENOENT), ("/bin/nine", Errno.ENOTDIR)):
        with pytest.raises(KernelError) as error:
            system.run(["nine"], cwd=cwd)
        assert error.value.errno == errno
    assert_idle(system)


def test_boot_environment(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot(env=["GREETING=hi"])
    done = system.run(["/bin/sh", "-c", "echo $GREETING $LATER"], env={"LATER": "later"})
    assert done.stdout == b"hi later\n"


def test_ten_megabytes_of_input(system: System) -> None:
    data = bytes(range(256)) * 40_960
    assert system.run(["cat"], input=data, timeout=60).stdout == data


@pytest.mark.peer
def test_ten_megabytes_through_a_real_cat(
    jefeos_boot: Callable[..., System], host_program: Callable[[str], str]
) -> None:
    data = bytes(range(256)) * 40_960
    system = jefeos_boot(root="/", ram="64M")
    done = system.run([host_program("sh"), "-c", "cat | cat"], input=data, timeout=60)
    assert (done.stdout == data, done.status) == (True, 0)


@pytest.mark.parametrize("limit", [0, 1, 100_000, 1 << 30])
def test_output_limit(system: System, limit: int) -> None:
    data = b"x" * 150_000
    done = system.run(["cat"], input=data, output_limit=limit)
    assert (done.stdout, done.status) == (data[:limit], 0)


def test_check(system: System) -> None:
    with pytest.raises(ProgramFailed, match="/bin/nine ended with status 9") as error:
        system.run(["/bin/nine"], check=True)
    assert error.value.completed.status == 9
    assert system.run(["cat"], check=True).status == 0


def test_a_program_that_cannot_be_started(system: System) -> None:
    for argv, errno in ((["/bin/none"], Errno.ENOENT), (["none"], Errno.ENOENT), ([], Errno.EINVAL)):
        with pytest.raises(KernelError) as error:
            system.run(argv)
        assert error.value.errno == errno
        assert isinstance(error.value, JefeError)
        assert_idle(system)
    assert system.run(["nine"]).status == 9


def test_a_time_out_has_the_partial_output_and_leaves_nothing(system: System) -> None:
    for seconds in (1, 10, 60):  # the host may stall us for longer than the program needs to talk
        started = time.monotonic()
        with pytest.raises(ProgramTimeout, match=rf"talks_and_hangs did not end within {seconds} s") as error:
            system.run(["talks_and_hangs"], timeout=seconds)
        assert seconds <= time.monotonic() - started < 100
        assert_idle(system)
        if error.value.stderr:
            break
    assert isinstance(error.value, TimeoutError)
    assert (error.value.stdout, error.value.stderr) == (b"partial", b"error")
    assert system.run(["/bin/nine"]).status == 9


def test_an_early_end_is_no_time_out(system: System) -> None:
    assert system.run(["/bin/nine"], timeout=100).status == 9
    with pytest.raises(ProgramTimeout):
        system.run(["/bin/spins"], timeout=0)
    assert_idle(system)


def test_what_a_program_leaves_running_is_killed(system: System) -> None:
    async def leaves(proc: Any, argv: list[bytes]) -> int:
        proc.spawn(b"/bin/spins", [b"spins"])
        return 4

    system.kernel.applets["leaves"] = leaves
    system.write_file("/bin/leaves", b"#!jefeos-applet leaves\n", 0o755)
    assert system.run(["leaves"]).status == 4
    assert_idle(system)


def test_an_exception_of_the_host_leaves_nothing(system: System) -> None:
    class Impatience(BaseException):
        pass

    def interrupt() -> None:
        raise Impatience

    system.kernel.loop.call_later(0.1, interrupt)
    with pytest.raises(Impatience):
        system.run(["/bin/spins"])
    assert_idle(system)
    assert system.run(["/bin/nine"]).status == 9


# --- files --------------------------------------------------------------------------------------------------------


def test_files(system: System) -> None:
    content = bytes(range(256)) * 20_000
    system.write_file("/tmp/file", content)
    assert system.read_file("/tmp/file") == content
    system.write_file("/tmp/file", b"short")
    assert system.read_file("/tmp/file") == b"short"
    assert system.read_file("/proc/1/comm") == b"jefeos\n"
    assert system.read_file("/dev/null") == b""


@pytest.mark.parametrize(
    ("path", "errno"), [("/none", Errno.ENOENT), ("/tmp", Errno.EISDIR), ("/dev/console", Errno.EAGAIN)]
)
def test_files_that_cannot_be_read(system: System, path: str, errno: Errno) -> None:
    with pytest.raises(KernelError) as error:
        system.read_file(path)
    assert error.value.errno == errno


def test_files_that_cannot_be_written(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot(ram="16M")
    for path, content, errno in (
        ("/none/file", b"x", Errno.ENOENT),
        ("/proc/version", b"x", Errno.EACCES),
        ("/tmp/big", bytes(20 << 20), Errno.ENOSPC),
    ):
        with pytest.raises(KernelError) as error:
            system.write_file(path, content)
        assert error.value.errno in (errno, Errno.EPERM, Errno.EIO), path
    system.kernel.vfs.unlink(system.kernel.vfs.as_kernel(), b"/tmp/big")


# --- several systems, shutdown ------------------------------------------------------------------------------------


def test_two_systems_do_not_know_of_each_other(jefeos_boot: Callable[..., System]) -> None:
    first, second = jefeos_boot(hostname="one"), jefeos_boot(hostname="two", virtual_time=True)
    first.write_file("/tmp/mine", b"1")
    assert [each.read_file("/proc/sys/kernel/hostname") for each in (first, second)] == [b"one\n", b"two\n"]
    with pytest.raises(KernelError):
        second.read_file("/tmp/mine")
    for each, status in ((first, 3), (second, 4), (first, 5)):
        each.write_file("/bin/exits", exits(status), 0o755)
        assert each.run(["exits"]).status == status
    first.shutdown()
    assert second.run(["exits"]).status == 4


def test_shutdown_is_idempotent_and_final() -> None:
    with jefeos.boot() as system:
        system.write_file("/bin/nine", exits(9), 0o755)
        assert system.run(["nine"]).status == 9
        system.shutdown()
        system.shutdown()
    for use in (
        lambda: system.run(["nine"]),
        lambda: system.read_file("/etc/passwd"),
        lambda: system.write_file("/etc/passwd", b""),
    ):
        with pytest.raises(UsageError, match="this system is shut down"):
            use()
    assert system.statistics()["processes_created"] == 1


def test_shutdown_ends_what_still_runs(jefeos_boot: Callable[..., System]) -> None:
    system = jefeos_boot()
    system.write_file("/bin/spins", SPINS, 0o755)
    process = system.kernel.start([b"/bin/spins"], files=[])
    assert system.kernel.run_until_exit(process, 0.05) is None
    system.shutdown()
    assert process.is_dead


def test_shutdown_ends_kernel_services(jefeos_boot: Callable[..., System]) -> None:
    from jefeos.sched.wait import WaitQueue

    system, ended = jefeos_boot(), []
    system.write_file("/bin/nine", exits(9), 0o755)

    async def service() -> None:
        try:
            await WaitQueue().wait()
        finally:
            ended.append(True)

    task = system.kernel.loop.create_task(service())
    system.run(["nine"])
    system.shutdown()
    assert (ended, task.cancelled()) == ([True], True)


def test_a_system_ends_with_its_block_whatever_happens() -> None:
    with pytest.raises(ZeroDivisionError), jefeos.boot() as system:
        raise ZeroDivisionError
    assert system.kernel.closed


def test_no_threads_or_descriptors_are_left() -> None:
    import gc
    import os

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    with jefeos.boot() as system:
        system.write_file("/bin/spins", SPINS, 0o755)
    gc.collect()  # what earlier tests have left may go now, and not meanwhile
    before = threading.active_count(), descriptors()
    for _ in range(3):
        with jefeos.boot() as system:
            system.write_file("/bin/spins", SPINS, 0o755)
            with pytest.raises(ProgramTimeout):
                system.run(["spins"], timeout=0.03)
    gc.collect()
    assert threading.active_count() <= before[0] and descriptors() <= before[1]


@pytest.mark.parametrize("options", [{"colour": "red"}, {"ram": "lots"}, {"scheduler": "lottery"}])
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        jefeos.boot(**options)


# --- the fixtures of jefeos.testing -------------------------------------------------------------------------------


def test_the_built_in_system(jefeos_system: System) -> None:
    assert jefeos_system.run(["sh", "-c", "echo hi | cat"]).stdout == b"hi\n"


def test_the_fixture_tells_of_leaks_and_bugs() -> None:
    system = jefeos.boot()
    system.kernel.memory.frames.alloc()
    system.kernel.bugs = 2
    assert finish(system) == ["1 frames of memory leaked", "2 handlers of the kernel failed; see the log"]
    assert system.kernel.closed
    assert finish(jefeos.boot()) == []
