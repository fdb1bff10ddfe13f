"""Processes: ids, status words, waiting, orphans and their reaper; mostly with applets for programs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from jefeos.api import Completed, System
from jefeos.errors import Errno, KernelError
from jefeos.proc.credentials import RLimit
from jefeos.proc.process import ProcessState, ProcessTable, code_and_status
from jefeos.proc.signals import Signal, SignalCode
from jefeos.testing.programs import MOV_EAX, MOV_EDI, SPINS, SYS_EXIT, SYSCALL, call, elf, exits

RunApplet = Callable[..., Completed]
FORK, VFORK = 57, 58


# --- ids ----------------------------------------------------------------------------------------------------------


def test_ids_ascend_and_wrap_to_2(kernel: Any) -> None:
    table = kernel.processes = ProcessTable(pid_max=10)
    for pid in (1, 4):
        kernel.spawn(pid)
    assert [table.allocate_id() for _ in range(6)] == [2, 3, 5, 6, 7, 8]
    assert [table.allocate_id() for _ in range(3)] == [9, 2, 3]


def test_a_wrap_passes_over_threads_groups_and_sessions(kernel: Any) -> None:
    """Even if few processes were made: thread ids come from the same numbers."""
    table = kernel.processes = ProcessTable(pid_max=10)
    kernel.spawn(2, pgid=5, sid=6)
    table.tasks[7] = kernel.spawn(3).tasks[0]
    while table.allocate_id() != 9:
        pass
    assert [table.allocate_id() for _ in range(3)] == [4, 8, 9]


def test_no_id_is_free(kernel: Any) -> None:
    table = kernel.processes = ProcessTable(pid_max=4)
    for pid in (1, 2, 3):
        kernel.spawn(pid)
    with pytest.raises(KernelError) as error:
        table.allocate_id()
    assert error.value.errno == Errno.EAGAIN


def test_a_zombie_keeps_its_id(run_applet: RunApplet) -> None:
    async def body(proc: Any, argv: list[bytes]) -> int:
        pid = proc.spawn_applet(nothing, [b"x"])
        while proc.kernel.processes.get(pid).state is not ProcessState.ZOMBIE:
            await proc.sleep(0.001)
        await proc.wait(pid)
        assert pid not in proc.kernel.processes.processes
        return 0

    assert run_applet(body).status == 0


async def nothing(proc: Any, argv: list[bytes]) -> int:
    return 0


# --- status words -------------------------------------------------------------------------------------------------


def test_status_words(kernel: Any) -> None:
    process = kernel.spawn(5)
    process.exit_code = 3
    assert (process.wait_status(), process.shell_status) == (0x300, 3)
    assert code_and_status(process) == (SignalCode.CLD_EXITED, 3)
    process.set_killed(Signal.SIGTERM)
    assert (process.wait_status(), process.shell_status) == (15, 143)
    assert code_and_status(process) == (SignalCode.CLD_KILLED, 15)
    process.rlimits[RLimit.CORE] = (1, 1)
    process.set_killed(Signal.SIGSEGV)
    assert process.wait_status() == 11 | 0x80
    assert code_and_status(process) == (SignalCode.CLD_DUMPED, 11)
    process.dumpable = False
    process.set_killed(Signal.SIGSEGV)
    assert process.wait_status() == 11


# --- waiting ------------------------------------------------------------------------------------------------------


def test_waiting_by_pid_group_and_any(run_applet: RunApplet) -> None:
    async def leaves(proc: Any, argv: list[bytes]) -> int:
        await proc.sleep(float(argv[1]))
        return int(argv[2])

    async def body(proc: Any, argv: list[bytes]) -> int:
        slow = proc.spawn_applet(leaves, [b"slow", b"0.05", b"1"])
        grouped = proc.spawn_applet(leaves, [b"grouped", b"0.01", b"2"], pgid=0)
        quick = proc.spawn_applet(leaves, [b"quick", b"0", b"3"])
        assert await proc.wait(slow, no_hang=True) is None
        assert (await proc.wait(slow)).status == 1
        assert (await proc.wait(0)).pid == quick
        assert (await proc.wait(-grouped)).status_word == 0x200
        for pid in (-1, slow, -grouped, 0):
            with pytest.raises(KernelError) as error:
                await proc.wait(pid)
            assert error.value.errno == Errno.ECHILD
        return 0

    assert run_applet(body, virtual_time=True).status == 0


def test_stop_and_continue_are_reported_once(run_applet: RunApplet) -> None:
    async def body(proc: Any, argv: list[bytes]) -> int:
        async def sleeps(child: Any, argv: list[bytes]) -> int:
            await child.sleep(1000)
            return 0

        pid = proc.spawn_applet(sleeps, [b"x"])
        wait = proc.kernel.lifecycle.wait
        proc.kill(pid, Signal.SIGSTOP)
        assert await proc.wait(pid, no_hang=True) is None  # not asked for
        assert (await proc.wait(pid, stopped=True)).status_word == Signal.SIGSTOP << 8 | 0x7F
        assert await proc.wait(pid, stopped=True, no_hang=True) is None
        proc.kill(pid, Signal.SIGCONT)
        assert wait(proc.task, pid=pid, continued=True, keep=True).status_word == 0xFFFF
        assert wait(proc.task, pid=pid, continued=True).status_word == 0xFFFF
        assert wait(proc.task, pid=pid, continued=True, no_hang=True) is None
        proc.kill(pid, Signal.SIGKILL)
        assert (await proc.wait(pid)).status_word == Signal.SIGKILL
        return 0

    assert run_applet(body).status == 0


def test_a_stopped_program_does_nothing_until_continued(run_applet: RunApplet) -> None:
    async def body(proc: Any, argv: list[bytes]) -> int:
        pid = proc.spawn(b"/bin/spins", [b"spins"])
        child = proc.kernel.processes.get(pid)
        await proc.sleep(0.005)
        proc.kill(pid, Signal.SIGSTOP)
        await proc.sleep(0.001)
        used_ns = child.usage.time_ns
        await proc.sleep(0.02)
        assert child.usage.time_ns == used_ns > 0
        proc.kill(pid, Signal.SIGCONT)
        await proc.sleep(0.02)
        assert child.usage.time_ns > used_ns
        proc.kill(pid, Signal.SIGSTOP)
        proc.kill(pid, Signal.SIGKILL)  # a stopped process dies at once
        assert (await proc.wait(pid)).status == Signal.SIGKILL
        return 0

    system_options = {"virtual_time": True}
    assert run_with_file(run_applet, body, "/bin/spins", SPINS, **system_options).status == 0


def run_with_file(run_applet: RunApplet, body: Any, path: str, image: bytes, **options: Any) -> Completed:
    """`run_applet` in a system that holds a program."""

    async def first(proc: Any, argv: list[bytes]) -> int:
        fd = await proc.create(path.encode())
        await proc.write(fd, image)
        proc.close(fd)
        proc.chmod(path.encode(), 0o755)
        return int(await body(proc, argv))

    return run_applet(first, **options)


# --- orphans ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subreaper", [False, True])
def test_orphans_go_to_the_subreaper_or_to_the_first_process(run_applet: RunApplet, subreaper: bool) -> None:
    async def grandchild(proc: Any, argv: list[bytes]) -> int:
        await proc.sleep(0.02)
        return 7

    async def child(proc: Any, argv: list[bytes]) -> int:
        await proc.write(1, b"%d" % proc.spawn_applet(grandchild, [b"grandchild"]))
        return 0

    async def body(proc: Any, argv: list[bytes]) -> int:
        proc.process.is_subreaper = subreaper
        reading, writing = proc.pipe()
        pid = proc.spawn_applet(child, [b"child"], files={1: writing})
        proc.close(writing)
        await proc.wait(pid)
        orphan = proc.kernel.processes.get(int(await proc.read(reading)))
        heir = proc.process if subreaper else proc.kernel.root_process
        assert orphan.parent is heir
        assert orphan in heir.children
        if subreaper:
            assert (await proc.wait()).status == 7
        else:
            await orphan.exit_queue.wait()
        assert orphan.state is ProcessState.REAPED
        return 0

    assert run_applet(body, virtual_time=True).status == 0


def test_children_are_reaped_for_a_parent_that_ignores_sigchld(run_applet: RunApplet) -> None:
    async def body(proc: Any, argv: list[bytes]) -> int:
        proc.ignore(Signal.SIGCHLD)
        pids = [proc.spawn_applet(nothing, [b"x"]) for _ in range(3)]
        with pytest.raises(KernelError) as error:  # waits for the last one, then has none
            await proc.wait()
        assert error.value.errno == Errno.ECHILD
        assert not set(pids) & set(proc.kernel.processes.processes)
        return 0

    assert run_applet(body).status == 0


def test_the_death_signal_of_the_parent(run_applet: RunApplet) -> None:
    async def follower(proc: Any, argv: list[bytes]) -> int:
        proc.process.parent_death_signal = Signal.SIGUSR2
        await proc.sleep(1000)
        return 0

    async def parent(proc: Any, argv: list[bytes]) -> int:
        await proc.write(1, b"%d" % proc.spawn_applet(follower, [b"follower"]))
        await proc.sleep(0.01)
        return 0

    async def body(proc: Any, argv: list[bytes]) -> int:
        proc.process.is_subreaper = True
        reading, writing = proc.pipe()
        parent_pid = proc.spawn_applet(parent, [b"parent"], files={1: writing})
        follower_pid = int(await proc.read(reading))
        await proc.wait(parent_pid)
        assert (await proc.wait(follower_pid)).status == Signal.SIGUSR2
        return 0

    assert run_applet(body, virtual_time=True).status == 0


# --- fork and vfork -----------------------------------------------------------------------------------------------


def letters(number: int, loops: int) -> bytes:
    """Fork or vfork; the child computes and writes ``c``, the parent writes ``p`` and waits."""
    child_wait = b"\xb9" + struct.pack("<I", loops) + b"\xff\xc9\x75\xfc"  # mov ecx, loops; dec ecx; jnz -4
    exit_0 = MOV_EDI + bytes(4) + call(SYS_EXIT)
    child = child_wait + write_letter(b"c") + exit_0
    wait = b"\x31\xd2\x31\xf6\x45\x31\xd2\x83\xcf\xff" + call(61)  # wait4(-1, 0, 0, 0)
    parent = write_letter(b"p") + wait + exit_0
    branch = b"\x85\xc0\x0f\x84" + struct.pack("<i", len(parent))  # test eax, eax; jz child
    return elf(call(number) + branch + parent + child)


def write_letter(letter: bytes) -> bytes:
    """write(1, a letter pushed on the stack, 1)."""
    push = b"\x6a" + letter + b"\x48\x89\xe6"  # push imm8; mov rsi, rsp
    arguments = MOV_EDI + struct.pack("<I", 1) + b"\xba" + struct.pack("<I", 1)
    return push + arguments + MOV_EAX + struct.pack("<I", 1) + SYSCALL + b"\x58"  # pop rax


@pytest.mark.parametrize(("number", "expected"), [(FORK, b"pc"), (VFORK, b"cp")])
def test_a_vfork_parent_waits_for_its_child(jefeos_boot: Callable[..., System], number: int, expected: bytes) -> None:
    system = jefeos_boot(virtual_time=True)
    system.write_file("/bin/letters", letters(number, 3_000_000), 0o755)
    done = system.run(["/bin/letters"], timeout=100)
    assert (done.stdout, done.status) == (expected, 0)


def test_a_vfork_parent_can_be_killed(run_applet: RunApplet) -> None:
    async def body(proc: Any, argv: list[bytes]) -> int:
        pid = proc.spawn(b"/bin/letters", [b"letters"], pgid=0)
        await proc.sleep(0.005)
        proc.kill(pid, Signal.SIGTERM)  # no handler: fatal too, but only once the child has let go
        await proc.sleep(0.005)
        assert await proc.wait(pid, no_hang=True) is None
        proc.kill(pid, Signal.SIGKILL)
        assert (await proc.wait(pid)).status == Signal.SIGKILL
        proc.kill(-pid, Signal.SIGKILL)
        return 0

    image = letters(VFORK, 0xFFFFFFFF)
    assert run_with_file(run_applet, body, "/bin/letters", image, virtual_time=True).status == 0


# --- threads ------------------------------------------------------------------------------------------------------

THREADED_EXEC = """
import os, threading, time, sys
def other(): time.sleep(1000)
for _ in range(3): threading.Thread(target=other, daemon=True).start()
print(os.getpid(), flush=True)
threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", "echo $$; ls /proc/$$/task; exit 6"])).start()
time.sleep(1000)
"""
LEADER_LEAVES_FIRST = """
import ctypes, os, threading, time
def last():
    time.sleep(0.05)
    ctypes.CDLL(None).syscall(60, 5)   # exit(2) of this thread alone
