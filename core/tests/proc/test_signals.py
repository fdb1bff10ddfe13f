"""Signals without a processor: what becomes pending, in which order it is taken, who is told (signal(7))."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jefeos.proc.credentials import RLimit
from jefeos.proc.process import ProcessState
from jefeos.proc.signals import (
    FIRST_REALTIME,
    SIG_DFL,
    SIG_IGN,
    STOP_MASK,
    SYNCHRONOUS,
    Default,
    PendingSignals,
    Signal,
    SignalAction,
    SignalInfo,
    bit,
    default_action,
    signal_name,
)
from jefeos.proc.task import TaskState, Work
from jefeos.sched.wait import Interrupted, Park, WaitQueue

HANDLER = 0x1000
RT = FIRST_REALTIME


def catch(process: Any, *signals: int, flags: int = 0) -> None:
    for signo in signals:
        process.handlers.actions[signo] = SignalAction(HANDLER, flags)


def take_all(kernel: Any, task: Any) -> list[int]:
    taken = []
    while (found := kernel.signals.next(task)) is not None:
        taken.append(found[0].signo)
    return taken


# --- pending sets -------------------------------------------------------------------------------------------------


def test_a_standard_signal_is_pending_once() -> None:
    pending = PendingSignals()
    assert pending.add(SignalInfo(Signal.SIGUSR1, value=1))
    assert pending.add(SignalInfo(Signal.SIGUSR1, value=2))
    taken = pending.take(-1)
    assert taken is not None and taken.value == 1
    assert pending.take(-1) is None


def test_realtime_signals_queue_in_order_up_to_the_limit() -> None:
    pending = PendingSignals()
    for value in range(5):
        assert pending.add(SignalInfo(RT + 1, value=value), limit=5)
    assert not pending.add(SignalInfo(RT + 1, value=99), limit=5)
    assert [pending.take(-1).value for _ in range(5)] == [0, 1, 2, 3, 4]  # type: ignore[union-attr]
    assert (pending.mask, pending.queue) == (0, [])


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 1 << 64)), max_size=40), st.integers(0, (1 << 64) - 1))
def test_pending_against_a_model(sent: list[tuple[int, int]], blocked: int) -> None:
    """Synchronous first, then by number; one of each standard signal; real-time ones all, first in first out."""
    pending = PendingSignals()
    model: dict[int, list[int]] = {}
    for serial, (signo, _) in enumerate(sent):
        pending.add(SignalInfo(signo, value=serial))
        if signo >= FIRST_REALTIME or not model.get(signo):
            model.setdefault(signo, []).append(serial)
    expected = [
        (signo, serial)
        for signo in sorted(model, key=lambda signo: (not SYNCHRONOUS & bit(signo), signo))
        if not blocked & bit(signo)
        for serial in model[signo]
    ]
    taken = []
    while (info := pending.take(~blocked)) is not None:
        taken.append((info.signo, info.value))
    assert taken == expected
    assert pending.mask == sum(bit(signo) for signo in model if blocked & bit(signo))


def test_discarding() -> None:
    pending = PendingSignals()
    for signo in (Signal.SIGTSTP, Signal.SIGUSR1, Signal.SIGTTIN, RT):
        pending.add(SignalInfo(signo))
    pending.discard(STOP_MASK)
    assert [info.signo for info in pending.queue] == [Signal.SIGUSR1, RT]
    assert pending.mask == bit(Signal.SIGUSR1) | bit(RT)


@pytest.mark.parametrize(
    ("signo", "expected"),
    [
        (Signal.SIGCHLD, Default.IGNORE),
        (Signal.SIGWINCH, Default.IGNORE),
        (Signal.SIGCONT, Default.CONTINUE),
        (Signal.SIGTTOU, Default.STOP),
        (Signal.SIGABRT, Default.CORE),
        (Signal.SIGPIPE, Default.TERMINATE),
        (64, Default.TERMINATE),
    ],
)
def test_default_actions(signo: int, expected: Default) -> None:
    assert default_action(signo) is expected


def test_names() -> None:
    assert [signal_name(number) for number in (9, 34, 64, 65)] == ["SIGKILL", "SIGRT_2", "SIGRT_32", "signal 65"]


# --- sending ------------------------------------------------------------------------------------------------------


def test_ignored_signals_are_dropped_unless_blocked(kernel: Any) -> None:
    process = kernel.spawn(5)
    process.handlers.actions[Signal.SIGUSR1] = SignalAction(SIG_IGN)
    kernel.signals.send_process(process, Signal.SIGUSR1)
    kernel.signals.send_process(process, Signal.SIGCHLD)  # ignored by default
    assert process.pending.mask == 0
    process.tasks[0].blocked = bit(Signal.SIGUSR1)
    kernel.signals.send_process(process, Signal.SIGUSR1)
    assert process.pending.mask == bit(Signal.SIGUSR1)
    assert not process.tasks[0].work


def test_a_signal_wakes_an_interruptible_wait(kernel: Any) -> None:
    process = kernel.spawn(5)
    task, queue = process.tasks[0], WaitQueue()
    catch(process, Signal.SIGUSR1)
    task.park(Park((queue,)))
    kernel.signals.send_process(process, Signal.SIGUSR1)
    assert isinstance(task.resume_error, Interrupted)
    assert task.state is TaskState.RUNNABLE
    assert not queue


def test_an_uninterruptible_wait_yields_only_to_sigkill(kernel: Any) -> None:
    process = kernel.spawn(5)
    task, queue = process.tasks[0], WaitQueue()
    catch(process, Signal.SIGUSR1)
    task.park(Park((queue,), None, False))
    kernel.signals.send_process(process, Signal.SIGUSR1)
    assert task.state is TaskState.PARKED
    kernel.signals.send_process(process, Signal.SIGKILL)
    assert task.state is TaskState.RUNNABLE
    assert not queue


def test_a_thread_that_does_not_block_it_is_told(kernel: Any) -> None:
    process = kernel.spawn(5, threads=3)
    catch(process, Signal.SIGUSR1)
    process.tasks[0].blocked = process.tasks[2].blocked = bit(Signal.SIGUSR1)
    kernel.signals.send_process(process, Signal.SIGUSR1)
    assert [bool(task.work & Work.SIGNAL) for task in process.tasks] == [False, True, False]
    kernel.signals.send_task(process.tasks[0], Signal.SIGUSR1)
    assert process.tasks[0].pending.mask == bit(Signal.SIGUSR1)
    assert not process.tasks[0].work
    process.tasks[0].set_blocked(0)
    assert process.tasks[0].work & Work.SIGNAL


def test_the_running_thread_is_preferred(kernel: Any) -> None:
    process = kernel.spawn(5, threads=2)
    catch(process, Signal.SIGUSR1)
    kernel.executor.current = process.tasks[1]
    kernel.signals.send_process(process, Signal.SIGUSR1)
    assert [bool(task.work) for task in process.tasks] == [False, True]


def test_the_realtime_queue_is_limited_by_rlimit(kernel: Any) -> None:
    process = kernel.spawn(5)
    process.rlimits[RLimit.SIGPENDING] = (3, 3)
    process.tasks[0].blocked = bit(RT) | bit(Signal.SIGUSR1)
    assert [kernel.signals.send_process(process, RT) for _ in range(4)] == [True, True, True, False]
    assert kernel.signals.send_process(process, Signal.SIGUSR1)  # standard ones always go


def test_kill_and_stop_cannot_be_blocked(kernel: Any) -> None:
    task = kernel.spawn(5).tasks[0]
    task.set_blocked(-1)
    assert not task.blocked & (bit(Signal.SIGKILL) | bit(Signal.SIGSTOP))
    assert task.blocked & bit(Signal.SIGTERM)


def test_a_fault_cannot_be_blocked_or_ignored(kernel: Any) -> None:
    process = kernel.spawn(5)
    task = process.tasks[0]
    process.handlers.actions[Signal.SIGSEGV] = SignalAction(SIG_IGN)
    task.blocked = bit(Signal.SIGSEGV)
    kernel.signals.force(task, SignalInfo(Signal.SIGSEGV, address=0x42))
    info, action = kernel.signals.next(task)
    assert (info.address, action.handler) == (0x42, SIG_DFL)


def test_taking_order_thread_before_process(kernel: Any) -> None:
    process = kernel.spawn(5)
    task = process.tasks[0]
    catch(process, Signal.SIGUSR1, Signal.SIGUSR2, Signal.SIGSEGV, Signal.SIGHUP, RT)
    for signo in (RT, Signal.SIGUSR2, Signal.SIGHUP):
        kernel.signals.send_process(process, signo)
    kernel.signals.send_task(task, Signal.SIGUSR1)
    kernel.signals.force(task, SignalInfo(Signal.SIGSEGV))
    expected = [Signal.SIGSEGV, Signal.SIGUSR1, Signal.SIGHUP, Signal.SIGUSR2, RT]
    assert take_all(kernel, task) == expected


# --- stop and continue --------------------------------------------------------------------------------------------


@pytest.fixture
def family(kernel: Any) -> tuple[Any, Any]:
    """A shell and its job: a group that is not orphaned."""
    shell = kernel.spawn(2)
    return shell, kernel.spawn(5, parent=shell, threads=2)


def test_stop_and_continue_and_what_the_parent_hears(kernel: Any, family: tuple[Any, Any]) -> None:
    shell, job = family
    catch(shell, Signal.SIGCHLD)
    job.tasks[0].state = TaskState.RUNNABLE
    kernel.signals.send_process(job, Signal.SIGTSTP)
    assert (job.state, job.wait_status()) == (ProcessState.STOPPED, Signal.SIGTSTP << 8 | 0x7F)
    assert [task.state for task in job.tasks] == [TaskState.HELD, TaskState.PARKED]
    told = shell.pending.take(-1)
    assert (told.pid, told.status) == (5, Signal.SIGTSTP)
    kernel.signals.send_process(job, Signal.SIGCONT)
    assert (job.state, job.continued) == (ProcessState.ALIVE, True)
    assert kernel.executor.woken[-1] is job.tasks[0]
    assert shell.pending.take(-1).status == Signal.SIGCONT


def test_a_stop_discards_a_pending_continue_and_the_other_way_round(kernel: Any, family: tuple[Any, Any]) -> None:
    _, job = family
    catch(job, Signal.SIGTSTP, Signal.SIGCONT)
    for task in job.tasks:
        task.blocked = -1
    kernel.signals.send_process(job, Signal.SIGCONT)
    kernel.signals.send_task(job.tasks[1], Signal.SIGTSTP)
    assert (job.pending.mask, job.tasks[1].pending.mask) == (0, bit(Signal.SIGTSTP))
    kernel.signals.send_process(job, Signal.SIGCONT)
    assert (job.pending.mask, job.tasks[1].pending.mask) == (bit(Signal.SIGCONT), 0)


def test_a_caught_sigtstp_does_not_stop_but_sigstop_does(kernel: Any, family: tuple[Any, Any]) -> None:
    _, job = family
    catch(job, Signal.SIGTSTP)
    kernel.signals.send_process(job, Signal.SIGTSTP)
    assert job.state is ProcessState.ALIVE
    kernel.signals.send_process(job, Signal.SIGSTOP)
    assert job.state is ProcessState.STOPPED
    kernel.signals.send_process(job, Signal.SIGKILL)
    assert job.state is ProcessState.ALIVE  # it must run to die
    assert not job.continued


@pytest.mark.parametrize("blocked_first", [False, True])
def test_a_terminal_stop_does_nothing_to_an_orphaned_group(kernel: Any, blocked_first: bool) -> None:
    orphan = kernel.spawn(5, parent=kernel.spawn(2, sid=99))
    task = orphan.tasks[0]
    if blocked_first:
        task.blocked = bit(Signal.SIGTSTP)
    kernel.signals.send_process(orphan, Signal.SIGTSTP)
    task.set_blocked(0)
    assert take_all(kernel, task) == []
    assert orphan.state is ProcessState.ALIVE
    kernel.signals.send_process(orphan, Signal.SIGSTOP)
    assert orphan.state is ProcessState.STOPPED


def test_pid_1_has_no_default_actions(kernel: Any) -> None:
    init = kernel.spawn(1)
    for signo in (Signal.SIGTERM, Signal.SIGKILL, Signal.SIGSTOP, Signal.SIGTSTP):
        kernel.signals.send_process(init, signo)
    assert take_all(kernel, init.tasks[0]) == []
    assert init.state is ProcessState.ALIVE
    catch(init, Signal.SIGTERM)
    kernel.signals.send_process(init, Signal.SIGTERM)
    kernel.signals.force(init.tasks[0], SignalInfo(Signal.SIGSEGV))
    assert take_all(kernel, init.tasks[0]) == [Signal.SIGSEGV, Signal.SIGTERM]


# --- action tables ------------------------------------------------------------------------------------------------


def test_exec_resets_handlers_but_keeps_what_is_ignored(kernel: Any) -> None:
    handlers = kernel.spawn(5).handlers
    handlers.actions = {Signal.SIGUSR1: SignalAction(HANDLER), Signal.SIGHUP: SignalAction(SIG_IGN, mask=7)}
    copy = handlers.copy()
    handlers.reset_for_exec()
    assert handlers.actions == {Signal.SIGHUP: SignalAction(SIG_IGN)}
    assert copy.get(Signal.SIGUSR1).handler == HANDLER


def test_signal_0_and_the_dead_take_nothing(kernel: Any) -> None:
    process = kernel.spawn(5)
    catch(process, Signal.SIGUSR1)
    assert kernel.signals.send_process(process, 0)
    process.state = ProcessState.ZOMBIE
    assert kernel.signals.send_process(process, Signal.SIGUSR1)
    process.tasks[0].state = TaskState.DEAD
    assert kernel.signals.send_task(process.tasks[0], Signal.SIGUSR1)
    assert process.pending.mask == process.tasks[0].pending.mask == 0


def test_a_temporary_mask_is_kept_once(kernel: Any) -> None:
    task = kernel.spawn(5).tasks[0]
    task.blocked = 0b1
    task.set_temporary_mask(0b10)
    task.set_temporary_mask(0b100)
    assert (task.blocked, task.saved_mask) == (0b100, 0b1)
    assert task.work & Work.MASK
