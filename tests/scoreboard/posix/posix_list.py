"""The list of interfaces as values; what is counted and where the names are from is said in ``interfaces.tsv``."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

HERE = Path(__file__).parent
#: Kinds that are run by a shell; the others are compiled.
SHELL_KINDS = ("utility", "special built-in")


@frozen
class Interface:
    """One line of the list."""

    name: str
    kind: str
    header: str
    #: The margin code of the option that it belongs to; empty for what every conforming system has.
    option: str
    mandatory: bool

    @property
    def key(self) -> tuple[str, str]:
        """A name alone is not enough: read is a function and a utility."""
        return ("shell" if self.kind in SHELL_KINDS else "c", self.name)


def table(path: Path) -> list[list[str]]:
    """The lines of a tab-separated file, without comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def interfaces() -> list[Interface]:
    """All of them, in the order of the file: by header, then the shell's, then the utilities."""
    return [
        Interface(name, kind, header, option, mandatory == "yes")
        for name, kind, header, option, mandatory in table(HERE / "interfaces.tsv")
    ]


def explained_differences() -> dict[tuple[str, str], str]:
    """Why a probe's result is another one on JefeOS, where that is known and stays: by (c or shell, name)."""
    return {(kind, name): reason for kind, name, reason in table(HERE / "explained.tsv")}
