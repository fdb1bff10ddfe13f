"""Alpine's own programs, run on JefeOS with the archive as root, and on the host with the archive unpacked, by chroot.

The host's Linux is the oracle: both sides run the same shell, libraries and programs on the same files. What is
written goes to /tmp/w. Output that depends on the machine or the moment is not compared.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

from attrs import frozen
from jefeos.api import System

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "linux",
}
TIMEOUT_S = 200

SHELL = r"""
x='a b c'; set -- $x; echo $# "$*" ${x#a } ${x%% *} ${#x} $((3 * 7 % 5)) $(printf '%03d' 7)
f() { local y=$1; [ "$y" -gt 2 ] && return $y; f $((y + 1)); }; f 0; echo $?
for i in 1 2 3; do case $i in 2) continue;; *) echo $i;; esac; done | while read n; do echo got $n; done
sleep 9 & kill $!; wait $! 2>/dev/null; echo $?; trap 'echo term; exit 5' TERM; cat <<END | tr a-z A-Z
here $((1 + 1))
END
echo one > o; echo two >> o; cat < o; read line < o; echo $line; exec 3< o; read a <&3; read b <&3; echo $b-$a
(ulimit -n 20; ulimit -n); umask 027; mkdir d; ls -ld d | cut -c1-10; nosuch 2>&1; echo $?; kill -TERM $$; echo no
"""

COREUTILS = r"""
seq 1 300 > n; head -n 3 n; tail -n 2 n; wc n; sort -rn n | uniq | head -n 1; cut -c1 n | sort | uniq -c
md5sum n; sha1sum n; sha256sum n; sha512sum n; cksum n; od -An -tx1 -N8 n; base64 n | head -n 1; tac n | head -n 1
mkdir -p a/b; cp n a/b/m; ln a/b/m a/h; ln -s b/m a/s; mv a/b/m a/b/k; stat -c '%h %s %F %a' a/h a/s a; readlink a/s
chmod 4751 a/h; chown 12:34 a/h; stat -c '%a %u %g' a/h; touch -d '2001-02-03 04:05:06' n; date -u -r n; du -s a
dd if=n of=p bs=7 count=9 skip=2 2>/dev/null; cmp n p; split -l 100 n s-; ls; paste s-aa s-ab | tail -n 1; rm -r a; ls
expr 6 '*' 7; factor 1001; basename /x/y.z .z; dirname /x/y; printf '%x %o %e\n' 255 8 1; test -s n && echo size
env -i A=1 env
"""

TEXT = r"""
printf 'name,age\nada,36\nalan,41\n' > c; awk -F, 'NR > 1 { s += $2; print toupper($1) } END { print s / (NR - 1) }' c
sed -e 's/a/A/g;2d' c; sed -i '1s/$/!/' c; cat c; grep -nE '^a.+[0-9]$' c; grep -vc a c; tr -d a < c; diff c /dev/null
printf 'b\na\n' > 1; sort 1 > 2; comm -12 2 2; diff -u 1 2 | tail -n 4; patch 1 2>&1 <<END; cat 1
--- 1
+++ 1
@@ -1,2 +1,2 @@
-b
 a
+c
END
awk 'BEGIN { while (("echo x y" | getline l) > 0) print length(l); printf "%5.2f|%-4d|\n", 3.14159, 42 }'
"""

ARCHIVES = r"""
mkdir t; seq 999 > t/f; ln -s f t/l; for z in gzip bzip2 lzop; do tar cf - t | $z | $z -dc | tar tvf - | wc -l; done
tar czf t.tgz t; mkdir u; tar xzf t.tgz -C u; diff -r t u/t && echo same; find u -type f | sort | xargs -n 1 basename
find t | cpio -o -H newc 2>/dev/null | cpio -t 2>/dev/null | sort; (cd u && find . -name f -exec wc -l {} \;)
echo 'a b' | xargs -n 1 echo item; printf 'x\0y\0' | xargs -0 -n 1 echo; unzip -l none 2>&1; echo $?
"""

USERS = r"""
id; id nobody; getent passwd ftp; addgroup -g 777 crew; adduser -D -u 777 -G crew bob; id bob; su bob -c 'id -un; pwd'
tail -n 1 /etc/passwd; chown bob n 2>&1; echo bob:secret | chpasswd 2>&1; deluser bob
id bob 2>&1; delgroup crew; grep -c crew /etc/group
su nobody -s /bin/sh -c 'cat /etc/shadow' 2>&1; su nobody -s /bin/sh -c 'echo x > /etc/x' 2>&1; whoami; groups
"""

PACKAGES = r"""
apk --version; apk info; apk info -e musl busybox; apk info -L apk-tools; apk info -d -s zlib; apk info -W /bin/busybox
apk list -I | sort | head -n 3; apk version -t 1.2.3-r0 1.10-r1; apk info -r libcrypto3
apk add --no-network no-such-package 2>&1; echo $?; apk info -e no-such-package; echo $?; apk --print-arch
"""

CASES = {
    "shell": SHELL,
    "coreutils": COREUTILS,
    "text": TEXT,
    "archives": ARCHIVES,
    "users": USERS,
    "apk --version": "apk --version",
    "apk info": "apk info; apk info -v | sort",
    "apk": PACKAGES,
    "release": "cat /etc/alpine-release /etc/os-release; ldd /bin/busybox | sed 's/(.*//'; readlink /bin/sh",
}

#: In a namespace of its own: what it mounts is gone with it.
ENTER = """
mount -t proc proc "$0/proc" && mkdir -p "$0/dev/shm" && mount -t tmpfs shm "$0/dev/shm" && exec chroot "$0" "$@"
"""


@frozen
class Outcome:
    """What a script wrote, and its status as a shell has it."""

    stdout: bytes
    stderr: bytes
    status: int


def unpack(archive: str, folder: Path) -> Path:
    """The archive's files in a folder that chroot can enter: with the devices that shells and tools expect."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="fully_trusted")
    for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
        os.mknod(folder / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        (folder / "dev" / name).chmod(0o666)
    return folder


def on_the_host(script: str, root: Path, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Run it here, inside of the unpacked archive."""
    command = ["unshare", "--mount", "/bin/sh", "-c", ENTER, str(root), *_words(script)]
    done = subprocess.run(command, env=ENVIRONMENT, input=b"", capture_output=True, timeout=timeout_s, check=False)
    shutil.rmtree(root / "tmp" / "w")
    return Outcome(done.stdout, done.stderr, 128 - done.returncode if done.returncode < 0 else done.returncode)


def on_jefeos(script: str, system: System, *before: str, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Run it on a system whose root is the archive; or, with ``before`` (``chroot DIR``), somewhere else."""
    done = system.run([*before, *_words(script)], env=ENVIRONMENT, timeout=timeout_s)
    return Outcome(done.stdout, done.stderr, done.status)


def _words(script: str) -> list[str]:
    return ["/bin/sh", "-c", f"umask 022; mkdir /tmp/w; cd /tmp/w\n{script}"]
