# The shell's special built-ins and those utilities that live in a shell. Each piece is a script for /bin/sh.
#= break
for i in 1 2 3; do for j in a b; do [ $i$j = 2a ] && break 2; echo $i$j; done; done; echo out
#= colon
: ${UNSET:=given}; echo "$UNSET $?"; : > made; ls made
#= continue
for i in 1 2 3; do for j in a b; do [ $j = b ] && continue 2; echo $i$j; done; echo never; done
#= dot
echo 'V=sourced; return 3; V=never' > f; . ./f; echo "$? $V"; (. ./missing) 2>/dev/null; echo $((!!$?))
#= eval
x='echo $y'; y='a b'; eval $x; eval 'exit() { echo caught; }' 2>/dev/null; eval "(exit 4)"; echo $?; eval; echo $?
#= exec
exec 5>out; echo five >&5; exec 5>&-; cat out; (exec echo replaced; echo never); (exec ./missing) 2>/dev/null; echo $?
#= exit
(exit 300); echo $?; (false; exit); echo $?; trap 'echo trap' EXIT; exit 9
#= export
A=1; export A B=2; sh -c 'echo $A $B'; export -p | grep -c "^export [AB]="
#= readonly
readonly R=1; (R=2) 2>/dev/null; echo "$? $R"; (unset R) 2>/dev/null; echo $((!!$?)); readonly -p | grep R=
#= return
f() { return ${1-}; echo never; }; f 7; echo $?; false; f; echo $?
#= set
set -- a 'b c' d; echo $# "$2"; set -e; (false; echo never); echo $- | grep -c e; set +e; set -u; (echo $UNSET) 2>/dev/null; echo $?
#= shift
set -- 1 2 3 4; shift; echo $1; shift 2; echo $1 $#; (shift 9) 2>/dev/null; echo $((!!$?))
#= times
times | wc -l; times | grep -c '^[0-9]*m[0-9.]*s [0-9]*m[0-9.]*s$'
#= trap
trap 'echo got' USR1; kill -USR1 $$; trap - USR1; trap '' TERM; kill $$; trap; (trap 'echo end' EXIT); (trap 'exit 5' INT; kill -INT $$; exit 6); echo $?
#= unset
A=1; unset A; echo ${A-none}; f() { echo f; }; unset -f f; f 2>/dev/null; echo $?; unset NEVER; echo $?
#= alias
alias hi='echo hello '; alias hi; eval 'hi there'; alias none 2>/dev/null; echo $?
#= unalias
alias a=b c=d; unalias a; alias; unalias -a; alias; unalias zz 2>/dev/null; echo $((!!$?))
#= bg
bash -c 'set -m; (kill -STOP $BASHPID; echo resumed) & wait %1; bg %1; wait %1; echo $?' 2>/dev/null
#= fg
bash -c 'set -m; (sleep 0.1; echo done; exit 5) & fg %1; echo $?; fg' 2>/dev/null; echo $?
#= jobs
sleep 5 & jobs > list; grep -c Running list; jobs -p > list; grep -cx $! list; kill $!; wait $! 2>/dev/null; echo $?
#= cd
mkdir -p d/e; ln -s d/e l; cd l; pwd | sed 's,.*/u-cd,,'; cd -P .; pwd | sed 's,.*/u-cd,,'; cd - >/dev/null; cd ../; pwd | sed 's,.*/u-cd,,'; cd missing 2>/dev/null; echo $?
#= command
command -v cd sh; command -V true >/dev/null; echo $?; true() { false; }; command true; echo $?; command -p ls -d /; command ./none 2>/dev/null; echo $?
#= fc
printf 'set -o history\necho one\necho two\nfc -l 1 2\nfc -ln 2 1\nfc -s one=uno 1\nfc -s none\n' | bash --norc 2>&1
#= getopts
set -- -a -b val -x rest; while getopts :ab: o; do echo "$o ${OPTARG-}"; done; echo $OPTIND; shift $((OPTIND - 1)); echo $1
#= hash
hash ls && echo $?; hash no_such_program 2>/dev/null; echo $?; hash -r; echo $?
#= kill
sleep 9 & kill $!; wait $! ; echo $?; kill -l 15; kill -0 $$; echo $?; kill -0 99999999 2>/dev/null; echo $?; sleep 9 & kill -s KILL $!; wait $!; echo $?
#= pwd
mkdir d; ln -s d l; cd l; pwd | grep -c 'u-pwd/l$'; pwd -P | grep -c 'u-pwd/d$'; /bin/pwd -L | grep -c 'l$'
#= read
printf 'a b\\\nc d\nlast' | { read x y; echo "[$x][$y]"; read -r z; echo "$? [$z]"; read w; echo "$? [$w]"; }; echo 1:2:3 | { IFS=: read p q; echo $q; }
#= sh
sh -c 'echo $0 $1' name arg; echo 'echo piped' | sh; sh -e -c 'false; echo never'; echo $?; sh -c 'echo $((3 * (4 + 5)))'; sh -n -c 'if'; echo $?
#= type
type cd | head -1; type ls | grep -c ls; type no_such_program >/dev/null 2>&1; echo $?
#= ulimit
ulimit -f 1; ulimit -f; (head -c 2000 /dev/zero > big) 2>/dev/null; echo $((!!$?)); ls -l big | awk '{print $5}'; ulimit -n | grep -c .
#= umask
umask 027; umask; umask -S; touch f; stat -c %a f; umask g=rwx; umask; mkdir d; stat -c %a d
#= wait
(exit 3) & wait $!; echo $?; (exit 1) & (exit 2) & wait; echo $?; wait 99999999 2>/dev/null; echo $?
#= true
true; echo $?; /bin/true ignored; echo $?
#= false
false; echo $?; /bin/false; echo $?
#= test
test -d . && echo d; [ a \< b ] ; [ 5 -gt 4 -a ! x = y ]; echo $?; touch f; test -s f; echo $?; test -e f -a -w f; echo $?; /usr/bin/test 1 -eq x 2>/dev/null; echo $?; ln -s f l; test -L l; echo $?
#= echo
echo a  "b  c"; /bin/echo one; echo; /bin/echo 'back\slash'
#= printf
printf '%s|%5d|%-4s|%c|%%|%x|%b\n' str 42 ab cd 255 'tab\there'; printf '%d %s\n' 1 a 2 b; printf '%d\n' 0x1f "'A"; /usr/bin/printf '%.3e\n' 12345.678; printf '%d\n' x 2>/dev/null; echo $?
