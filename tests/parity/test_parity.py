"""The host's Linux is the oracle: each command does there and on JefeOS the same, to the byte.

Compared are standard output, standard error, exit status and the files that are left (sides.py).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jefeos.testing.plugin import finish

sys.path.insert(0, str(Path(__file__).parent))
from commands import COMMANDS
from sides import NEEDED, Sides

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Iterator[Sides]:
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("the guest's user is root: run as root to compare owners and permissions")
    sides = Sides(tmp_path_factory.mktemp("sides"), program)
    yield sides
    problems = finish(sides.system)
    assert not problems, problems


@pytest.mark.parametrize("name", COMMANDS)
def test_same_as_the_host(sides: Sides, name: str) -> None:
    words = sides.words(name)
    host = sides.on_the_host(words)
    ours = sides.on_jefeos(words)
    assert (ours.stdout, ours.stderr, ours.status) == (host.stdout, host.stderr, host.status)
    assert ours.files == host.files


def test_the_table_is_long_enough() -> None:
    assert len(COMMANDS) >= 60
