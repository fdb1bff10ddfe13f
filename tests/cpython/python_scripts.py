"""What a Python must be able to do, as shell scripts: start, pipe, fork, spawn, thread, wait for events, make a venv.

Each is run with ``$PY`` naming the interpreter, in an empty folder, and prints nothing that depends on the moment or on
the machine. They are for 3.11 and 3.13 alike, with glibc and with musl.
"""

from __future__ import annotations

PROCESSES = """
cat > p.py <<'END'
import multiprocessing, os, signal, sys
def add(x): return x + 1
def count(counts, lock):
    for number in range(10):
        with lock: counts.append(number)
def echo(pipe, queue):
    queue.put(pipe.recv() * 2)
    pipe.send("done")
def die(): os.kill(os.getpid(), signal.SIGTERM)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool: print(pool.map(add, range(5)), pool.apply_async(add, (9,)).get(60))
    with context.Manager() as manager:
        counts, lock = manager.list(), context.Lock()
        several = [context.Process(target=count, args=(counts, lock)) for _ in range(3)]
        [process.start() for process in several]; [process.join() for process in several]
        print(sum(counts), len(counts), [process.exitcode for process in several])
    ours, theirs = context.Pipe(); queue = context.Queue()
    process = context.Process(target=echo, args=(theirs, queue)); process.start()
    ours.send([1, 2]); print(queue.get(timeout=60), ours.recv()); process.join()
    process = context.Process(target=die); process.start(); process.join(); print(process.exitcode)
END
"""

