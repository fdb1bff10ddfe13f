# Utilities on processes, the system, terminals, programs and source code.
#= admin
printf 'line\n' > f; admin -if s.f; ls; admin -h s.f; echo $?; admin -n s.g; get -p s.f 2>/dev/null
#= delta
printf 'one\n' > f; admin -if s.f 2>/dev/null; rm f; get -e s.f >/dev/null 2>&1; echo two >> f; delta -y'second' s.f 2>&1 | grep -c inserted; get -p s.f 2>/dev/null
#= get
printf 'text %%M%%\n' > f; admin -if s.f; rm f; get s.f 2>/dev/null; cat f; get -p s.f 2>/dev/null; get s.missing 2>/dev/null; echo $((!!$?))
#= prs
printf 'x\n' > f; admin -if s.f 2>/dev/null; prs -d':M: :I: :DT:' s.f
#= rmdel
printf 'x\n' > f; admin -if s.f 2>/dev/null; rm f; get -e s.f >/dev/null 2>&1; echo y >> f; delta -yc s.f >/dev/null 2>&1; rmdel -r1.2 s.f; prs -d:I: s.f
#= sact
printf 'x\n' > f; admin -if s.f 2>/dev/null; rm f; get -e s.f >/dev/null 2>&1; sact s.f | awk '{print $1, $2}'
#= sccs
printf 'x\n' > f; mkdir SCCS; sccs create f >/dev/null 2>&1; ls SCCS; sccs get f >/dev/null 2>&1; cat f
#= unget
printf 'x\n' > f; admin -if s.f 2>/dev/null; rm f; get -e s.f >/dev/null 2>&1; unget s.f; ls
#= val
printf 'x\n' > f; admin -if s.f 2>/dev/null; val s.f; echo $?; echo junk > s.g; val s.g >/dev/null; echo $((!!$?))
#= what
printf 'x@(#)name 1.2\nmore' > f; what f; what -s f; printf none > g; what g; echo $?
#= at
at -l; echo $?; echo 'true' | at nonsense 2>/dev/null; echo $((!!$?))
#= batch
batch -V 2>&1 | head -c 2; at -q z -l; echo $?
#= c17
printf 'int main(void) { return 7; }\n' > f.c; c17 f.c && ./a.out; echo $?
#= cal
cal 2 2024; cal 9 1752; cal 13 2024 2>/dev/null; echo $((!!$?))
#= cflow
printf 'void g(void) {}\nvoid f(void) { g(); }\nint main(void) { f(); return 0; }\n' > f.c; cflow f.c
#= cxref
printf 'int shared;\nint main(void) { return shared; }\n' > f.c; cxref -xref f.c >/dev/null 2>&1; echo $?; ls | grep -v '^cxref\.'
#= ctags
printf 'int first;\nint f(void) { return first; }\n' > f.c; ctags f.c; grep -c '^f' tags; ctags -x f.c | awk '{print $1}'
#= crontab
crontab -l >/dev/null 2>&1; echo $((!!$?)); echo 'junk line' | crontab - >/dev/null 2>&1; echo $((!!$?))
#= date
date -u -d @1718370309 '+%Y-%m-%d %H:%M:%S %j %a %Z'; date +%Y | grep -c '^2'; TZ=EST5EDT date -d @0 +%H; date +%% ; date x 2>/dev/null; echo $?
#= env
env -i A=1 B=2 env; env A=x sh -c 'echo $A'; env ./missing 2>/dev/null; echo $?; env -u TERM sh -c 'echo ${TERM-unset}'
#= getconf
getconf PATH; getconf PAGESIZE; getconf NAME_MAX .; getconf _POSIX_VERSION; getconf NO_SUCH_NAME 2>/dev/null; echo $?
#= id
id -u; id -un; id -G; id; id daemon; id nosuchuser 2>/dev/null; echo $?
#= ipcs
q=$(ipcmk -Q | sed 's/.*: //'); m=$(ipcmk -M 5000 | sed 's/.*: //'); s=$(ipcmk -S 3 | sed 's/.*: //')
ipcs -q | awk -v i=$q '$2 == i {print $3, $4, $5, $6}'; ipcs -m | awk -v i=$m '$2 == i {print $3, $4, $5, $6}'
ipcs -s | awk -v i=$s '$2 == i {print $3, $4, $5}'; ipcs | grep -c -e Queues -e Segments -e Arrays; ipcs -l
ipcrm -q $q -m $m -s $s; ipcs -q -i $q 2>/dev/null; echo $?
#= ipcrm
i=$(ipcmk -S 2 | sed 's/.*: //'); ipcrm -s $i; echo $?; ipcrm -s $i 2>/dev/null; echo $?
#= locale
locale; locale charmap; locale -k decimal_point; locale -a | grep -c '^C$'
#= localedef
printf 'LC_MESSAGES\nyesexpr "^[yYjJ]"\nnoexpr "^[nN]"\nEND LC_MESSAGES\n' > source
localedef -c -i ./source ./out 2>/dev/null; echo $?; ls out | wc -l; cksum < out/LC_MESSAGES/SYS_LC_MESSAGES
#= logger
logger -s -t tag --no-act --socket-errors=off 'a message' 2>&1 | sed 's/^<\([0-9]*\)>.* tag:/\1 tag:/'
logger -s -p mail.err --no-act --socket-errors=off x 2>&1 | cut -d'>' -f1; logger -p no.such x 2>/dev/null; echo $?
#= logname
logname >/dev/null 2>&1; echo $((!!$?))
#= lp
lp -V 2>/dev/null; lp missing 2>/dev/null; echo $?
#= mailx
printf 'From a@b Thu Jan  1 00:00:00 2024\nFrom: a@b\nSubject: hello\n\nbody text\n\n' > box
printf 'p 1\ns 1 saved\nx\n' | mailx -N -f box | grep -e hello -e body; grep -c Subject saved; mailx -f missing < /dev/null >/dev/null 2>&1; echo $?
#= make
printf 'all: b\n\t@echo made $@ $(V)\nb: a\n\tcp $< $@\n.PHONY: all\n' > Makefile; echo x > a; make; make V=2; make -n b; make missing 2>/dev/null; echo $?; printf 'f:\n\tfalse\n' | make -f - 2>/dev/null; echo $?
#= man
printf '.TH X 1\n.SH NAME\nx \\- a page\n' > x.1; man -l ./x.1 2>/dev/null | head -3; man no-such-page 2>/dev/null; echo $?
#= mesg
mesg >/dev/null 2>&1; echo $?; mesg z >/dev/null 2>&1; echo $?
#= newgrp
echo id -gn | newgrp daemon; newgrp nosuchgroup 2>/dev/null; echo $((!!$?))
#= nice
nice; nice -n 5 nice; nice -n 5 sh -c 'nice -n 3 nice'; nice ./missing 2>/dev/null; echo $?
#= nm
printf 'int shared = 1;\nstatic int own(void) { return 2; }\nint f(void) { return own(); }\n' > f.c; gcc -c f.c; nm f.o; nm -g -P f.o
#= strip
printf 'int main(void) { return 3; }\n' > f.c; gcc -g f.c -o f; strip f; ./f; echo $?; nm f 2>&1 | grep -c 'no symbols'
#= nohup
nohup sh -c 'trap; echo $?; kill -HUP $$; echo alive' 2>/dev/null; nohup ./missing 2>/dev/null; echo $?
#= ps
ps -o pid= -p $$ | awk -v p=$$ '{print ($1 == p)}'; ps -o comm= -p $$; ps -A | awk 'NR > 1 {n++} END {print (n > 0)}'; ps -p 99999999; echo $?
#= renice
renice -n 4 -p $$ >/dev/null; nice; renice -n 1 -p 99999999 2>/dev/null; echo $?
#= sleep
sleep 0; echo $?; sleep 0.1 && echo slept; sleep x 2>/dev/null; echo $?
#= stty
stty < /dev/null 2>/dev/null; echo $?; script -qec 'stty -echo; stty -a | grep -o -e -echo\  ; stty rows 30 cols 99; stty size; stty -g | tr -dc : | wc -c' /dev/null < /dev/null | tr -d '\r'
#= talk
talk 2>/dev/null; echo $((!!$?))
#= time
time -p true 2>&1 | awk '{print $1, ($2 >= 0)}'; /usr/bin/time -p sh -c 'exit 3' 2>/dev/null; echo $?; /usr/bin/time -p ./missing 2>/dev/null; echo $?
#= timeout
timeout 5 true; echo $?; timeout 0.2 sleep 5; echo $?; timeout -s KILL 0.2 sleep 5; echo $?; timeout 5 sh -c 'exit 9'; echo $?; timeout 5 ./missing 2>/dev/null; echo $?; timeout -k 0.2 0.2 sh -c 'trap "" TERM; sleep 5; sleep 5'; echo $?
#= tput
tput -T vt100 cols; tput -T vt100 clear | od -c | head -1; tput -T vt100 cup 3 4 | od -c | head -1; tput -T nosuchterm cols 2>/dev/null; echo $?; tput -T vt100 longname
#= tty
tty < /dev/null; echo $?; script -qec tty /dev/null < /dev/null | grep -c '^/dev/pts/'
#= uname
uname; uname -m; uname -s -m; uname -r | grep -c .; uname -x 2>/dev/null; echo $?
#= uucp
uucp missing-file host!x 2>/dev/null; echo $((!!$?))
#= uustat
uustat -q 2>/dev/null; echo $?
#= uux
uux 2>/dev/null; echo $((!!$?))
#= who
who missing-file; echo $?; who am i < /dev/null; echo $?; who -q missing-file
#= write
write nosuchuser < /dev/null 2>/dev/null; echo $((!!$?))
