"""Whole jobs of software that nobody here wrote, each to be run by the host's Linux and by JefeOS.

The parity table has small commands; these are a repository's life, a parallel build, compression in a row, two
machines with compilers of their own, servers and clients of one protocol (network_scripts.py), and what is larger
(large_scripts.py). Nothing that they print depends on the moment (pids, times). A job names the programs that it needs
and works in an empty folder; one with a network has on the host a namespace of its own with nothing but the loopback
device, as it has on JefeOS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import frozen
from jefeos.api import System

sys.path.insert(0, str(Path(__file__).parent))
import large_scripts as large
import network_scripts as network

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "PATH": PATH,
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "TERM": "linux",
    "GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
}
TIMEOUT_S = 200

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
is() { until [[ $(< /proc/$!/stat) == *") $1 "* ]]; do sleep 0.05; done; sleep 0.1; }  # and bash hears of it
set -m; sleep 2 & jobs; fg; sleep 50 & is S; kill -STOP %1; is T; jobs; kill -CONT %1; is S; jobs; kill %1; wait
coproc cat; echo hi >&${COPROC[1]}; read x <&${COPROC[0]}; echo $x; kill $COPROC_PID; wait
diff <(seq 3) <(seq 4); tee >(wc -l) < /etc/passwd | wc -l | grep -c .; trap 'echo int; exit 4' INT; kill -INT $$
"""

PERL = r"""
cat > p.pl <<'END'
use strict; use warnings;
use Socket; use POSIX ":sys_wait_h"; use File::Find; use File::Temp "tempdir"; use IO::Select;
socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
my $pid = fork;
if (!$pid) { close $ours; while (my $line = <$theirs>) { print $theirs scalar reverse $line } exit 3 }
close $theirs; select((select($ours), $| = 1)[0]); print $ours "stressed\n"; shutdown $ours, 1;
IO::Select->new($ours)->can_read(9); local $/; print <$ours>, "\n"; waitpid $pid, 0; print WEXITSTATUS($?), "\n";
my $folder = tempdir(CLEANUP => 1); mkdir "$folder/$_" for 1 .. 3;
my %seen; find(sub { $seen{$_}++ }, $folder); print scalar(%seen), "\n";
my %count; $count{$_}++ for map { lc } "The cat and the hat and the bat" =~ /\w+/g;
printf "%-4s %d\n", $_, $count{$_} for sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
local $SIG{__WARN__} = sub { print "warned: $_[0]" }; my $x; my $y = "a" . $x;
eval { die { code => 7 } }; print $@->{code}, "\n";
END
perl p.pl
"""

OPENSSL = r"""
seq 5000 > data; openssl dgst -sha256 data; openssl dgst -sha3-512 -hmac key data
e="openssl enc -aes-256-ctr -pbkdf2 -pass pass:x"; $e -in data | $e -d | cmp - data && echo same
openssl genpkey -algorithm ed25519 -out key; openssl pkey -in key -pubout -out pub
openssl pkeyutl -sign -rawin -inkey key -in data -out sig
verify="openssl pkeyutl -verify -rawin -pubin -inkey pub -sigfile sig -in data"
$verify; echo x >> data; $verify; echo $?
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec -out cert -subj /CN=here 2>/dev/null
openssl verify -CAfile cert cert; openssl x509 -in cert -noout -subject -issuer
"""

# BusyBox's shell says "Terminated" only if `wait` itself reaps the child. It reaps silently after every builtin too,
# `kill` for one, if SIGCHLD has come by then: a race, on Linux as well. So what `wait` says is not compared.
BUSYBOX = r"""
mkdir bin; busybox --install -s bin; export PATH=$PWD/bin; sh <<'END'
mkdir -p d/e; seq 1 500 | tee d/n | awk '{ s += $1 * $1 } END { print s }'; head -n 100 d/n > d/e/aa; tac d/n > d/e/ab
tar czf t.gz d; rm -r d; tar xzf t.gz; find d -type f | sort | xargs md5sum; cat d/n | gzip | zcat | wc; bzip2 -k d/n
sed -n '/9$/{s/9$/nine/;p}' d/n | tail -n 2; diff d/n d/e/aa | head -n 4; du -a d | cut -f2 | sort -r | head -n 2
dd if=d/n bs=100 count=3 2>/dev/null | od -c | tail -n 3; echo '2 80 ^ p' | dc
bunzip2 -c d/n.bz2 | cmp - d/n && echo same; (sleep 9; echo late) & kill $!; wait $! 2>/dev/null; echo $?
timeout 1 yes | head -n 2; printf '%05d %x\n' 42 255; expr 6 '*' 7
find d | cpio -o -H newc 2>/dev/null | cpio -t 2>/dev/null | sort | sha256sum; stat -c %n:%s:%a d/n; uname -s
END
"""

PACKAGE = r"""
mkdir -p p/DEBIAN p/usr/share/x; seq 99 > p/usr/share/x/f
printf '%s\n' 'Package: x' 'Version: 1.2-3' 'Architecture: all' 'Maintainer: n <a@b>' 'Description: d' \
    > p/DEBIAN/control
dpkg-deb --root-owner-group -b p x.deb; dpkg-deb -f x.deb Package Version
dpkg-deb -c x.deb | tr -s ' ' | cut -d' ' -f1,2,6; dpkg-deb -x x.deb u; diff -r p/usr u/usr && echo same; ar t x.deb
dpkg --compare-versions 1.10 gt 1.9 && echo newer
dpkg-query -W -f '${Package} ${Status}\n' dash bash; dpkg -S /bin/dash
"""