threading.Thread(target=last).start()
ctypes.CDLL(None).syscall(60, 3)
"""


@pytest.mark.peer
def test_a_thread_that_executes_takes_the_process_over(
    jefeos_boot: Callable[..., System], host_program: Callable[[str], str]
) -> None:
    python = host_program("python3")
    system = jefeos_boot(root="/")
    done = system.run([python, "-c", THREADED_EXEC], timeout=60)
    first, second, *tasks = done.stdout.split()
    assert first == second
    assert tasks == [first]
    assert done.status == 6
    assert not system.kernel.processes.tasks


@pytest.mark.peer
def test_the_first_threads_exit_code_is_the_processs(
    jefeos_boot: Callable[..., System], host_program: Callable[[str], str]
) -> None:
    assert jefeos_boot(root="/").run([host_program("python3"), "-c", LEADER_LEAVES_FIRST], timeout=60).status == 3


def test_the_limit_of_processes(run_applet: RunApplet) -> None:
    async def body(proc: Any, argv: list[bytes]) -> int:
        started = 0
        with pytest.raises(KernelError) as error:
            while True:
                proc.spawn_applet(sleeps_long, [b"x"])
                started += 1
        assert error.value.errno == Errno.EAGAIN
        await proc.write(1, b"%d" % started)
        proc.ignore(Signal.SIGTERM)
        proc.kill(0, Signal.SIGTERM)
        return 0

    async def sleeps_long(proc: Any, argv: list[bytes]) -> int:
        await proc.sleep(1000)
        return 0

    assert run_applet(body, max_processes=20).stdout == b"19"


def test_a_failed_start_leaves_no_process(jefeos_system: System) -> None:
    kernel = jefeos_system.kernel
    jefeos_system.write_file("/bin/text", b"no program", 0o755)
    for path, errno in (("/bin/none", Errno.ENOENT), ("/bin/text", Errno.ENOEXEC), ("/bin", Errno.EACCES)):
        with pytest.raises(KernelError) as error:
            jefeos_system.run([path])
        assert error.value.errno == errno
    assert list(kernel.processes) == [kernel.root_process]
    assert kernel.root_process.children == []
    assert not kernel.processes.tasks
    jefeos_system.write_file("/bin/fine", exits(4), 0o755)
    assert jefeos_system.run(["/bin/fine"]).status == 4
