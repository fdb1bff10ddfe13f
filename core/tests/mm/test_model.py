"""Random operations on several address spaces against a model of dictionaries, with a page walker as the oracle.

The model and its operations are in memory_model.py; Hypothesis and seeded random walks drive them here.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parent))

from memory_model import FILE_PAGES, OFFSETS, PAGE, REGION_PAGES, Machine, R, W, X


def effort(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


Machine.TestCase.settings = effort(60, 40)
TestModel = Machine.TestCase


def random_step(rng):
    """A rule and its arguments, chosen so that most steps do something (Hypothesis spreads its choices evenly)."""
    number, page, count = rng.randrange(8), rng.randrange(REGION_PAGES), rng.randint(1, 6)
    prot = rng.choice([0, R, R | W, R | W, R | W, R | W, R | X, R | X, R | W | X, R | W | X, W, X])
    offset, value = rng.choice(OFFSETS), rng.randint(1, 255)
    common = {"number": number, "page": page, "count": count}
    touch = {"number": number, "offset": offset, "value": value}
    choices = [
        (8, "map", {**common, "prot": prot, "fixed": rng.random() < 0.7, "shared": rng.random() < 0.4,
                    "backing": rng.randrange(5), "offset": rng.randrange(FILE_PAGES)}),
        (3, "unmap", common),
        (8, "protect", {**common, "prot": prot}),
        (6, "remap", {"number": number, "page": page, "old": rng.randint(1, 3), "new": rng.randint(1, 4),
                      "move": rng.random() < 0.5, "fixed": rng.choice([None, rng.randrange(REGION_PAGES)])}),
        (3, "dont_need", common),
        (3, "brk", {"number": number, "size": rng.randint(-PAGE, 4 * PAGE)}),
        (3, "fork", {"number": number}),
        (2, "exit", {"number": number}),
        (2, "switch", {"number": number}),
        (45, "touch_mapped", {**touch, "pick": rng.randrange(1000), "need": rng.choice([0, 2, 2, 2, 16])}),
        (2, "touch", {**touch, "page": rng.randrange(REGION_PAGES + 3), "need": rng.choice([0, 2, 16])}),
        (4, "kernel_write", {**common, "count": rng.randint(1, 3), "value": value}),
        (4, "kernel_read", {**common, "count": rng.randint(1, 3)}),
        (3, "file_write", {"file": rng.randrange(2), "index": rng.randrange(FILE_PAGES + 2), "value": value}),
        (1, "file_truncate", {"file": rng.randrange(2), "pages": rng.randint(2, FILE_PAGES)}),
        (2, "cache", {"action": rng.choice(["writeback", "reclaim", "drop", "invalidate"])}),
    ]  # fmt: skip
    _, name, arguments = rng.choices(choices, [weight for weight, _, _ in choices])[0]
    return name, arguments


def walk_at_random(seed, steps):
    rng = random.Random(seed)
    machine = Machine()
    machine.begin()
    done = []
    try:
        for _ in range(steps):
            name, arguments = random_step(rng)
            if (name == "fork" and len(machine.models) > 3) or (name == "exit" and len(machine.models) < 2):
                continue
            done.append((name, arguments))
            getattr(machine, name)(**arguments)
            machine.everything_agrees()
        machine.teardown()
    except BaseException:
        print("\n".join(map(str, done[-12:])))
        raise


@pytest.mark.parametrize("seed", range(25))
def test_random_walk(seed):
    walk_at_random(seed, 250)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_random_walks_for_long():
    for seed in range(1000, 1600):
        walk_at_random(seed, 400)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_model_for_long():
    run_state_machine_as_test(Machine, settings=effort(1000, 80))
