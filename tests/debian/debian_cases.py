"""Jobs for the programs of a Debian root: bash scripts, run by the host's Linux and by JefeOS on the same files.

They start in an empty folder. What depends on the machine or the moment (pids, times, keys, the order of a directory)
is not printed by any of them.
"""

from __future__ import annotations

from typing import Final

HELLO = r"""
printf '#include <stdio.h>\nint main(void) { puts("hello"); return 3; }\n' > hello.c; gcc -O2 -Wall hello.c && ./a.out
"""

MAKE = r"""
for i in $(seq 24); do echo "int f$i(int x) { return x + $i; }" > f$i.c; done
{ for i in $(seq 24); do echo "int f$i(int);"; done; echo 'int main(void) { return 0'
  for i in $(seq 24); do echo "+ f$i(-$i)"; done; echo '+ 7; }'; } > main.c
cat > Makefile <<'END'
objects = $(patsubst %.c,%.o,$(wildcard *.c))
program: $(objects)
	gcc -o $@ $^
%.o: %.c
	gcc -O2 -Wall -c $<
END
make -s -j4; ./program; echo $?; make -q; echo $?; touch f3.c; make -j4 -n | wc -l; make -j4 -s; ./program; echo $?
echo 'int f3(int x) { return y; }' > f3.c; make -s -j4; echo $?
"""

GIT = r"""
export GIT_AUTHOR_DATE=2001-01-01T00:00:00Z GIT_COMMITTER_DATE=2001-01-01T00:00:00Z HOME=$PWD
git config --global user.email a@b; git config --global user.name n
git init -q -b main a; cd a; cp -r /usr/share/perl5 .; git add -A; git commit -qm all; git rev-parse HEAD HEAD^{tree}
for i in 1 2 3; do echo $i >> perl5/x; git add -A; git commit -m c$i; done; git log --stat -3; git fsck --full --strict
git repack -adfq; git count-objects -v | head -2; git clone -q --no-local . ../b; cd ../b; git fsck
git rebase -q HEAD~2
git bisect start -q HEAD HEAD~3; git bisect run true | tail -1; git push -q origin HEAD:side
git -C ../a log --oneline side | wc -l; git archive HEAD | tar t | wc -l; git blame perl5/x; git grep -c sub | wc -l
git tag -a v1 -m v1; git describe; git worktree add -q ../wt; git status -s; git bundle create -q ../bun HEAD
git bundle verify ../bun 2>&1 | tail -1; git gc -q; git shortlog -sn HEAD | cat; git diff --stat HEAD~1
"""

PERL = r"""
perl -e 'my @a = map { $_ * 2 } 1..5; print "@a\n"; print `echo hi`; open(P, "|sort"); print P "b\na\n"; close P;
  my $pid = fork; if (!$pid) { exit 3 } waitpid $pid, 0; print $? >> 8, "\n"; $SIG{ALRM} = sub { print "alarm\n" };
  alarm 1; sleep 3; use Socket; socketpair(A, B, AF_UNIX, SOCK_STREAM, 0); syswrite A, "x"; sysread B, $x, 1; print $x;
  use POSIX; print strftime(" %Y", gmtime(0)), "\n"'
perl -Mthreads -e 'print join(",", map { $_->join } map { my $i = $_; threads->create(sub { $i * 2 }) } 1..8), "\n"'
perl -MFile::Find -e 'my $n = 0; find(sub { $n++ }, "/usr/share/perl5"); print "$n\n"'
perl -MIPC::Open3 -e 'my $p = open3(my $i, my $o, undef, "cat"); print $i "x\n"; close $i; print <$o>; waitpid $p, 0'
perl -MStorable -e 'store {a => 1}, "s"; print retrieve("s")->{a}, "\n"'; { perl -e 'kill 9, $$'; } 2> /dev/null
echo $?
perl -MFcntl=:flock -e 'open F, ">l"; print flock(F, LOCK_EX), "\n"'
perl -MDigest::SHA=sha256_hex -e 'print sha256_hex(1)'
perl -e 'use IO::Select; pipe(R, W); my $s = IO::Select->new(\*R); print scalar($s->can_read(0.1)), "-\n";
  syswrite W, "a"; print scalar($s->can_read(1)), "\n"'
"""

