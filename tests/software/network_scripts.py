"""Scripts of the jobs that need a network: servers and clients of one protocol that meet on the loopback device.

``up PORT`` (part of `PRELUDE`) waits until somebody listens. Where a server tells its clients apart by a log line or a
pid, that is left out: it depends on the moment.
"""

from __future__ import annotations

PRELUDE = """
up() { until (: < /dev/tcp/127.0.0.1/$1) 2>/dev/null; do sleep 0.05; done; }
"""

SSH = r"""
export HOME=$PWD; mkdir -p /run/sshd; for k in host id; do ssh-keygen -q -t ed25519 -N '' -f $k; done; cp id.pub auth
cat > conf <<END
Port 2222
ListenAddress 127.0.0.1
HostKey $PWD/host
AuthorizedKeysFile $PWD/auth
PidFile none
StrictModes no
PermitRootLogin yes
KexAlgorithms curve25519-sha256
Subsystem sftp internal-sftp
END
/usr/sbin/sshd -D -e -f conf 2> log & up 2222
o="-i id -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
s="ssh -p 2222 $o 127.0.0.1"; seq 30000 > data
$s 'cat; echo end; exit 7' < data | cksum; echo ${PIPESTATUS[0]}
$s -tt 'tty | cut -c1-9; stty -a | grep -o "icanon"; echo done' < /dev/null | tr -d '\r'
echo "get $PWD/data $PWD/copy" | sftp -q -P 2222 $o -b - 127.0.0.1 > out; cmp data copy && echo same
mv auth gone; $s true 2>&1 | sed 's/.*: //'; mv gone auth
$s -N -L 127.0.0.1:2300:127.0.0.1:2222 & forward=$!; up 2300; head -c 7 < /dev/tcp/127.0.0.1/2300; echo; kill $forward
kill %1; wait; grep -i fatal log
"""

GIT = r"""
export HOME=$PWD; git config --global user.email a@b; git config --global user.name n
git init -q -b main r; cd r; for i in 1 2 3 4 5; do seq $((i*500)) > f$i; git add .; git commit -qm c$i; done; cd ..
git daemon --base-path=. --export-all --listen=127.0.0.1 --port=9418 --enable=receive-pack 2> log & up 9418
git clone -q git://127.0.0.1/r c; cd c; git log --oneline --stat | cksum; echo more > f9; git add .; git commit -qm more
git push -q origin HEAD:side; cd ..; git -C r log --oneline side | wc -l; git -C r fsck --full
git clone -q --depth 1 git://127.0.0.1/r d; git -C d log --oneline | wc -l
git ls-remote git://127.0.0.1/none 2>&1 | head -n 1; git -C r update-server-info
python3 -m http.server -b 127.0.0.1 8000 --directory r/.git 2> web >&2 & up 8000
git clone -q http://127.0.0.1:8000/ h; git -C h log --oneline | cksum; kill %1 %2; wait
"""

RSYNC = r"""
mkdir -p src/a/b; for i in $(seq 20); do seq $((i*300)) > src/a/f$i; done; ln -s f1 src/a/link; chmod 600 src/a/f3
touch -d 2001-02-03 src/a/f4; ln src/a/f5 src/a/b/hard; mkfifo src/a/fifo; echo u:pw > secrets; chmod 600 secrets
cat > conf <<END
use chroot = yes
log file = $PWD/log
[m]
path = $PWD/src
read only = no
uid = root
gid = root
auth users = u
secrets file = $PWD/secrets
[public]
path = $PWD/src
uid = root
END
rsync --daemon --no-detach --address=127.0.0.1 --port=8730 --config=conf & up 8730
url=rsync://127.0.0.1:8730/public/; rsync -aH $url to/; (cd to; find . | sort | xargs stat -c '%n %s %a %h %F')
stat -c %Y to/a/f4; echo x >> src/a/f20; touch -d 2002-02-03 src/a/f20
rsync -aHi $url to/; rsync -aH --stats $url to/ | grep -E 'transferred|created'
export RSYNC_PASSWORD=pw; echo new > to/new; rsync -aiHO to/ rsync://u@127.0.0.1:8730/m/; cat src/new
RSYNC_PASSWORD=bad rsync -a to/ rsync://u@127.0.0.1:8730/m/ 2>&1 | head -n 1; rsync -aO to/ $url 2>/dev/null; echo $?
rsync rsync://127.0.0.1:8730/; kill %1; wait
"""

