# Utilities on text.
#= asa
printf ' one\n0two\n1three\n' | asa
#= awk
printf '1 a\n2 b\n3 c\n' > f; awk '{s += $1} END {print s, NR}' f; awk -F: 'BEGIN {OFS="-"} {$1=$1; print toupper($0), length($2), substr($2, 2)}' <<X
ab:cdef
X
awk 'BEGIN {n = split("a,b,c", p, ","); for (i = n; i; i--) printf "%s ", p[i]; x["k"]; print ("k" in x), match("foobar", /o+/), RSTART, RLENGTH; printf "%05.2f %c %s\n", 3.14159, 65, sprintf("%x", 255)}'; awk '/b/,/c/ {gsub(/[bc]/, "<&>"); print}' f; awk 'BEGIN {"echo cmd" | getline v; print v; exit 3}'; echo $?
#= bc
printf 'scale=5\n22/7\n2^64\nobase=16\n255\nibase=2\n1010\n' | bc; echo 's(1)*10^5/1' | bc -l | cut -c1-6; echo 'define f(n) { if (n < 2) return (1); return (n * f(n-1)); }
f(20)' | bc
#= cut
printf 'a:b:c\nno\n' | cut -d: -f2; printf 'abcdef\n' | cut -c2-4,6; printf 'a:b:c\nno\n' | cut -s -d: -f1,3; printf '\303\251x\n' | cut -b1-2
#= diff
printf 'a\nb\nc\n' > x; printf 'a\nB\nc\nd\n' > y; diff x y; diff -u x y | tail -n +3; diff -e x y; diff x x; echo $?; mkdir d e; echo 1 > d/f; diff -r d e; diff -b x missing 2>/dev/null; echo $?
#= ed
printf 'a\none\ntwo\n.\n1s/one/ONE/p\n$d\nw f\nq\n' | ed -s; cat f; printf '/missing/\nq\n' | ed -s f; echo $?
#= ex
printf 'one\ntwo\n' > f; printf '%%s/o/0/g\n1d\nw\nq\n' | ex -s f; cat f
#= vi
printf 'one\ntwo\n' > f; printf ':%%s/one/1/\n:wq\n' > s; vi -es -S s f < /dev/null; cat f
#= expand
printf 'a\tb\n\tc\n' | expand -t 4; printf 'a\tb\tc\n' | expand -t 3,9
#= unexpand
printf '        a       b\n' | unexpand | od -c | head -2; printf '    a   b\n' | unexpand -a -t 4 | od -c | head -1
#= fold
printf 'abcdefghij klm\n' | fold -w 6; printf 'one two three four\n' | fold -s -w 9
#= grep
printf 'one\nTwo\nthree\n' > f; grep o f; grep -in TWO f; grep -c e f; grep -v o f; grep -E '^(one|t.*)$' f; grep -F 'w' f; grep -q none f; echo $?; grep -l one f missing 2>/dev/null; echo $?; grep -x one f; grep '\(.\)\1' f; grep -e on -e ee f | wc -l
#= head
seq 20 > f; head -n 3 f; head f | wc -l; head -n 1 f f; head missing 2>/dev/null; echo $?
#= iconv
printf '\303\251' | iconv -f UTF-8 -t ISO-8859-1 | od -A n -t x1; printf '\377' | iconv -f UTF-8 -t UTF-16 2>/dev/null; echo $?; iconv -l | grep -c 'UTF-8//'
#= join
printf 'a 1\nb 2\nd 4\n' > x; printf 'a x\nb y\nc z\n' > y; join x y; join -a 1 -a 2 -e - -o 0,1.2,2.2 x y; join -v 1 x y
#= lex
printf '%%%%\n[0-9]+ printf("<%%s>", yytext);\n%%%%\nint yywrap(void) { return 1; }\nint main(void) { return yylex(); }\n' > l.l; lex l.l; grep -c yylex lex.yy.c | awk '{print ($1 > 0)}'; gcc -w lex.yy.c -o l && echo 'a12b3' | ./l
#= m4
printf 'define(`sq'"'"', `eval($1*$1)'"'"')dnl\nsq(12) ifelse(a, b, yes, no) len(`hello'"'"') substr(`abcdef'"'"', 2, 3)\n' | m4; echo 'X' | m4 -D X=defined; echo 'syscmd(`echo sys'"'"')sysval' | m4
#= more
printf 'one\ntwo\n' > f; more f | cat; more missing 2>/dev/null; echo $((!!$?))
#= nl
printf 'a\n\nb\n' > f; nl f; nl -ba -w3 -s: f; nl -bpb f
#= paste
printf '1\n2\n3\n' > x; printf 'a\nb\n' > y; paste x y; paste -d, x y; paste -s x; seq 4 | paste - -
#= patch
printf 'a\nb\nc\n' > f; cp f g; printf 'a\nX\nc\n' > h; diff -u f h > p; patch g p; cat g; patch -R g < p; cat g; patch -s g < /dev/null; echo $?; printf 'z\n' > bad; patch bad p >/dev/null; echo $?
#= pr
printf 'a\nb\n' > f; pr -t -n f; pr -t -2 -l 1 f; pr -h title -l 20 f | sed -n 3p | sed 's/.*title/title/' 
#= sed
printf 'one\ntwo\nthree\n' > f; sed 's/o/0/;2d' f; sed -n '/t/p;$=' f; sed 'y/abct/ABCT/;1!G;h;$!d' f; sed '2i\
inserted' f; sed -e ':a' -e 'N;$!ba' -e 's/\n/+/g' f; sed 's/\(.\)\(.\)/\2\1/2;t;s/$/!/' f; sed -n 2q\ f 2>/dev/null; echo $?; sed 2w\ out f >/dev/null; cat out
#= sort
printf '10 b\n9 a\n2 c\n10 a\n' > f; sort f; sort -n f; sort -k2,2 -k1,1nr f; sort -u -k1,1 f; sort -r f | head -1; sort -c f 2>/dev/null; echo $?; sort -m f f | wc -l; printf 'B\na\nC\n' | sort -f; sort -t: -k2 -o out f; wc -l < out
#= strings
printf 'ab\0longer text\1\2more here\377no\n' > f; strings f; strings -n 9 f; strings -t d f
#= tabs
tabs -8 | od -c | head -2; tabs 1,10,20 | wc -c
#= tail
seq 20 > f; tail -n 3 f; tail -n +18 f; tail -c 3 f; tail f | wc -l; (tail -f f & p=$!; sleep 0.3; echo appended >> f; sleep 1.5; kill $p) | tail -n 1
#= tr
echo 'hello world' | tr a-z A-Z; echo 'aabbcc' | tr -s ab; echo 'abc123' | tr -d '[:digit:]'; echo 'a-b' | tr -c 'a-z\n' '_'; printf 'x\ty' | tr '\t' ' '
#= tsort
printf 'a b\nb c\na d\nd c\n' | tsort; printf 'a b\nb a\n' | tsort 2>/dev/null; echo $?
#= uniq
printf 'a\na\nb\na\n' > f; uniq f; uniq -c f; uniq -d f; uniq -u f; printf '1 x\n2 x\n' | uniq -f 1; printf 'ax\nbx\n' | uniq -s 1
#= wc
printf 'one two\nthree\n' > f; wc f; wc -l f f; wc -c < f; printf '\303\251' | wc -m; wc missing 2>/dev/null; echo $?
#= xargs
seq 5 | xargs -n 2 echo; printf 'a b\0c' | xargs -0 -n1 echo; echo x | xargs -I{} echo '<{}>'; echo 1 2 | xargs -t echo 2>&1; echo a | xargs false; echo $?; echo a | xargs ./missing 2>/dev/null; echo $?; printf '"a b" c\\ d' | xargs -n 1
#= yacc
printf '%%{\n#include <stdio.h>\n#include <ctype.h>\nint yylex(void) { int c = getchar(); return c == EOF ? 0 : c; }\nvoid yyerror(const char *s) { puts(s); }\n%%}\n%%left '"'+'"'\n%%%%\ntop: sum { printf("%%d\\n", $1); };\nsum: digit | sum '"'+'"' digit { $$ = $1 + $3; };\ndigit: '"'1'"' { $$ = 1; } | '"'2'"' { $$ = 2; };\n%%%%\nint main(void) { return yyparse(); }\n' > y.y; yacc y.y 2>/dev/null; gcc -w y.tab.c -o y && printf '1+2+2' | ./y; printf '1++' | ./y; echo $?
#= expr
expr 3 + 4 \* 2; expr abc : 'a\(.\)'; expr length hello; expr 5 \> 10; echo $?; expr a = a; expr 1 / 0 2>/dev/null; echo $?; expr '' \| default
#= gencat
printf '$set 2\n1 message one\n2 message two\n' > m; gencat c.cat m; ls; printf 'junk junk\n' | gencat x.cat - 2>/dev/null; echo $((!!$?))
#= gettext
gettext 'untranslated'; echo; gettext -s plain; gettext -d none -e 'a\tb'; echo
#= ngettext
ngettext one many 1; echo; ngettext one many 5; echo; TEXTDOMAIN=none ngettext a b 0
#= msgfmt
printf 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\nmsgid "a"\nmsgstr "b"\n' > m.po; msgfmt -o m.mo m.po; od -A n -t x4 m.mo | head -1; msgfmt -c --statistics -o /dev/null m.po 2>&1; printf 'msgid broken\n' > b.po; msgfmt b.po 2>/dev/null; echo $?; mkdir -p de/LC_MESSAGES; cp m.mo de/LC_MESSAGES; LANGUAGE=de TEXTDOMAINDIR=. gettext -d m a
#= xgettext
printf 'int main() { puts(gettext("hello")); puts(ngettext("one", "many", n)); }\n' > f.c; xgettext --omit-header -o - -kgettext -kngettext:1,2 f.c