NODE = r"""
node --version; cat > n.js <<'END'
const fs = require("fs"), cp = require("child_process"), zlib = require("zlib"), crypto = require("crypto");
fs.writeFileSync("x", "abc"); console.log(fs.readFileSync("x", "utf8"), cp.execSync("uname -s").toString().trim());
console.log(zlib.gunzipSync(zlib.gzipSync("hello")).toString(), crypto.createHash("sha256").update("a").digest("hex"));
setTimeout(() => console.log("timer"), 20); Promise.resolve(1).then(console.log);
fs.readdir("/usr/share/perl5", (error, names) => console.log(error, names.length));
const child = cp.spawn("cat"); child.stdout.on("data", data => console.log(data.toString())); child.stdin.end("piped");
child.on("close", code => console.log("closed", code));
END
node n.js | sort; node -e 'process.exitCode = 4'; echo $?; node -e 'throw new Error("x")' 2>&1 | grep -c '^Error: x'
"""

DPKG = r"""
apt-get --version | head -1; dpkg -l | wc -l; dpkg -L dash | head -4; dpkg -S /bin/dash; dpkg --audit; apt-get check
apt list --installed 2>/dev/null | wc -l; apt-cache policy gcc | head -3; apt-mark showmanual | wc -l
debconf-show debconf | sort
mkdir -p p/DEBIAN p/usr/bin; printf '#!/bin/sh\necho tiny runs\n' > p/usr/bin/tiny; chmod 755 p/usr/bin/tiny
printf 'Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n' > p/DEBIAN/control
printf '#!/bin/sh\necho postinst $1\n' > p/DEBIAN/postinst; chmod 755 p/DEBIAN/postinst
dpkg-deb --root-owner-group -b p tiny.deb; dpkg -i tiny.deb; tiny; dpkg -s tiny; dpkg -V tiny; dpkg -r tiny
dpkg -P tiny
ls /usr/bin/tiny; apt-get -y install ./tiny.deb | grep -v Fetched; tiny; apt-get -y purge tiny; ls /usr/bin/tiny
update-alternatives --display editor | head -3; ldconfig -p | wc -l; ldconfig; ldconfig -p | wc -l
"""

USERS = r"""
adduser --disabled-password --gecos '' bob; useradd -m -s /bin/bash amy; id bob; id amy; su bob -c 'id -un; pwd; umask'
su - amy -c 'id -un; pwd; echo $HOME'; echo bob:secret | chpasswd; groupadd crew; usermod -aG crew bob; groups bob
su bob -c 'cat /etc/shadow; echo x > /etc/x; kill 1'; getent passwd bob; pwck -r; grpck -r; passwd -S bob | cut -c1-5
sudo -V | head -1; sudo -u amy id; sudo -u amy sh -c 'echo $SUDO_USER $USER $HOME'; sudo -u '#7' id -u; sudo -l -U amy
echo 'amy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/amy; su amy -c 'sudo -n id; sudo -n -u bob id -un'
su bob -c 'sudo -n id'; echo $?; deluser --quiet bob; userdel -r amy; ls /home; id amy
"""

CRON = r"""
printf '* * * * * echo\n' | crontab -; crontab -l; cron; sleep 0.5; pgrep -xc cron; cron 2>&1 | cut -c1-20
kill $(cat /run/crond.pid); sleep 0.5; pgrep -xc cron; crontab -r; crontab -l
start-stop-daemon -S -b -m -p /run/nap.pid -x /bin/sleep -- 99; start-stop-daemon -T -p /run/nap.pid; echo $?
start-stop-daemon -K -p /run/nap.pid; sleep 0.3; start-stop-daemon -T -p /run/nap.pid; echo $?
"""

KEYS = r"""
ssh-keygen -q -t ed25519 -N '' -f k; ssh-keygen -q -t rsa -b 2048 -N '' -f r; ssh-keygen -y -f k | cut -c1-20
ssh-keygen -l -f r.pub | cut -c1-5; ls -l k | cut -c1-10; ssh -V; eval $(ssh-agent) > /dev/null; ssh-add -q k
ssh-add -l | cut -c1-4; ssh-add -D; echo text > t; ssh-keygen -q -Y sign -f k -n file t; head -1 t.sig
ssh-keygen -Y check-novalidate -n file -s t.sig < t | cut -c1-30; ssh-agent -k > /dev/null
"""

DEBUGGER = r"""
gdb --version | head -1; echo 'int f(int x) { return x + 1; } int main(void) { return f(2); }' > a.c; gcc -g a.c
gdb -batch -ex 'disassemble f' -ex 'print f' -ex 'info line f' -ex 'ptype main' a.out; strace -V | head -1
"""

VENV = r"""
python3 -m venv v; v/bin/python -c 'import sys, os; print(os.path.basename(sys.prefix))'; v/bin/pip list 2>&1 | tail -2
pip --version | cut -c1-8; mkdir -p pkg; printf 'x = 7\n' > pkg/tiny.py
v/bin/python -c 'import site; open(site.getsitepackages()[0] + "/t.pth", "w").write("pkg\n")'; v/bin/pip check
"""