REDIS = r"""
start() { redis-server --port 6379 --bind 127.0.0.1 --unixsocket $PWD/s --save '' --appendonly yes --logfile log & }
ready() { until [ "$(redis-cli ping 2>/dev/null)" = PONG ]; do sleep 0.1; done; }
start; ready; redis-cli set a 1; redis-cli incr a; redis-cli -s s lpush l x y z; redis-cli lrange l 0 -1
redis-cli eval 'return redis.call("get","a")*2' 0; seq 1000 | sed 's/.*/set k& v&/' | redis-cli --pipe | tail -n 1
redis-cli blpop q 9 & pop=$!; sleep 0.2; redis-cli rpush q hi > pushed; wait $pop; redis-cli save
redis-cli psetex e 50 x; sleep 0.2; redis-cli exists e
redis-benchmark -q -n 500 -c 20 -t set 2>&1 | tr '\r' '\n' | grep -c 'requests per second'
redis-cli shutdown nosave; wait; start; ready; redis-cli dbsize; redis-cli get a; redis-cli shutdown; wait
"""

SOCAT = r"""
seq 30000 > data; s="socat -t 100"  # by itself it waits half a second for the end of an answer
$s TCP4-LISTEN:7001,bind=127.0.0.1,reuseaddr,fork EXEC:'tr 0-9 a-j' & up 7001
for i in 1 2 3; do ($s - TCP4:127.0.0.1:7001 < data | cksum) & all="$all $!"; done; wait $all
$s TCP6-LISTEN:7002,ipv6only=0,reuseaddr,fork TCP4:127.0.0.1:7001 & up 7002
$s - 'TCP6:[::1]:7002' < data | cksum
$s UDP4-RECVFROM:7003,fork EXEC:'tr a-z A-Z' &
until echo hello | socat -t 0.5 - UDP4:127.0.0.1:7003 2>/dev/null | grep .; do :; done
$s ABSTRACT-LISTEN:here,fork EXEC:cat 2>/dev/null &
until $s - ABSTRACT-CONNECT:here < data 2>/dev/null > got; do sleep 0.05; done; cksum < got
$s PTY,link=pty,raw,echo=0 EXEC:'tr a-z A-Z',pty,raw,echo=0 & until [ -e pty ]; do sleep 0.05; done
(exec 5<>pty; echo line >&5; read -u 5 x; echo $x)
$s - TCP4:127.0.0.1:7999 2>&1 | sed 's/.*E //'; kill $(jobs -p); wait 2>/dev/null
"""

TLS = r"""
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec -out cert -subj /CN=here 2>/dev/null
seq 5000 > page; openssl s_server -accept 127.0.0.1:4433 -key ec -cert cert -WWW -quiet 2>/dev/null & up 4433
c="openssl s_client -connect 127.0.0.1:4433 -CAfile cert"
for v in -tls1_2 -tls1_3; do $c $v 2>&1 < /dev/null | grep -E '^Verif|^New|Cipher is' | head -n 2; done
printf 'GET /page HTTP/1.0\r\n\r\n' | $c -quiet 2>/dev/null | cksum
curl -s --cacert cert --resolve here:4433:127.0.0.1 https://here:4433/page | cmp - page && echo same
curl -s https://127.0.0.1:4433/page; echo $?; kill %1
"""

MEMCACHED = r"""
memcached -u root -l 127.0.0.1 -p 11311 -t 4 & up 11311
say() { exec 3<>/dev/tcp/127.0.0.1/11311; printf "$1quit\r\n" >&3; }
say 'set a 0 0 5\r\nhello\r\nget a\r\nincr a 1\r\nset n 0 0 1\r\n7\r\nincr n 35\r\nget n\r\n'; cat <&3
for i in 1 2 3 4 5 6; do (
    exec 3<>/dev/tcp/127.0.0.1/11311
    for j in $(seq 50); do printf 'set k%d_%d 0 0 3\r\nabc\r\n' $i $j >&3; read -u 3 x; done; echo $x
) & all="$all $!"; done; wait $all
say 'stats\r\n'; grep -aE 'curr_items|cmd_set|threads' <&3; kill %1; wait
"""
