"""Pytest fixtures for systems under test, registered through the entry-point group ``pytest11``.

    def test_echo(jefeos_boot):
        os = jefeos_boot(root="rootfs.tar.gz", ram="64M")
        assert os.run(["/bin/echo", "hi"]).stdout == b"hi\\n"

``jefeos_boot(**options)`` boots with the options of `jefeos.boot`, as often as a test likes; ``jefeos_system`` is one
system with the built-in root. When the test is over each system is shut down, and the test fails if

* frames are missing: with every process ended and everything unmounted, all memory must be free that was at boot;
* a thread, a waiter on a futex, or bytes in pipes and sockets are left with every process ended
  (`jefeos.testing.accounting` finds more, in a system that goes on);
* a handler of the kernel failed with an exception that it should not have (``kernel.bugs``).

This module is imported by every pytest run on a machine with jefeos-core, so it imports nothing of the kernel itself.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jefeos.api import System

pytest.register_assert_rewrite(
    *(
        f"jefeos.testing.{name}"
        for name in ("crash", "filesystems", "model_machine", "posix", "sharing", "stacks", "suites", "volume_suite")
    )
)


def pytest_configure(config: pytest.Config) -> None:
    """The suites for plugins mark what takes many seconds: leave it out with ``-m 'not long'``."""
    config.addinivalue_line("markers", "long: takes many seconds")


@pytest.fixture
def jefeos_boot() -> Iterator[Callable[..., System]]:
    """``jefeos_boot(**options) -> System``; see the module."""
    systems: list[System] = []

    def boot(**options: Any) -> System:
        import jefeos

        system = jefeos.boot(**options)
        systems.append(system)
        return system

    yield boot
    problems = [problem for system in reversed(systems) for problem in finish(system)]
    assert not problems, "; ".join(problems)


@pytest.fixture
def jefeos_system(jefeos_boot: Callable[..., System]) -> System:
    """A system with the built-in root."""
    return jefeos_boot()


def finish(system: System) -> list[str]:
    """Shut a system down; what is wrong with what it leaves, in words."""
    kernel = system.kernel
    system.shutdown()
    problems = []
    missing = kernel.memory_at_boot - kernel.memory.free_frames()
    if missing > 0:
        problems.append(f"{missing} frames of memory leaked")
    left = {
        "threads": len(kernel.processes.tasks),
        "waiters on futexes": len(kernel.futexes),
        "bytes in pipes and sockets": kernel.vfs.buffers.used_bytes,
    }
    if left["bytes in pipes and sockets"]:  # pipes that only a cycle of the host's objects keeps are no leak
        gc.collect()
        left["bytes in pipes and sockets"] = kernel.vfs.buffers.used_bytes
    problems += [f"{count} {what} left" for what, count in left.items() if count > 0]
    if kernel.bugs:
        problems.append(f"{kernel.bugs} handlers of the kernel failed; see the log")
    return problems
