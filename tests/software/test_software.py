"""Software that nobody here wrote, at work: the same output and status on JefeOS as on the host.

The parity table has small commands; here are whole jobs of big programs: a repository's life, a parallel build,
compression in a row, two JavaScript and bytecode machines with compilers of their own, and the interpreter's own
test files. Nothing is compared that depends on the moment (pids, times). At the end the kernel must have lost no
frame and no handler may have failed.

A case names the programs it needs and skips where one is missing. Not here: what needs AF_INET, which comes with
the network stack.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jefeos
import pytest
from jefeos.api import System
from jefeos.testing.plugin import finish

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(sys.platform != "linux", reason="the host's Linux is the oracle"),
]

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "TERM": "linux",
    "GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
}
TIMEOUT_S = 120
CPYTHON = "/usr/bin/python3"

REPOSITORY = """
git init -q -b main r; cd r; git config user.email a@b; git config user.name n
for i in 1 2 3; do seq $i > f$i; git add .; git commit -qm c$i; done
git checkout -q -b side HEAD~1; echo q > f9; git add .; git commit -qm q; git merge -q -m merged main
git log --graph --oneline --stat; git gc -q; git fsck --full; git status; git diff HEAD~1 --stat
git clone -q . ../c; ls ../c; git grep -c 1; git rev-parse HEAD
"""

BUILD = r"""
for i in 1 2 3 4 5 6; do echo "int f$i(void) { return $i; }" > f$i.c; done
printf 'int f1(void), f6(void);\nint main(void) { return f1() + f6(); }\n' > m.c
printf 'm: m.o f1.o f2.o f3.o f4.o f5.o f6.o\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -O2 -Wall -c $<\n' > Makefile
make -s -j4; ./m; echo $?; make -q; echo $?; gcc missing.c; objdump -d f3.o | tail -3; strip m; ./m; echo $?
"""

COMPRESSION = """
seq 20000 | xz -T2 | xz -dc | gzip | gzip -dc | zstd -q | zstd -dcq | bzip2 | bzip2 -dc | md5sum
mkdir -p t/a/b t/c; for d in t t/a t/a/b t/c; do seq 99 > $d/f; done
tar cJf t.txz t; mkdir u; tar xJf t.txz -C u; diff -r t u/t && echo same; echo x >> u/t/c/f; diff -r t u/t
find t -type f -print0 | sort -z | xargs -0 -P4 -n1 md5sum | sort
"""

NODE = """
const cp = require("child_process"), net = require("net"), { Worker } = require("worker_threads");
function hot(n) { let x = 0; for (let i = 0; i < n; i++) x = (x * 31 + i) | 0; return x; }
for (let i = 0; i < 30; i++) hot(20000);
console.log(hot(100000), cp.execSync("echo $((1+1))").toString(), cp.spawnSync("sort", { input: "b\\na\\n" }).status);
const add = new Uint8Array([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,
  0,32,1,106,11]);