TREES = r"""
tar cf u.tar --sort=name /usr/share/perl /etc 2> /dev/null; mkdir x; tar xf u.tar -C x; diff -r /etc x/etc; echo $?
find x -type f | sort | xargs cat | md5sum; tar tvf u.tar | wc -l; tar czf u.tgz x/etc; tar tzf u.tgz | wc -l
rsync -aHAX --stats /etc/ e/ | grep -e files: -e size:; rsync -aHAXn -i --delete /etc/ e/; echo x >> e/passwd
touch e/extra
rsync -ai --delete /etc/ e/; diff -r /etc e && echo same; printf '#!/bin/sh\nshift\nexec "$@"\n' > rsh; chmod +x rsh
rsync -az -e ./rsh /etc/ fake:$PWD/pp/; diff -r /etc pp && echo same; rm -r x e pp; ls
find / -xdev -path $PWD -prune -o -print | grep -v -e ^/dev -e ^/tmp | sort | md5sum; find / -xdev -perm -4000 | sort
find /usr/lib -name '*.so*' -printf '%f %s %m %n %l\n' | sort | md5sum; zip -qr z.zip /etc/init.d; unzip -tq z.zip
"""

TERMINALS = r"""
script -qc 'tty | cut -c1-9; stty size; echo hi' t.out; grep -v Script t.out; script -qc 'exit 5' -e /dev/null; echo $?
cat > e <<'END'
set timeout 30
log_user 0
spawn bash --norc
expect "# "
send "echo \$((6*7))\r"
expect -re "42\r"
send "sleep 100\r"
sleep 0.5
send "\032"
expect "Stopped"
send "fg\r"
expect -re "fg.*sleep 100"
sleep 0.3
send "\003"
expect "# "
send "exit 4\r"
expect eof
puts "status [lindex [wait] 3]"
spawn su nobody -s /bin/sh
expect "$ "
send "id -un; tty | wc -l\r"
expect "nobody\r\n1\r\n"
puts "nobody"
END
expect e; screen -dmS s sh -c 'tty | cut -c1-9 > st; stty size >> st'; for i in $(seq 50); do test -s st && break
sleep 0.1; done
cat st; tmux new -d -s t -x 90 -y 20 'echo in tmux; sleep 30'; for i in $(seq 50); do
  tmux capture-pane -p -t t | grep . && break; sleep 0.1; done; tmux ls -F '#{session_name} #{window_width}'
tmux kill-server
"""

EDITORS = r"""
printf 'a\nb\n' > f; vim -u NONE -es -c '%s/a/z/|wq' f; cat f; printf '1d\nw\nq\n' | ed -s f; cat f; echo x | less | cat
nano --version | head -1; mc --version | head -1; htop --version | head -1; bc <<< '2^200'; file /bin/sh /etc/passwd z
locale -a; date -ud @0; iconv -f latin1 -t utf8 <<< abc; getent hosts localhost; getent protocols tcp; hostname; who
mkfifo p; (echo x > p &); cat p; timeout 0.2 sleep 5; echo $?; nice -n 5 nice; flock l echo locked; stdbuf -o0 echo b
dd if=/dev/zero of=dd bs=1M count=10 2> /dev/null; sha1sum dd; split -b 1M dd; ls x* | wc -l
ps -o comm= | sort | tail -1
busybox | head -1; busybox awk 'BEGIN { print 1 / 3 }'; busybox tar cf - /etc | busybox tar tf - | wc -l
top -b -n1 | head -7 | tail -1 | wc -w; free | head -1; sysctl kernel.ostype; mountpoint /proc; getconf -a | wc -l
"""

CHROOT = r"""
mkdir -p c/{bin,lib64,proc}; cp /bin/bash /bin/ls c/bin
for l in $(ldd /bin/bash /bin/ls | grep -o '/lib[^ ]*' | sort -u); do cp --parents $l c; done
unset LC_ALL; chroot c /bin/bash -c 'echo in; ls /; cd ..; pwd'; mount -t tmpfs none c/proc; touch c/proc/a
chroot c /bin/ls /proc; umount c/proc; mount --bind /etc/init.d c/proc; ls c/proc | wc -l; umount c/proc; umount c/proc
"""

CASES: Final[dict[str, str]] = {
    "gcc hello": HELLO,
    "make -j4": MAKE,
    "git": GIT,
    "perl": PERL,
    "node": NODE,
    "dpkg and apt": DPKG,
    "users and sudo": USERS,
    "cron and daemons": CRON,
    "keys": KEYS,
    "gdb": DEBUGGER,
    "venv": VENV,
    "trees": TREES,
    "terminals": TERMINALS,
    "editors and small tools": EDITORS,
    "chroot and mount": CHROOT,
}
