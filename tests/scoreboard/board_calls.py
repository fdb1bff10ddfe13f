"""Linux's x86-64 calls: which are declared, which do something, which were seen to succeed beside the host.

==========  ========================================================================================
yes         implemented, and tested: it succeeded in a program whose outcome agreed with the host's
untested    implemented, and not seen to succeed in such a program
refused     declared, and its handler can only raise an error: a refusal on purpose
no          not declared: it answers ENOSYS
==========  ========================================================================================

That a handler can only raise is read from its source: it returns nowhere. What cannot be seen as a success is judged
by what Linux can answer: ``exit`` never ends, and ``pause`` ends with EINTR alone.
"""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

import jefeos
from jefeos.syscall.declare import SyscallDeclaration
from jefeos.syscall.table import SyscallTable

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "parity"))
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "plugins" / "abi" / "linux" / "tests"))
import oracle_programs
from commands import COMMANDS
from comparing import NO, YES, Evidence, Verdict, board, row
from programs_build import build
from sides import NEEDED, Sides

TITLE: Final = "Linux x86-64 calls that succeeded in a program that agreed with the host"
UNTESTED, REFUSED = "untested", "refused"
NEVER_ENDS: Final = ("exit", "exit_group")
ONLY_ERRORS: Final = ("pause", "rt_sigsuspend")
"""Calls for which Linux has no other answer than an error: made in a run that agreed, they are tested."""
NAMED_RUNS: Final = 5
"""How many of the runs that prove a call are named."""


def calls_board(
    evidence: Evidence,
    progress: Callable[[str], None],
    programs: Collection[str] = oracle_programs.PROGRAM_NAMES,
    commands: Collection[str] = tuple(COMMANDS),
) -> dict[str, Any]:
    """Run the programs that compare calls, then judge each number by all the evidence that there is."""
    _run_oracle_programs(evidence, progress, programs)
    _run_commands(evidence, progress, commands)
    progress("calls")
    with jefeos.boot() as system:
        (table,) = (one.table for one in system.kernel.personalities if one.name == "linux")
        rows = [_judge(number, name, table, evidence) for name, number in _numbers(table)]
    declared = [one for one in rows if one["declared"]]
    figures = {
        "numbers": len(rows),
        "declared": len(declared),
        "implemented": sum(one["implemented"] for one in rows),
        "refused": sum(one["state"] == REFUSED for one in rows),
        "tested": sum(one["state"] == YES for one in rows),
        "refusals_seen": sum(one["state"] == REFUSED and bool(one["runs"]) for one in rows),
        "runs_compared": evidence.runs,
        "runs_agreed": evidence.agreed,
    }
    return board(TITLE, rows, figures=figures, disagreed=evidence.disagreed)


def _numbers(table: SyscallTable) -> list[tuple[str, int]]:
    return sorted(table.numbers.items(), key=lambda item: item[1])


def _judge(number: int, name: str, table: SyscallTable, evidence: Evidence) -> dict[str, Any]:
    declaration = table.declared.get(number)
    implemented = declaration is not None and can_succeed(declaration)
    seen = evidence.made if not implemented or name in (*NEVER_ENDS, *ONLY_ERRORS) else evidence.succeeded
    runs = seen.get(name, []) if declaration is not None else []
    if declaration is None:
        verdict = Verdict(NO, "answers ENOSYS")
    elif not implemented:
        verdict = Verdict(REFUSED, "" if runs else "in no program that agreed")
    else:
        verdict = Verdict(YES) if runs else Verdict(UNTESTED)
    family = declaration.handler.__module__.rpartition("calls_")[2] if declaration is not None else ""
    more = {"number": number, "declared": declaration is not None, "implemented": implemented}
    return row(name, family, str(number), verdict, **more, runs=runs[:NAMED_RUNS], run_count=len(runs))


def can_succeed(declaration: SyscallDeclaration) -> bool:
    """Whether the handler returns anywhere; else all it can do is raise."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(declaration.handler))).body
    return any(isinstance(node, ast.Return) for node in _own_nodes(function))


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside of it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _run_oracle_programs(evidence: Evidence, progress: Callable[[str], None], names: Collection[str]) -> None:
    compiler = shutil.which("gcc")
    if compiler is None or os.geteuid() != 0:
        return
    for number, name in enumerate(names, 1):
        progress(f"calls {number}/{len(names)} {name}.c")
        with tempfile.TemporaryDirectory(prefix="jefeos-calls-") as folder, jefeos.boot(stats=True) as system:
            empty = Path(folder, "empty")
            empty.mkdir()
            program = oracle_programs.compile_program(name, compiler, Path(folder))
            evidence.compare(
                f"{name}.c",
                system,
                lambda program=program, empty=empty: oracle_programs.on_the_host(program, empty),
                lambda program=program, system=system: oracle_programs.on_jefeos(program, system),
            )


def _run_commands(evidence: Evidence, progress: Callable[[str], None], names: Collection[str]) -> None:
    if os.geteuid() != 0 or not names or any(shutil.which(tool) is None for tool in NEEDED):
        return
    with tempfile.TemporaryDirectory(prefix="jefeos-commands-") as folder:
        compiled = Path(folder, "programs")
        compiled.mkdir()
        sides = Sides(Path(folder), lambda name: build(name, compiled), stats=True)
        with sides.system:
            for number, name in enumerate(names, 1):
                progress(f"calls {number}/{len(names)} {name}")
                words = sides.words(name)
                evidence.compare(
                    name,
                    sides.system,
                    lambda words=words: sides.on_the_host(words),
                    lambda words=words: sides.on_jefeos(words),
                )
