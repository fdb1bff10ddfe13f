"""Metadata hook of the `jefeos` metapackage: its dependencies are the packages that stand in this repository.

``pip install .`` shall install core and every bundled plugin as real, separate distributions, so that any of
them can be upgraded, replaced or removed alone. The hook walks ``core/`` and ``plugins/<kind>/<name>/`` and
names each as ``distribution @ file:///…``; the wheel itself is empty. A new plugin folder needs no edit here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class BundledPackages(MetadataHookInterface):
    """Fills in ``project.dependencies`` from the package folders of the repository."""

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        folders = [root / "core", *sorted(path.parent for path in root.glob("plugins/*/*/pyproject.toml"))]
        metadata["dependencies"] = [f"{distribution_name(folder)} @ {folder.as_uri()}" for folder in folders]


def distribution_name(folder: Path) -> str:
    """The ``project.name`` that a package folder declares."""
    return str(tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"])
