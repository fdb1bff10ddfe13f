"""The sources of Debian packages, fetched by apt and unpacked with Debian's patches, for the test suites inside them.

Nothing of the system is changed: apt gets folders of its own, with the machine's package sources named once more as
``deb-src``. All lies below ``JEFEOS_SUITES`` (by default ``~/.cache/jefeos-suites``), one folder for each package and
version, and is fetched once. The version is that of the installed binary package where the archive still has its
source, so that a suite judges the program that it was written for.

`fetch` raises `Unavailable` with a reason: no Debian, no network, no dpkg-source. Needs no privilege.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

TIMEOUT_S = 300


class Unavailable(Exception):
    """What a suite needs is not to be had here; the text says what."""


def cache() -> Path:
    """The folder that holds everything fetched and built, made if need be."""
    folder = Path(os.environ.get("JEFEOS_SUITES") or Path.home() / ".cache" / "jefeos-suites")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def require(*programs: str) -> None:
    """Raises Unavailable unless the host has these programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")


def run(words: list[str], cwd: Path | None = None) -> str:
    """Run a tool that must succeed; its output. Raises Unavailable with the tool's last words."""
    try:
        done = subprocess.run(
            words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{words[0]}: {error}") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        raise Unavailable(f"{words[0]} ended with {done.returncode}: {text.strip()[-300:]}")
    return text


def fetch(binary: str) -> Path:
    """The unpacked source tree of an installed binary package, by name; it is not to be written to."""
    require("dpkg-query", "apt-get", "dpkg-source")
    query = ["dpkg-query", "-W", "-f=${source:Package} ${source:Version}", binary]
    source, _, version = run(query).strip().partition(" ")
    home = cache() / f"{source}_{version.replace(':', '%')}"
    tree = home / "tree"
    if tree.is_dir():
        return tree
    home.mkdir(exist_ok=True)
    _download(source, version, home)
    partial = home / f"tree.{os.getpid()}"
    run(["dpkg-source", "--no-check", "-x", str(next(home.glob("*.dsc"))), str(partial)])
    try:
        partial.rename(tree)
    except OSError:  # another process was first
        shutil.rmtree(partial, ignore_errors=True)
    return tree


def _download(source: str, version: str, home: Path) -> None:
    lists = cache() / "apt"
    parts = lists / "sources"
    for folder in (parts, lists / "lists" / "partial", lists / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    _write_sources(parts)
    apt = [
        "apt-get", "-qq", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={parts}",
        "-o", f"Dir::State::Lists={lists / 'lists'}", "-o", f"Dir::Cache={lists / 'cache'}",
        "-o", "APT::Sandbox::User=",
    ]  # fmt: skip
    wanted = [*apt, "source", "--download-only", f"{source}={version}"]
    try:
        run(wanted, home)
    except Unavailable:  # the lists are not there, or old
        with suppress(Unavailable):  # one source of several may be out of reach
            run([*apt, "update"])
        try:
            run(wanted, home)
        except Unavailable:  # a security update has replaced that source
            run([*wanted[:-1], source], home)


def _write_sources(parts: Path) -> None:
    """The machine's own package sources, in both of apt's formats, as sources of source packages."""
    system = Path("/etc/apt")
    for path in [system / "sources.list", *sorted((system / "sources.list.d").glob("*"))]:
        if path.suffix == ".sources" and path.is_file():
            text = re.sub(r"(?m)^Types:.*$", "Types: deb-src", path.read_text())
        elif path.suffix == ".list" and path.is_file():
            lines = [line for line in path.read_text().splitlines() if re.match(r"deb\s", line)]
            text = "".join(f"deb-src{line[3:]}\n" for line in lines)
        else:
            continue
        (parts / path.name).write_text(text)