console.log(new WebAssembly.Instance(new WebAssembly.Module(add)).exports.add(40, 2));
const server = net.createServer(c => c.end("hello")).listen("s", () => net.connect("s").on("data", d => {
  console.log(d.toString()); server.close();
  new Worker("require('worker_threads').parentPort.postMessage(7)", { eval: true }).on("message", console.log);
}));
"""

JAVA = """
cat > A.java <<END
public class A {
    public static void main(String[] a) throws Exception {
        Thread t = new Thread(() -> System.out.println("thread")); t.start(); t.join();
        long s = 0; for (int i = 0; i < 1000000; i++) s += i % 7;
        System.out.println(s);
        try { Object o = null; o.hashCode(); } catch (NullPointerException e) { System.out.println("caught"); }
        System.exit(3);
    }
}
END
java A.java
"""

PROCESSES = '''
cat > p.py <<END
import multiprocessing
def add(x): return x + 1
def count(v):
    for _ in range(50):
        with v.get_lock(): v.value += 1
if __name__ == "__main__":
    for kind in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(kind)
        with context.Pool(2) as pool: print(kind, pool.map(add, range(5)))
        v = context.Value("i", 0)
        all = [context.Process(target=count, args=(v,)) for _ in range(3)]
        [p.start() for p in all]; [p.join() for p in all]; print(v.value)
END
python3 p.py
'''

DATABASE = """
sqlite3 x.db 'pragma journal_mode=wal; create table t(a)'
for j in 1 2 3 4; do (for k in 1 2 3; do sqlite3 -cmd '.timeout 20000' x.db "insert into t values($k)"; done) & done
wait; sqlite3 x.db 'select sum(a), count(*) from t; pragma integrity_check'
"""

BASH = """
set -m; sleep 0.3 & jobs; fg; sleep 5 & kill -STOP %1; sleep 0.1; jobs; kill -CONT %1; sleep 0.1; jobs; kill %1; wait
coproc cat; echo hi >&${COPROC[1]}; read x <&${COPROC[0]}; echo $x; kill $COPROC_PID; wait
diff <(seq 3) <(seq 4); tee >(wc -l) < /etc/passwd | wc -l | grep -c .; trap 'echo int; exit 4' INT; kill -INT $$
"""

EDITOR = """vim -u NONE -es -c 'call setline(1, ["a", "b"])' -c '%s/b/c/' -c 'w out' -c 'qa!'; cat out"""

CASES: dict[str, tuple[str, str]] = {
    "git": ("git", REPOSITORY),
    "make": ("make gcc objdump", BUILD),
    "compression": ("xz gzip zstd bzip2 tar", COMPRESSION),
    "node": ("node", f"cat > n.js <<'END'\n{NODE}\nEND\nnode n.js"),
    "java": ("java javac", JAVA),
    "python-multiprocessing": ("python3", PROCESSES),
    "sqlite-writers": ("sqlite3", DATABASE),
    "bash-jobs": ("bash", BASH),
    "vim-batch": ("vim", EDITOR),
    "tclsh": ("tclsh", "tclsh <<< 'puts [expr 2**70]; puts [exec echo x]; after 10 {set d 1}; vwait d; puts end'"),
}

SLOW = ("java",)  # 15 s, most of it the compiler

#: Test files of the interpreter that pass whole on the host and on JefeOS, and take seconds.
CPYTHON_TESTS = ("test_posix", "test_fcntl", "test_pty", "test_select", "test_mmap", "test_tempfile", "test_shutil",
                 "test_thread", "test_pathlib", "test_popen")  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = jefeos.boot(root="/", ram="1G", strict=True)
    yield system
    problems = finish(system)
    assert not problems, problems


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in CASES]
)
def test_same_as_the_host(system: System, name: str, tmp_path: Path) -> None:
    needed, script = CASES[name]
    missing = [program for program in needed.split() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    words = ["/bin/bash", "-c", f"mkdir -p {tmp_path}/w; cd {tmp_path}/w; {script}"]
    host = subprocess.run(words, env=ENVIRONMENT, input=b"", capture_output=True, timeout=TIMEOUT_S, check=False)
    shutil.rmtree(tmp_path / "w")  # JefeOS sees the host's folder below its own writes
    ours = system.run(words, env=ENVIRONMENT, timeout=TIMEOUT_S)
    assert (ours.stdout, ours.stderr, ours.status) == (host.stdout, host.stderr, host.returncode)


@pytest.mark.parametrize("name", CPYTHON_TESTS)
def test_of_the_interpreter(system: System, name: str) -> None:
    run = ["/bin/sh", "-c", f"{CPYTHON} -m unittest test.{name}; exit $?"]
    host = subprocess.run(run, env=ENVIRONMENT, input=b"", capture_output=True, timeout=TIMEOUT_S, check=False)
    if b"No module named" in host.stderr:
        pytest.skip("the interpreter's tests are not installed (libpython3.11-testsuite)")
    ours = system.run(run, env=ENVIRONMENT, timeout=TIMEOUT_S)
    ran = [line for line in ours.stderr.splitlines() if line.startswith(b"Ran ")]
    assert ours.status == host.returncode, ours.stderr.decode(errors="replace")[-3000:]
    assert ran and [line.split()[1] for line in ran] == [
        line.split()[1] for line in host.stderr.splitlines() if line.startswith(b"Ran ")
    ]
