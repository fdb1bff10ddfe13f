"""After a storm of forks, execs, mappings and kills every frame, process id and descriptor is back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from jefeos.api import System

pytestmark = pytest.mark.peer

STORM = r"""
for i in {1..15}; do
    (sleep 100 & kill -9 $!; ls /usr/bin > /dev/null; : | cat | cat) &
done
wait
python3 - <<'END'
import mmap, os, signal, threading
area = mmap.mmap(-1, 1 << 20)
area[:] = b"x" * (1 << 20)
children = []
for number in range(12):
    child = os.fork()
    if child == 0:
        area[number] = number
        private = bytearray(200000)
        threading.Thread(target=lambda: signal.pause(), daemon=True).start()
        if number % 3 == 0:
            os.execv("/bin/true", ["true"])
        if number % 3 == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
with open("/tmp/storm", "w+b") as file:
    file.truncate(1 << 20)
    mapped = mmap.mmap(file.fileno(), 0)
    mapped[::4096] = b"y" * 256
    mapped.close()
os.unlink("/tmp/storm")
END
echo done
"""


@pytest.mark.parametrize("scheduler", ["round-robin", "fair"])
def test_a_storm_leaves_nothing(jefeos_boot: Callable[..., System], scheduler: str) -> None:
    system = jefeos_boot(root="/", scheduler=scheduler)
    kernel = system.kernel
    at_boot = kernel.memory.free_frames()
    for _ in range(3):
        done = system.run(["/bin/bash", "-c", STORM], timeout=200)
        assert done.stdout == b"done\n", done.stderr
        assert kernel.memory.free_frames() == at_boot
        assert not kernel.processes.tasks
        assert list(kernel.processes) == [kernel.root_process]
