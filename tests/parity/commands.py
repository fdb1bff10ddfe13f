"""The commands of the parity test, by name: each is run by the host's Linux and by JefeOS on the same files.

A command is a script for ``sh -c`` (a string) or an argument vector (a list), run in a fresh folder with only the
files of `FILES` in it. ``{p}`` is the folder of the compiled test programs. What depends on the machine or the
moment (pids, times, inode numbers, sizes of kernel structures) is not printed by any of them.
"""

from __future__ import annotations

FILES = {
    "text": b"the quick brown fox\njumps over\nthe lazy dog\n",
    "numbers": b"".join(b"%d\n" % ((n * 7919) % 1000) for n in range(200)),
    "blob": bytes((n * n + 7) % 256 for n in range(50000)),
    "people.csv": b"name,age\nada,36\nalan,41\ngrace,85\n",
}

PYTHON = "/usr/bin/python3"

COMMANDS: dict[str, str | list[str]] = {
    # compiled programs, static and dynamic, glibc and musl
    "hello-glibc-static": ["{p}/hello-glibc-static", "a", "b c"],
    "hello-glibc-dynamic": ["{p}/hello-glibc-dynamic", "a", "b c"],
    "hello-musl-static": ["{p}/hello-musl-static", "a", "b c"],
    "hello-musl-dynamic": ["{p}/hello-musl-dynamic", "a", "b c"],
    "threads-glibc": ["{p}/threads-glibc-dynamic"],
    "threads-musl": ["{p}/threads-musl-static"],
    "forks-200": ["{p}/forks-glibc-static", "200"],
    "signals-glibc": ["{p}/signals-glibc-static"],
    "signals-musl": ["{p}/signals-musl-dynamic"],
    "memory-glibc": ["{p}/memory-glibc-static"],
    "memory-musl": ["{p}/memory-musl-static"],
    "files-glibc": ["{p}/files-glibc-dynamic"],
    "files-musl": ["{p}/files-musl-static"],
    "deadly-instruction": ["{p}/deadly-glibc-static"],
    "killed-by-wild-pointer": ["{p}/crash-glibc-static", "wild"],
    "killed-by-stack-overflow": ["{p}/crash-glibc-static", "stack"],
    "killed-by-division": ["{p}/crash-glibc-static", "divide"],
    "killed-by-abort": ["{p}/crash-musl-static", "abort"],
    "killed-by-illegal-instruction": ["{p}/crash-musl-static", "illegal"],
    # shells
    "sh-loop": "i=0; while [ $i -lt 5 ]; do echo $i; i=$((i+1)); done",
    "sh-pipeline": "cat text | tr a-z A-Z | sort | head -2",
    "sh-substitution": 'x=$(echo one $(echo two)); echo "$x" | wc -c',
    "sh-redirection": "echo a > out; echo b >> out; cat < out; ls missing 2> err || echo failed; wc -l < out",
    "sh-here-document": "cat <<END\nline $((1+1))\nEND",
    "sh-background": "(until test -e go; do sleep 0.1; done; echo late) & echo early; touch go; wait; echo done",
    "sh-status": "(exit 42); echo $?; false || echo or; true && echo and; exit 7",
    "sh-trap": "trap 'echo term' TERM; kill -TERM $$; trap 'echo bye' EXIT; echo end",
    "sh-killed-child": "sh -c 'kill -9 $$'; echo $?; sh -c 'kill -SEGV $$'; echo $?",
    "sh-functions": "f() { echo $#: $1; return 3; }; f a b; echo $?",
    "sh-globs": "touch a1 a2 b1; echo a* [ab]1 *.none; rm a?; ls",
    "sh-case": 'for w in apple bean; do case $w in a*) echo A;; *) echo other;; esac; done',
    "sh-not-found": "no-such-command-here; echo $?",
    "sh-not-executable": "echo x > plain; ./plain; echo $?",
    "sh-script-file": "printf '#!/bin/sh\\necho script $1\\n' > s; chmod +x s; ./s arg",
    "sh-fifo": "mkfifo p; echo through > p & cat p; wait; ls",
    "sh-cd-pwd": "mkdir -p a/b; cd a/b; cd ..; pwd | sed 's/.*parity/parity/' | grep -c /a$; ls",
    "sh-umask": "umask 027; touch f; mkdir d; stat -c '%a %n' f d; umask",
    "busybox-sh": ["/bin/busybox", "sh", "-c", "for i in 1 2 3; do echo $i; done | while read x; do echo got $x; done"],
    "busybox-awk": ["/bin/busybox", "awk", "-F,", "NR>1{s+=$2} END{print s}", "people.csv"],
    "busybox-trap": ["/bin/busybox", "sh", "-c", "trap 'echo usr' USR1; kill -USR1 $$; sleep 0.1 & wait; echo $(echo sub)"],
    "dash": ["/bin/dash", "-c", "set -- x y z; shift; echo $# $*; exec 3>f; echo hi >&3; cat f"],
    "bash-arrays": ["/bin/bash", "-c", "a=(1 2 3); echo ${#a[@]} ${a[@]:1}; declare -A m=([k]=v); echo ${m[k]}"],
    "bash-arithmetic": ["/bin/bash", "-c", "echo $((2**20)) $((7%3)); for ((i=0;i<3;i++)); do printf '%03d ' $i; done; echo"],
    "bash-process-substitution": ["/bin/bash", "-c", "diff <(echo a; echo b) <(echo a; echo c)"],
    "bash-here-string": ["/bin/bash", "-c", "read x y <<< 'one two'; echo $y; [[ abc =~ ^a(.)c$ ]] && echo ${BASH_REMATCH[1]}"],
    "bash-jobs": ["/bin/bash", "-c", "sleep 0.05 & p=$!; wait $p; echo $?; (exit 5) & wait $!; echo $?"],
    "bash-pipestatus": ["/bin/bash", "-c", "true | false | (exit 3); echo ${PIPESTATUS[@]}"],
    # coreutils and friends
    "ls-long": "mkdir d; ln -s text l; ls -ln --time-style=+ | awk 'NR>1{print $1,$2,$3,$4,$NF}'",
    "cp-mv-rm": "cp text t2; mv t2 t3; ln t3 t4; stat -c '%h %s' t4; rm t3; cat t4; rm -r -f t4 nothing; ls",
    "sort-uniq": "sort -n numbers | uniq -c | sort -rn | head -5",
    "head-tail": "head -n 3 numbers; tail -n 2 numbers; head -c 10 blob | od -An -tx1",
    "checksums": "md5sum blob text; sha256sum blob; cksum text",
    "cut-paste": "cut -d, -f2 people.csv | paste -s -d+; tr -d '\\n' < text; echo",
    "dd": "dd if=blob of=part bs=1000 skip=3 count=2 status=none; cmp part blob; wc -c part",
    "find": "mkdir -p x/y/z; touch x/1 x/y/2; find x -type f | sort; find x -name z -printf '%d %f\\n'",
    "tar-gzip": "mkdir d; cp text d; tar czf d.tgz d; rm -r d; tar xzf d.tgz; cat d/text; tar tzf d.tgz",
    "gzip-xz": "gzip -k text; gzip -dc text.gz | cmp - text && echo same; rm text.gz",
    "sed": "sed -n '2p;s/the/THE/gp' text; sed -i 's/fox/cat/' text; cat text",
    "grep": "grep -c the text; grep -n o text; grep -q missing text; echo $?; grep -E '^(1|2).$' numbers | sort -u",
    "diff": "cp text t2; echo more >> t2; diff text t2; echo $?",
    "env": ["/usr/bin/env", "-i", "A=1", "B=2", "/usr/bin/env"],
    "xargs": "printf '%s\\n' a b c | xargs -n1 echo item; seq 3 | xargs -I{} echo n{}",
    "expr-test": "expr 3 + 4 \\* 2; [ -f text ] && echo file; [ -d text ]; echo $?; test 2 -gt 1 && echo gt",
    "links": "ln -s nowhere broken; readlink broken; cat broken; ln -s text good; cat good | head -1; realpath good | sed 's,.*/,,'",
    "permissions": "chmod 640 text; stat -c %a text; chmod u+x,o= text; stat -c %A text; mkdir -m 1777 t; stat -c %a t",
    "timestamps": "touch -d '2001-02-03 04:05:06 UTC' text; TZ=UTC date -r text +%Y-%m-%dT%H:%M:%S; TZ=UTC stat -c %y text",
    "truncate": "truncate -s 10000 hole; stat -c '%s' hole; truncate -s 4 text; cat text; echo; cmp hole /dev/zero",
    "date": ["/bin/date", "-u", "-d", "@1000000000", "+%F %T %a"],
    "devices": "head -c 5 /dev/zero | od -An -c; echo x > /dev/null; cat /dev/null; echo full > /dev/full",
    "seq-factor": "seq -s, 1 3 20; factor 1234567890 97; basename /a/b.c .c; dirname /a/b",
    "timeout": "timeout 0.2 sleep 10; echo $?; timeout 60 echo quick",
    "nice-nohup": "expr $(nice -n 5 nice) - $(nice); nohup echo out 2>/dev/null",
    "tee-split": "tee copy < text | wc -l; split -l 1 text part-; ls; cat part-ab",
    "yes-sigpipe": "yes | head -3; yes hello | head -c 20 | wc -c",
    "id-uname": "id -u; uname -s -m; getent passwd root | cut -d: -f1,3,7",
    "sparse-files": "truncate -s 64M a; du a; dd if=/dev/zero of=a bs=4k count=3 seek=99 conv=notrunc status=none; du a; fallocate -l 1M b; du b; truncate -s 4096 b; du b; cp --sparse=always a c; du c; truncate -s 0 a; du a; seq 9999 >> a; du a",
    "setarch": "setarch i686 sh -c 'uname -m; setarch x86_64 uname -m; sh -c \"uname -m\"'; uname -m",
    "fallocate": "fallocate -l 9000 text; fallocate -p -o 1 -l 2 text; fallocate -n -l 99999 text; stat -c %s text; head -c 6 text | od -c",
    "flock": "flock lock sh -c 'flock -n lock true || echo busy'; flock lock echo free; flock -w 0.1 lock true; echo $?",
    "timeout-signals": "timeout --preserve-status 0.1 sleep 9; echo $?; timeout -s USR1 0.1 sleep 9; echo $?; setsid -w sh -c 'exit 5'; echo $?",
    "xargs-parallel": "find /etc/init.d -type f -print0 | sort -z | xargs -0 -P4 -n2 cksum | sort | cksum",
    "compressors": "for z in xz zstd bzip2; do $z -q < blob | $z -dc | cmp - blob && echo $z; done",
    "tree-diff": "cp -a /etc/init.d one; cp -a one two; diff -r one two && echo same; echo x > two/more; diff -r one two; rm -r one two",
    # languages
    "python-print": [PYTHON, "-c", "print(2+2)"],
    "python-files": [PYTHON, "-c", "import os,pathlib; p=pathlib.Path('d'); p.mkdir(); (p/'f').write_text('x'*9);"
                     " print(sorted(os.listdir('.')), os.stat('d/f').st_size); os.rename('d/f','g'); print(os.path.exists('g'))"],
    "python-subprocess": [PYTHON, "-c", "import subprocess as s; print(s.run(['sort'],input=b'b\\na\\n',capture_output=True));"
                          " print(s.run('exit 3',shell=True).returncode, s.run(['sh','-c','kill -15 $$']).returncode)"],
    "python-threads": [PYTHON, "-c", "import threading,queue; q=queue.Queue(); t=[threading.Thread(target=lambda i=i:q.put(i*i))"
                       " for i in range(8)]; [x.start() for x in t]; [x.join() for x in t]; print(sorted(q.queue))"],
    "python-signals": [PYTHON, "-c", "import signal,os; signal.signal(signal.SIGUSR1,lambda s,f:print('got',s));"
                       " os.kill(os.getpid(),signal.SIGUSR1); signal.alarm(1); signal.pause()"],
    "python-mmap": [PYTHON, "-c", "import mmap; f=open('blob','r+b'); m=mmap.mmap(f.fileno(),0); m[0:4]=b'ABCD'; m.flush();"
                    " print(m.find(b'ABCD'), len(m)); m.close(); print(open('blob','rb').read(6))"],
    "python-json-re": [PYTHON, "-c", "import json,re,hashlib,zlib; print(json.dumps({'a':[1,None,'é']}),re.findall('o.',open('text').read()),"
                       "hashlib.sha1(b'x').hexdigest(),zlib.crc32(b'abc'))"],
    "python-unix-socket": [PYTHON, "-c", "import socket,os,stat; s=socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(); c=socket.socket(socket.AF_UNIX);"
                           " c.connect('s'); a,_=s.accept(); a.send(b'x'); print(c.recv(3), stat.filemode(os.stat('s').st_mode), c.getpeername()); os.unlink('s')"],
    "python-asyncio": [PYTHON, "-c", "import asyncio\nasync def main():\n p=await asyncio.create_subprocess_shell('cat; exit 3',stdin=-1,stdout=-1);"
                       " o,_=await p.communicate(b'x'*100000); print(len(o),p.returncode); print(await asyncio.gather(*[asyncio.to_thread(pow,2,i) for i in range(5)]))\n"
                       "asyncio.run(main())"],
    "affinity-of-init": "taskset -p 1 >/dev/null; echo $?",
    "python-pidfd": [PYTHON, "-c", "import os,signal; d=os.open('/proc/%d'%os.getpid(),os.O_DIRECTORY); signal.pidfd_send_signal(d,15)"],
    "python-float": [PYTHON, "-c", "import math; print(math.pi**0.5, 0.1+0.2, math.sin(1e10), float('1e-310'), 2.5.__round__())"],
    "python-traceback": [PYTHON, "-c", "def f(): raise ValueError('x')\nf()"],
    "python-multiprocessing": [PYTHON, "-c", "import os; r,w=os.pipe(); pid=os.fork()\nif pid==0: os.write(w,b'child'); os._exit(6)\n"
                               "print(os.read(r,9), os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))"],
    "perl": ["/usr/bin/perl", "-e", 'my %h=(a=>1,b=>2); print join(",",map{"$_=$h{$_}"}sort keys %h),"\\n"; print `echo sub`; open F,"<text"; print scalar(<F>); exit 4'],
    "perl-fork": ["/usr/bin/perl", "-e", 'for my $i (1..3){ my $p=fork; if(!$p){exit $i} waitpid $p,0; print $?>>8," " } print "\\n"; local $SIG{ALRM}=sub{print "alarm\\n"}; alarm 1; select undef,undef,undef,3;'],
    "gawk": ["/usr/bin/gawk", "-F,", "NR>1{a[$1]=$2} END{n=asorti(a,k); for(i=1;i<=n;i++) print k[i],a[k[i]]; print strftime(\"%Y\",0,1), sqrt(2)}", "people.csv"],
    "gawk-getline": ["/usr/bin/gawk", "BEGIN{while((\"sort -n numbers\"|getline x)>0) s+=x; print s; print \"to sort\" | \"sort\"; close(\"sort\"); system(\"echo sys\")}"],
    "sqlite3": "sqlite3 db 'create table t(a,b); insert into t values(1,2),(3,4); select sum(a*b) from t;'; sqlite3 db .dump",
    "sqlite3-script": "printf 'begin;\\ncreate table n(x);\\nwith recursive c(i) as (select 1 union all select i+1 from c where i<100) insert into n select i from c;\\ncommit;\\nselect count(*),sum(x) from n;\\n' | sqlite3 db2; sqlite3 db2 'pragma integrity_check'",
}