KEYS = r"""
ssh-keygen -q -t ed25519 -N '' -C c -f k; cut -d' ' -f1,2 k.pub > public
ssh-keygen -y -f k | cut -d' ' -f1,2 | cmp - public
ssh-keygen -q -t ecdsa -N secret -m PEM -f r; ssh-keygen -y -P wrong -f r >/dev/null 2>&1; echo $?
ssh-keygen -l -f r.pub | cut -c1-5; seq 9 > data; ssh-keygen -q -Y sign -n file -f k data 2>&1 | cut -c1-9
echo "n $(cat k.pub)" > a; ssh-keygen -Y verify -f a -I n -n file -s data.sig < data | cut -d' ' -f1-5
echo more >> data; ssh-keygen -Y verify -f a -I n -n file -s data.sig < data >/dev/null 2>&1; echo $?
"""

HTTP = r"""
cat > s.py <<'END'
import http.server, socketserver
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
class Handler(http.server.SimpleHTTPRequestHandler):
    address_string = lambda self: "here"
    log_message = lambda self, *words: None
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.end_headers(); self.wfile.write(body[::-1])
server = Server("s", Handler); open("listens", "w"); server.serve_forever()
END
seq 20000 > page; python3 s.py & until [ -e listens ]; do sleep 0.1; done
c="curl -s --unix-socket s http://localhost"
$c/page | cmp - page && echo same; $c/none -o /dev/null -w '%{http_code} %{content_type}\n'; $c/ -d stressed; echo
for i in 1 2 3 4; do $c/page | cksum & all="$all $!"; done; wait $all
curl -s --unix-socket no http://x/; echo $?; kill %1
"""

EDITOR = """vim -u NONE -es -c 'call setline(1, ["a", "b"])' -c '%s/b/c/' -c 'w out' -c 'qa!'; cat out"""

@frozen
class Job:
    """Programs that must be installed (names, with spaces between), and a script for bash."""

    needed: str
    script: str
    slow: bool = False
    network: bool = False
    timeout_s: float = TIMEOUT_S

    @property
    def missing(self) -> list[str]:
        """Needed programs that this host does not have."""
        missing = [program for program in self.needed.split() if shutil.which(program, path=PATH) is None]
        if self.network and os.geteuid() != 0:
            missing.append("the right to make a network namespace")
        return missing


@frozen
class Outcome:
    """What a job wrote, and its status."""

    stdout: bytes
    stderr: bytes
    status: int


JOBS = {
    "git": Job("git", REPOSITORY),
    "make": Job("make gcc objdump", BUILD),
    "compression": Job("xz gzip zstd bzip2 tar", COMPRESSION),
    "node": Job("node", f"cat > n.js <<'END'\n{NODE}\nEND\nnode n.js"),
    "java": Job("java javac", JAVA, slow=True),  # 15 s, most of it the compiler
    "perl": Job("perl", PERL),
    "openssl": Job("openssl cmp", OPENSSL),
    "busybox": Job("busybox", BUSYBOX),
    "dpkg": Job("dpkg dpkg-deb ar", PACKAGE),
    "ssh-keygen": Job("ssh-keygen", KEYS),
    "http-unix": Job("python3 curl", HTTP),
    "python-multiprocessing": Job("python3", PROCESSES),
    "sqlite-writers": Job("sqlite3", DATABASE),
    "bash-jobs": Job("bash", BASH),
    "vim-batch": Job("vim", EDITOR),
    "tclsh": Job("tclsh", "tclsh <<< 'puts [expr 2**70]; puts [exec echo x]; after 10 {set d 1}; vwait d; puts end'"),
    "ssh": Job("sshd ssh sftp", network.SSH, network=True),
    "git-network": Job("git", network.GIT, network=True),
    "rsync": Job("rsync", network.RSYNC, network=True),
    "redis": Job("redis-server redis-cli", network.REDIS, slow=True, network=True),
    "memcached": Job("memcached", network.MEMCACHED, network=True),
    "socat": Job("socat", network.SOCAT, network=True),
    "tls": Job("openssl curl", network.TLS, slow=True, network=True),
    "postgresql": Job(f"psql setpriv {large.POSTGRES_SERVER}", large.POSTGRES, slow=True),
    "tmux": Job("tmux", large.TMUX, slow=True),
    "cmake-ninja": Job("cmake ninja gcc ctest", large.CMAKE, slow=True),
    "ruby": Job("ruby", large.RUBY, slow=True),
    "valgrind": Job("valgrind gcc", large.VALGRIND, slow=True),
}


def on_the_host(job: Job, folder: Path) -> Outcome:
    """Run it here; ``folder`` is left as it was, for JefeOS sees the host's folder below its own writes."""
    words = _words(job, folder)
    if job.network:
        words = ["/usr/bin/unshare", "--net", "/bin/sh", "-c", 'ip link set lo up; exec "$@"', "sh", *words]
    done = subprocess.run(words, env=ENVIRONMENT, input=b"", capture_output=True, timeout=TIMEOUT_S, check=False)
    shutil.rmtree(folder / "w")
    shutil.rmtree(folder / "home", ignore_errors=True)
    return Outcome(done.stdout, done.stderr, 128 - done.returncode if done.returncode < 0 else done.returncode)


def on_jefeos(job: Job, folder: Path, system: System) -> Outcome:
    """Run it on a system whose root is the host's."""
    done = system.run(_words(job, folder), env=ENVIRONMENT, timeout=job.timeout_s)
    return Outcome(done.stdout, done.stderr, done.status)


def _words(job: Job, folder: Path) -> list[str]:
    prelude = f"export HOME={folder}/home; " + (network.PRELUDE if job.network else "")
    return ["/bin/bash", "-c", f"mkdir -p {folder}/w; cd {folder}/w; {prelude}{job.script}"]
