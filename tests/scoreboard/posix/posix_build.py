"""Builds the probes: ``probes/*.c`` compiled for a C library, ``utilities/*.sh`` cut into one script a utility.

A C file is compiled as it is. Where that fails, because this C library lacks an interface, the blocks that the
compiler or linker complained of are blanked (line numbers stay) and it is compiled again, until it passes: what was
left out is what this C library has not. A complaint outside any block is a mistake in the file, and an error.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Set
from pathlib import Path

from attrs import define, field

HERE = Path(__file__).parent
TIMEOUT_S = 120
#: Command, then libraries: a probe of dlopen, of a locale or of the name service needs the dynamic glibc.
LIBRARIES = {
    "glibc": (["gcc"], ["-lm", "-lcrypt", "-lrt", "-ldl"]),
    "musl": (["musl-gcc"], ["-lm"]),
}
if Path("/usr/include/ndbm.h").exists():  # the C library leaves <ndbm.h> to others
    LIBRARIES["glibc"][1].append("-lgdbm_compat")
OPTIONS = ["-std=gnu17", "-O0", "-g1", "-fno-builtin", "-pthread", "-w", "-Werror=implicit-function-declaration"]
#: A probe, with the helpers on the lines right before it.
BLOCK = re.compile(r"^(?:static [^\n]*\n)*[A-Z][A-Z0-9_]*\((\w+)", re.MULTILINE)
COMPLAINT = re.compile(r"^[^:\n]+?\.c:(\d+):(?:\d+:)? (?:fatal )?(?:error|undefined|warning: the use)", re.MULTILINE)
LINKER = re.compile(r"in function `probe_(\w+)'")


class BuildError(Exception):
    """A probe file that no leaving out makes compile."""


@define
class Program:
    """A compiled file of probes."""

    path: Path
    library: str
    names: list[str]
    #: Names of blocks that did not compile or link.
    lacking: list[str] = field(factory=list)


def build(source: Path, folder: Path, library: str) -> Program:
    """Compile one file of probes for a C library."""
    compiler, libraries = LIBRARIES[library]
    text = source.read_text(encoding="utf-8")
    output = folder / f"{source.stem}-{library}"
    trimmed = folder / f"{source.stem}-{library}.c"
    lacking: list[str] = []
    while True:
        trimmed.write_text(text, encoding="utf-8")
        command = [*compiler, *OPTIONS, f"-I{source.parent}", "-o", str(output), str(trimmed), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode == 0:
            break
        text, names = without_complaints(text, done.stderr)
        if not names:
            raise BuildError(f"{source.name} for {library}: {done.stderr[:2000]}")
        lacking += names
    listed = subprocess.run([str(output)], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return Program(output, library, listed.stdout.split(), lacking)


def without_complaints(text: str, errors: str) -> tuple[str, list[str]]:
    """The source without the blocks that the errors name, and their names."""
    starts = [(match.start(), match.group(1)) for match in BLOCK.finditer(text)]
    blocks = {
        name: (start, following)
        for (start, name), (following, _) in zip(starts, [*starts[1:], (len(text), "")], strict=True)
    }
    line_starts = [0, *(index + 1 for index, character in enumerate(text) if character == "\n")]
    offsets = [line_starts[int(number) - 1] for number in COMPLAINT.findall(errors)]
    condemned = {name for name in LINKER.findall(errors) if name in blocks}
    condemned |= {
        name for name, (start, end) in blocks.items() if any(start <= offset < end for offset in offsets)
    }
    for name in condemned:
        start, end = blocks[name]
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text, sorted(condemned)


def build_all(folder: Path, wanted: Set[str]) -> tuple[list[Program], set[str]]:
    """Every file with a probe of these names, and the names that no C library here has.

    What glibc lacks is tried with musl, if that is installed.
    """
    programs = []
    lacking: set[str] = set()
    for source in sorted((HERE / "probes").glob("*.c")):
        if wanted.isdisjoint(match.group(1) for match in BLOCK.finditer(source.read_text(encoding="utf-8"))):
            continue
        program = build(source, folder, "glibc")
        programs.append(program)
        missing = set(program.lacking)
        if missing and shutil.which("musl-gcc"):
            other = build(source, folder, "musl")
            programs.append(other)
            missing -= set(other.names)
        lacking |= missing
    return programs, lacking


def scripts() -> dict[str, str]:
    """Each utility's script: what follows its heading ``#= name`` in ``utilities/*.sh``."""
    found: dict[str, str] = {}
    for source in sorted((HERE / "utilities").glob("*.sh")):
        _, *pieces = re.split(r"^#= (\S+)\n", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
        found.update(zip(pieces[::2], pieces[1::2], strict=True))
    return found
