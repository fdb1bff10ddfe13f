# Utilities on files and folders.
#= basename
basename /usr/lib/file.c .c; basename /; basename a//; basename x.c .c
#= cat
printf 'one\ntwo\n' > f; cat f - f < f; cat -u f; cat missing 2>/dev/null; echo $?
#= chgrp
touch f; chgrp 5 f; stat -c %g f; mkdir d; touch d/x; chgrp -R 7 d; stat -c %g d/x; chgrp nosuchgroup f 2>/dev/null; echo $?
#= chmod
touch f; chmod 640 f; stat -c %a f; chmod u+x,go=r f; stat -c %a f; chmod a-r f; stat -c %a f; mkdir d; chmod g+s,+t d; stat -c %a d; chmod 9 f 2>/dev/null; echo $?
#= chown
touch f; chown 12:34 f; stat -c %u:%g f; ln -s f l; chown -h 5 l; stat -c %u l; chown daemon f; stat -c %u f; chown nosuchuser f 2>/dev/null; echo $?
#= cmp
printf 'abc\n' > a; printf 'abd\n' > b; cmp a b; echo $?; cmp -l a b; cmp -s a a; echo $?; cmp a missing 2>/dev/null; echo $?; printf abc > c; cmp a c 2>&1; echo $?
#= cksum
printf 'The quick brown fox\n' | cksum; printf '' > e; cksum e
#= comm
printf 'a\nb\nd\n' > x; printf 'b\nc\nd\n' > y; comm x y; comm -12 x y; comm -3 x y
#= compress
head -c 20000 /dev/zero > f; compress f; ls; compress -d f.Z 2>/dev/null || uncompress f; wc -c f; printf 'aaaaaaaa' | compress -c | od -c | head -1
#= uncompress
head -c 5000 /dev/zero | tr '\0' x > f; compress f; uncompress f.Z; wc -c f; uncompress missing 2>/dev/null; echo $((!!$?))
#= zcat
printf 'text text text text text text text text\n' > f; compress -f f; zcat f.Z; zcat < f.Z
#= cp
echo one > a; cp a b; cat b; mkdir -p d/e; echo x > d/e/f; ln -s f d/e/l; cp -R d c; ls -R c; cp -p a p; cmp a p; cp a missing/x 2>/dev/null; echo $?; cp -RP d/e/l k; readlink k; cp d x 2>/dev/null; echo $?
#= dd
printf 'abcdefgh' | dd bs=2 skip=1 count=2 2>/dev/null; echo; printf 'AbC\n' | dd conv=lcase 2>/dev/null; printf xy | dd of=f bs=1 seek=3 2>/dev/null; od -c f; printf 'ab' | dd ibs=1 conv=swab 2>&1 | tail -1 | sed 's/,.*//'
#= df
df -P . | awk 'NR==1 {print $1, NF} NR==2 {print NF, ($4 <= $2)}'; df -k / | wc -l; df missing 2>/dev/null; echo $?
#= dirname
dirname /usr/lib/x; dirname x; dirname /; dirname a//b//
#= du
mkdir -p d/e; head -c 9000 /dev/zero > d/f; du -a d | sort -k2; du -sk d | cut -f2; du missing 2>/dev/null; echo $?
#= file
echo text > a; file a; file -h /dev/null; mkdir d; file d; printf '#!/bin/sh\n' > s; file s; : > e; file e; file missing | sed 's/(.*//'
#= find
mkdir -p d/e; touch d/a.c d/e/b.c d/e/x; find d -name '*.c' | sort; find d -type d -prune; find d -depth | tail -1; find d -name x -exec echo found {} \;; find d -type f -exec echo {} + | wc -w; find d ! -name '*.c' -a -type f; find d -newer d/a.c -name none; find missing 2>/dev/null; echo $?
#= link
echo x > a; link a b; stat -c %h b; link a b 2>/dev/null; echo $?
#= ln
echo x > a; ln a b; stat -c %h a; ln -s a l; readlink l; ln a b 2>/dev/null; echo $?; ln -f a b; echo $?; mkdir d; ln a l d 2>/dev/null; ls d
#= ls
mkdir d; touch d/b d/a d/.h; ln -s a d/l; chmod 640 d/a; ls d; ls -a d; ls -1F d; ls -l d/a | awk '{print $1, $2, $3, $4, $5}'; ls -d d; ls -r d; ls -i d/a | wc -w; ls missing 2>/dev/null; echo $?
#= mkdir
mkdir -p a/b/c; ls -R a; mkdir -m 700 m; stat -c %a m; mkdir a 2>/dev/null; echo $?; mkdir no/where 2>/dev/null; echo $?
#= mkfifo
mkfifo -m 640 p; stat -c '%a %F' p; cat p & echo through > p; wait; mkfifo p 2>/dev/null; echo $?
#= mv
echo 1 > a; mv a b; ls; mkdir d; mv b d; ls d; echo 2 > c; mv -f c d/b; cat d/b; mv d e; ls e; mv missing x 2>/dev/null; echo $?; mv e e/f 2>/dev/null; echo $?
#= pathchk
pathchk /usr/bin ok; echo $?; pathchk -p 'bad*name' 2>/dev/null; echo $?; pathchk "$(printf '%300s' x | tr ' ' x)" 2>/dev/null; echo $?
#= pax
mkdir d; echo content > d/f; ln -s f d/l; pax -w -f a.pax d; pax -f a.pax | sort; rm -r d; pax -r -f a.pax; cat d/l; mkdir t; pax -rw d t; ls t/d
#= readlink
ln -s target l; readlink l; readlink -n l; echo; touch f; readlink f; echo $?; readlink -f . | sed 's,.*/,,'
#= realpath
mkdir d; ln -s d l; realpath l | sed 's,.*/,,'; realpath l/../d/. | sed 's,.*/,,'; realpath -e missing 2>/dev/null; echo $?
#= rm
touch a b; rm a; ls; mkdir -p d/e; rm d 2>/dev/null; echo $?; rm -r d; ls; rm -f missing; echo $?; rm missing 2>/dev/null; echo $?; ln -s b l; rm l; ls
#= rmdir
mkdir -p a/b; rmdir a 2>/dev/null; echo $?; rmdir -p a/b; ls; rmdir missing 2>/dev/null; echo $?
#= split
seq 10 > f; split -l 4 f; ls; cat xab; split -b 3 -a 3 f y; ls y* | wc -l; cat yaaa
#= csplit
seq 10 > f; csplit -s f 4 '/8/'; for i in xx*; do echo $i $(cat $i); done; csplit -s -k f 99 2>/dev/null; echo $?
#= tee
echo x | tee a b; cat a b; echo y | tee -a a >/dev/null; cat a; echo z | tee /missing/x 2>/dev/null; echo $?
#= touch
touch -t 202406141305.09 f; stat -c %Y f; touch -r f g; stat -c %Y g; touch -c none; ls; touch -d 2000-01-01T00:00:00 f; stat -c %Y f; touch -a -t 199901010000 f; stat -c '%X %Y' f
#= unlink
touch f; unlink f; ls; unlink f 2>/dev/null; echo $?; mkdir d; unlink d 2>/dev/null; echo $?
#= ar
printf 'one\n' > a; printf 'two\n' > b; ar -rc lib.a a b; ar -t lib.a; ar -p lib.a b; ar -d lib.a a; ar -t lib.a; ar -x lib.a b; cat b
#= od
printf 'abc\n\0\377' | od -c; printf 'abcd' | od -A x -t x1; printf '\1\2\3\4' | od -t d2 -A n; printf abcdef | od -j 2 -N 2 -c
#= uuencode
printf 'hello world' > f; chmod 644 f; uuencode f name; uuencode -m f name; uuencode name < f | wc -l
#= uudecode
printf 'hello\0world' > f; uuencode f out | uudecode; cmp f out; uuencode -m f - | uudecode -o /dev/stdout | od -c | head -1; echo junk | uudecode 2>/dev/null; echo $((!!$?))
#= fuser
exec 5> held; fuser held > holders 2>/dev/null; wc -w < holders; exec 5>&-; fuser held 2>/dev/null; echo $?