SCRIPTS: dict[str, str] = {
    "start": """
$PY -c 'pass'; echo $?
$PY -c 'import sys; print(sys.version_info[:2], sys.platform, sys.byteorder, sys.maxsize, sys.flags.utf8_mode)'
$PY -I -S -c 'import sys; print(sorted(sys.builtin_module_names)[:3]); sys.exit(7)'; echo $?
echo 'print(input())' > s.py; echo line | $PY s.py; echo 'print(6 * 7)' | $PY; $PY -c 'raise ValueError("no")' 2>&1 | tail -1
$PY -m this | head -3; $PY -m compileall -q s.py; ls __pycache__ | wc -l
""",
    "json": """
echo '{"b": [1, 2.5, null, true], "a": {"x": "\\u00e9"}}' | $PY -m json.tool --sort-keys
echo '{"a": }' | $PY -m json.tool; echo $?
echo '{"a": 1}' > in; $PY -m json.tool --compact in out; cat out
""",
    "subprocess": """
$PY - <<'END'
import os, subprocess, sys
print(subprocess.run(["sh", "-c", "cat; echo e >&2; exit 3"], input=b"in", capture_output=True))
first = subprocess.Popen(["seq", "1", "2000"], stdout=subprocess.PIPE)
last = subprocess.Popen(["wc", "-l"], stdin=first.stdout, stdout=subprocess.PIPE, text=True)
first.stdout.close(); print(last.communicate()[0].strip(), first.wait(), last.returncode)
try: subprocess.run(["sleep", "60"], timeout=0.2)
except subprocess.TimeoutExpired as error: print("timeout", error.cmd)
for command in (["/nonexistent"], ["/etc/passwd"]):
    try: subprocess.run(command)
    except OSError as error: print(type(error).__name__, error.errno)
print(subprocess.call(["sh", "-c", "kill -9 $$"]))
print(subprocess.run([sys.executable, "-c", "import os; print(os.getcwd(), os.environ['A'], os.getsid(0) == os.getpid())"],
                     cwd="/usr", env={**os.environ, "A": "b"}, start_new_session=True, capture_output=True).stdout)
print(len(subprocess.run("head -c 300000 /dev/zero", shell=True, capture_output=True).stdout), os.system("exit 4") >> 8)
r, w = os.pipe()
child = subprocess.Popen(["sh", "-c", f"echo passed >&{w}"], pass_fds=[w]); os.close(w)
print(os.read(r, 99), child.wait(), subprocess.check_output("umask", shell=True, umask=0o27))
END
""",
    "threading": """
$PY - <<'END'
import queue, threading, time
from concurrent.futures import ThreadPoolExecutor
total, lock = 0, threading.Lock()
def count():
    global total
    for _ in range(1000):
        with lock: total += 1
several = [threading.Thread(target=count) for _ in range(12)]
[thread.start() for thread in several]; [thread.join() for thread in several]; print(total)
box, barrier = queue.Queue(3), threading.Barrier(3)
fills = threading.Thread(target=lambda: [box.put(i) for i in range(10)]); fills.start()
print([box.get() for _ in range(10)]); fills.join()
threads = [threading.Thread(target=barrier.wait) for _ in range(2)]; [t.start() for t in threads]; barrier.wait()
[t.join() for t in threads]
with ThreadPoolExecutor(4) as pool: print(list(pool.map(lambda n: n * n, range(10))))
event, local = threading.Event(), threading.local(); started = time.monotonic()
print(event.wait(0.2), 0.19 < time.monotonic() - started < 30, threading.Semaphore(0).acquire(timeout=0.05))
threading.Timer(0.05, event.set).start(); print(event.wait(60), threading.active_count() <= 2)
condition, ready = threading.Condition(), []
def wait():
    with condition: print(condition.wait_for(lambda: ready, 60))
thread = threading.Thread(target=wait); thread.start()
with condition: ready.append(1); condition.notify_all()
thread.join(); print(threading.get_native_id() > 0, threading.main_thread() is threading.current_thread())
END
""",
    "multiprocessing-fork": PROCESSES + "$PY p.py fork",
    "multiprocessing-spawn": PROCESSES + "$PY p.py spawn",
    "multiprocessing-forkserver": PROCESSES + "$PY p.py forkserver",
    "shared-memory": """
$PY - <<'END'
import mmap, os
from multiprocessing import shared_memory
block = shared_memory.SharedMemory(create=True, size=5000)
if not os.fork():
    other = shared_memory.SharedMemory(name=block.name); other.buf[:3] = b"abc"; os._exit(5)
print(os.waitstatus_to_exitcode(os.wait()[1]), bytes(block.buf[:4]), block.size >= 5000); block.close(); block.unlink()
area = mmap.mmap(-1, 8192)
if not os.fork(): area[5000:5003] = b"xyz"; os._exit(0)
os.wait(); print(area[5000:5003])
END
""",
    "asyncio": """
$PY - <<'END'
import asyncio, os, signal
async def serve(reader, writer):
    writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_unix_server(serve, "s")
    async def ask(i):
        reader, writer = await asyncio.open_unix_connection("s")
        writer.write(f"hello {i}\\n".encode()); line = await reader.read(); writer.close(); return line
    print(await asyncio.gather(*map(ask, range(20)))); server.close(); await server.wait_closed()
    process = await asyncio.create_subprocess_exec("sort", stdin=-1, stdout=-1)
    print(await process.communicate(b"b\\na\\n"), process.returncode)
    got = asyncio.Event(); loop.add_signal_handler(signal.SIGUSR1, got.set); os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(got.wait(), 60)
    try: await asyncio.wait_for(asyncio.sleep(60), 0.1)
    except TimeoutError: print("timeout")
    print(await asyncio.to_thread(sum, range(1000)), await loop.run_in_executor(None, os.path.exists, "/"))
    shell = await asyncio.create_subprocess_shell("exec sleep 60"); shell.kill(); print(await shell.wait())
    async with asyncio.TaskGroup() as group: tasks = [group.create_task(asyncio.sleep(0.01, i)) for i in range(100)]
    print(sum(task.result() for task in tasks))
asyncio.run(main())
END
""",
    "sqlite3": """
$PY - <<'END'
import os, sqlite3
db = sqlite3.connect("x.db"); print(db.execute("pragma journal_mode=wal").fetchone())
db.execute("create table t(a integer primary key, b text)")
with db: db.executemany("insert into t(b) values(?)", [(f"row {i}",) for i in range(2000)])
print(db.execute("select count(*), max(b), sum(length(b)) from t").fetchone())
try:
    with db: db.execute("delete from t"); raise RuntimeError
except RuntimeError: print(db.execute("select count(*) from t").fetchone())
if not os.fork():
    other = sqlite3.connect("x.db", timeout=60)
    with other: other.execute("update t set b = 'changed' where a < 100")
    other.close(); os._exit(0)
os.wait(); print(db.execute("select count(*) from t where b = 'changed'").fetchone())
print(db.execute("pragma integrity_check").fetchone()); db.close(); print(sorted(os.listdir(".")))
memory = sqlite3.connect(":memory:"); sqlite3.connect("x.db").backup(memory)
print(memory.execute("select count(*) from t").fetchone())
END
""",
    "ssl": """
$PY - <<'END'
import hashlib, hmac, secrets, ssl
context = ssl.create_default_context(); print(ssl.HAS_TLSv1_3, context.verify_mode.name, len(context.get_ciphers()) > 5)
here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
wire = context.wrap_bio(here, there, server_hostname="a.example")
try: wire.do_handshake()
except ssl.SSLWantReadError: print("hello", there.read(1), there.pending > 100)
print(hashlib.sha256(b"x").hexdigest(), hmac.digest(b"k", b"x", "sha512").hex()[:16], len(secrets.token_bytes(8)))
print(ssl.RAND_status(), len(ssl.RAND_bytes(16)))
END
""",
    "venv-without-pip": """
$PY -m venv --without-pip v && cat v/pyvenv.cfg | grep -c . && ls v/bin | grep -c activate
v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix, sys.prefix.endswith("/v"))'
. v/bin/activate; python -c 'import sys, os; print(os.path.basename(sys.executable))'; deactivate
$PY -m venv --without-pip --clear --symlinks v && test -L v/bin/python && echo link
""",
    "venv": """
$PY -m venv v && ls v/bin && v/bin/pip --version | cut -d' ' -f1-2
mkdir -p p/m; echo 'x = 5' > p/m/__init__.py; printf '[metadata]\\nname = m\\nversion = 1\\n' > p/setup.cfg
v/bin/python -m pip list --disable-pip-version-check
""",
    "c-libraries": """
$PY - <<'END'
import bz2, ctypes, ctypes.util, lzma, multiprocessing, os
print([len(module.decompress(module.compress(bytes(100000)))) for module in (lzma, bz2)])
libc = ctypes.CDLL(None, use_errno=True); print(libc.getpid() == os.getpid(), libc.open(b"/none", 0), ctypes.get_errno())
numbers = (ctypes.c_int * 4)(3, 1, 4, 2); order = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.POINTER(ctypes.c_int)] * 2)
libc.qsort(numbers, 4, 4, order(lambda a, b: a[0] - b[0])); print(list(numbers))
value = multiprocessing.Value("i", 0)
def count():
    for _ in range(100):
        with value.get_lock(): value.value += 1
several = [multiprocessing.Process(target=count) for _ in range(3)]
[process.start() for process in several]; [process.join() for process in several]; print(value.value)
END
""",
    "files": """
$PY - <<'END'
import glob, os, pathlib, shutil, tempfile, zipfile, tarfile, gzip
for name in ("a", "b/c", "b/d/e"): path = pathlib.Path(name); path.parent.mkdir(exist_ok=True, parents=True); path.write_text(name)
print(sorted(glob.glob("**", recursive=True)), shutil.make_archive("t", "gztar", "b"))
with tarfile.open("t.tar.gz") as tar: print(sorted(tar.getnames()))
with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as zip: zip.write("a"); print(zip.testzip())
print(len(gzip.decompress(gzip.compress(bytes(100000)))))
with tempfile.TemporaryDirectory() as folder: os.symlink("x", folder + "/l"); print(os.readlink(folder + "/l"))
print(os.path.exists(folder), shutil.copytree("b", "f"), sorted(os.walk("f"))); shutil.rmtree("f")
descriptor = os.open("s", os.O_RDWR | os.O_CREAT); os.pwrite(descriptor, b"end", 1 << 20)
print(os.fstat(descriptor).st_size, os.preadv(descriptor, [bytearray(2), bytearray(3)], (1 << 20) - 2), os.lseek(descriptor, 0, os.SEEK_DATA) >= 0)
END
""",
}

SLOW = ("venv", "multiprocessing-forkserver")
#: The package with 3.13 comes without libsqlite3, libffi and liblzma: these cannot run there, on the host neither.
NOT_WITH_MUSL = ("sqlite3", "c-libraries")
