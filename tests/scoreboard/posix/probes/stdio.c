/* <stdio.h> */
#include "probe.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <wchar.h>
#include <pthread.h>

static char space[256];

static int by_list(int (*call)(va_list), ...)
{
    va_list list;
    va_start(list, call);
    int result = call(list);
    va_end(list);
    return result;
}

static FILE *three_lines(void)
{
    make_file("lines", "one\ntwo 2\nthree");
    return fopen("lines", "r+");
}

PROBE(asprintf) { char *s; INT(asprintf(&s, "%s-%05d-%x", "made", 42, 255)); TEXT(s); free(s); }
PROBE(clearerr) { FILE *f = three_lines(); while (getc(f) != EOF) continue; INT(!!feof(f)); clearerr(f); INT(feof(f)); fclose(f); }
PROBE(ctermid) { TEXT(ctermid(space)); TEXT(space); }
PROBE(dprintf) { INT(dprintf(1, "to a descriptor %d\n", 7)); errno = 0; CALL(dprintf(99, "x")); }
PROBE(fclose) { FILE *f = three_lines(); int fd = fileno(f); INT(fclose(f)); CALL(fcntl(fd, F_GETFD)); }
PROBE(fdopen) { int fd = open("new", O_CREAT | O_RDWR, 0600); FILE *f = fdopen(fd, "w"); INT(fileno(f) == fd); fputs("x", f); INT(fclose(f)); INT(fdopen(99, "r") == NULL); INT(errno); }
PROBE(feof) { FILE *f = three_lines(); INT(feof(f)); fseek(f, 0, SEEK_END); INT(feof(f)); INT(getc(f)); INT(!!feof(f)); fclose(f); }
PROBE(ferror) { FILE *f = fopen("/dev/null", "r"); INT(ferror(f)); INT(fputc('x', f)); INT(!!ferror(f)); INT(errno); fclose(f); }
PROBE(fflush) { FILE *f = fopen("out", "w"); struct stat s; fputs("buffered", f); stat("out", &s); INT(s.st_size); INT(fflush(f)); stat("out", &s); INT(s.st_size); f = fopen("/dev/full", "w"); fputc('x', f); CALL(fflush(f)); }
PROBE(fgetc) { FILE *f = three_lines(); INT(fgetc(f)); INT(fgetc(f)); fseek(f, 0, SEEK_END); INT(fgetc(f)); }
PROBE(fgetpos) { FILE *f = three_lines(); fpos_t at; fgetc(f); INT(fgetpos(f, &at)); fgets(space, 99, f); INT(fsetpos(f, &at)); TEXT(fgets(space, 99, f)); }
PROBE(fsetpos) { FILE *f = three_lines(); fpos_t at; fgets(space, 99, f); fgetpos(f, &at); while (getc(f) != EOF) continue; INT(fsetpos(f, &at)); INT(feof(f)); INT(getc(f)); }
PROBE(fgets) { FILE *f = three_lines(); TEXT(fgets(space, 3, f)); TEXT(fgets(space, 99, f)); TEXT(fgets(space, 99, f)); TEXT(fgets(space, 99, f)); TEXT(fgets(space, 99, f)); }
PROBE(fileno) { INT(fileno(stdin)); INT(fileno(stderr)); }
static void *try_lock(void *file) { INT(ftrylockfile(file) != 0); return NULL; }
PROBE(flockfile) { pthread_t t; flockfile(stdin); pthread_create(&t, NULL, try_lock, stdin); pthread_join(t, NULL); funlockfile(stdin); INT(ftrylockfile(stdin)); }
PROBE(ftrylockfile) { pthread_t t; INT(ftrylockfile(stdin)); INT(ftrylockfile(stdin)); pthread_create(&t, NULL, try_lock, stdin); pthread_join(t, NULL); }
static void *take_lock(void *file) { INT(ftrylockfile(file)); return NULL; }
PROBE(funlockfile) { pthread_t t; flockfile(stdin); funlockfile(stdin); pthread_create(&t, NULL, take_lock, stdin); pthread_join(t, NULL); }
PROBE(fmemopen) { char memory[] = "in memory"; FILE *f = fmemopen(memory, sizeof memory - 1, "r+"); TEXT(fgets(space, 5, f)); fputs("CHAN", f); fclose(f); TEXT(memory); }
PROBE(fopen) { FILE *f = fopen("created", "wx"); INT(f != NULL); fclose(f); INT(fopen("created", "wx") == NULL); INT(errno); INT(fopen("missing", "r") == NULL); INT(errno); INT(fopen("created", "z") == NULL); INT(errno); f = fopen("created", "ae"); INT(fcntl(fileno(f), F_GETFD)); INT(!!(fcntl(fileno(f), F_GETFL) & O_APPEND)); }
PROBE(fprintf) { INT(fprintf(stdout, "%+d|%-6s|%06.2f|%#x|%lc|%%|%5.1e\n", 5, "ab", 3.14159, 255, L'w', 12345.678)); INT(fprintf(stderr, "%s\n", "an error")); }
PROBE(fputc) { INT(fputc('A', stdout)); INT(fputc(321, stdout)); FILE *f = fopen("/dev/full", "w"); setbuf(f, NULL); CALL(fputc('x', f)); }
PROBE(fputs) { INT(fputs("text\n", stdout) >= 0); FILE *f = fopen("/dev/full", "w"); setbuf(f, NULL); CALL(fputs("x", f)); }
PROBE(fread) { FILE *f = three_lines(); INT(fread(space, 2, 3, f)); INT(fread(space, 4, 9, f)); INT(!!feof(f)); INT(fread(space, 0, 5, f)); }
PROBE(freopen) { make_file("other", "other text\n"); INT(freopen("other", "r", stdin) == stdin); TEXT(fgets(space, 99, stdin)); INT(fileno(stdin)); INT(freopen("missing", "r", stdin) == NULL); INT(errno); }
PROBE(fscanf) { FILE *f = three_lines(); int n; INT(fscanf(f, "%s two %d", space, &n)); TEXT(space); INT(n); INT(fscanf(f, "%d", &n)); }
PROBE(fseek) { FILE *f = three_lines(); INT(fseek(f, 4, SEEK_SET)); INT(getc(f)); INT(fseek(f, -1, SEEK_END)); INT(getc(f)); CALL(fseek(f, -99, SEEK_CUR)); INT(fseek(f, 1, SEEK_END)); }
PROBE(fseeko) { FILE *f = fopen("sparse", "w+"); INT(fseeko(f, (off_t)1 << 33, SEEK_SET)); putc('x', f); fflush(f); INT(ftello(f)); CALL(fseeko(stdin, 0, 77)); }
PROBE(ftell) { FILE *f = three_lines(); getc(f); getc(f); ungetc('x', f); INT(ftell(f)); int ends[2]; pipe(ends); CALL(ftell(fdopen(ends[0], "r"))); }
PROBE(ftello) { FILE *f = fopen("lines", "w+"); fputs("12345", f); INT(ftello(f)); rewind(f); INT(ftello(f)); }
PROBE(fwrite) { FILE *f = fopen("out", "w+"); INT(fwrite("abcdefgh", 3, 2, f)); rewind(f); TEXT(fgets(space, 99, f)); f = fopen("/dev/full", "w"); setbuf(f, NULL); INT(fwrite("x", 1, 1, f)); INT(errno); }
PROBE(getc) { FILE *f = three_lines(); INT(getc(f)); INT((getc)(f)); }
PROBE(getc_unlocked) { FILE *f = three_lines(); flockfile(f); INT(getc_unlocked(f)); INT(getc_unlocked(f)); funlockfile(f); }
PROBE(getchar) { INT(getchar()); INT((getchar)()); }
PROBE(getchar_unlocked) { INT(getchar_unlocked()); while (getchar_unlocked() != EOF) continue; INT(getchar_unlocked()); }
PROBE(getdelim) { FILE *f = three_lines(); char *line = NULL; size_t size = 0; INT(getdelim(&line, &size, 't', f)); TEXT(line); INT(getdelim(&line, &size, 'z', f)); TEXT(line); CALL(getdelim(&line, &size, 'z', f)); CALL(getdelim(NULL, &size, 'z', f)); }
PROBE(getline) { char *line = NULL; size_t size = 0; INT(getline(&line, &size, stdin)); TEXT(line); INT(size > 10); INT(getline(&line, &size, stdin)); INT(getline(&line, &size, stdin)); }
PROBE(open_memstream) { char *text; size_t size; FILE *f = open_memstream(&text, &size); fprintf(f, "grown %d", 1); fflush(f); TEXT(text); INT(size); fseek(f, 20, SEEK_SET); fputs("far", f); fclose(f); INT(size); INT(text[10]); }
PROBE(pclose) { FILE *f = popen("exit 7", "r"); int status = pclose(f); INT(status >> 8); f = popen("kill -9 $$", "w"); INT(pclose(f)); }
PROBE(popen) { FILE *f = popen("echo from; echo shell", "r"); TEXT(fgets(space, 99, f)); TEXT(fgets(space, 99, f)); pclose(f); f = popen("tr a-z A-Z", "w"); fputs("written\n", f); INT(pclose(f)); INT(popen("x", "q") == NULL); INT(errno); }
PROBE(perror) { errno = EACCES; perror("prefix"); errno = 0; perror(""); errno = ENOSPC; perror(NULL); INT(errno); }
PROBE(printf) { INT(printf("%d %i %u %o %x %X %c %s %p\n", -1, 2, 3u, 8, 255, 255, 'c', "s", (void *)0)); INT(printf("%hhd %hd %ld %lld %jd %zd %td\n", 300, 70000, 5L, 6LL, (intmax_t)7, (ssize_t)8, (ptrdiff_t)9)); INT(printf("%*d|%-*d|%.*s|% d|%+.3g|%a\n", 5, 1, 4, 2, 2, "abc", 3, 1234567.0, 1.5)); INT(printf("%2$s %1$s\n", "a", "b")); }
PROBE(putc) { INT(putc('x', stdout)); INT((putc)('\n', stdout)); }
PROBE(putc_unlocked) { flockfile(stdout); INT(putc_unlocked('u', stdout)); funlockfile(stdout); }
PROBE(putchar) { INT(putchar('p')); INT((putchar)('q')); }
PROBE(putchar_unlocked) { INT(putchar_unlocked('r')); }
PROBE(puts) { INT(puts("a line") >= 0); INT(puts("") >= 0); }
PROBE(remove) { make_file("file", "x"); mkdir("folder", 0777); INT(remove("file")); INT(remove("folder")); CALL(remove("folder")); mkdir("full", 0777); make_file("full/x", ""); CALL(remove("full")); }
PROBE(rename) { make_file("a", "1"); make_file("b", "22"); struct stat s; INT(rename("a", "b")); stat("b", &s); INT(s.st_size); CALL(rename("a", "c")); mkdir("d", 0777); CALL(rename("b", "d")); CALL(rename("d", "d/e")); INT(rename("b", "b")); }
PROBE(renameat) { mkdir("from", 0777); mkdir("to", 0777); make_file("from/x", ""); int from = open("from", O_RDONLY), to = open("to", O_RDONLY); INT(renameat(from, "x", to, "y")); CALL(access("to/y", F_OK)); CALL(renameat(99, "x", to, "y")); CALL(renameat(from, "x", AT_FDCWD, "z")); }
PROBE(rewind) { FILE *f = three_lines(); while (getc(f) != EOF) continue; rewind(f); INT(feof(f)); INT(getc(f)); }
PROBE(scanf) { INT(scanf("%5s%*s %[a-z] l%c", space, space + 50, space + 100)); TEXT(space); TEXT(space + 50); INT(space[100]); }
PROBE(setbuf) { FILE *f = fopen("out", "w"); struct stat s; setbuf(f, NULL); fputc('x', f); stat("out", &s); INT(s.st_size); }
PROBE(setvbuf) { FILE *f = fopen("out", "w"); struct stat s; INT(setvbuf(f, space, _IOFBF, 8)); fputs("1234567890", f); stat("out", &s); INT(s.st_size > 0); f = fopen("out2", "w"); INT(setvbuf(f, NULL, _IOLBF, 0)); fputs("ab\n", f); stat("out2", &s); INT(s.st_size); INT(setvbuf(f, NULL, 77, 0) != 0); }
PROBE(snprintf) { INT(snprintf(space, 5, "%s", "truncated")); TEXT(space); INT(snprintf(NULL, 0, "%d", 12345)); CALL(snprintf(space, 9, "%lc", (wint_t)0xdc00)); }
PROBE(sprintf) { INT(sprintf(space, "%08.3f|%g|%G|%e", 3.14159, 1e-5, 1e20, 0.0)); TEXT(space); INT(sprintf(space, "%f %F %La", 1.0 / 0, -1.0 / 0, 1.0L)); TEXT(space); }
PROBE(sscanf) { int a, n; double d; char *grown; INT(sscanf("12 0x1F 3.5e2 word", "%d %i %lf %ms%n", &a, &n, &d, &grown, &n)); INT(a); REAL(d); TEXT(grown); INT(n); INT(sscanf("", "%d", &a)); INT(sscanf("x", "%d", &a)); }
PROBE(stderr) { fprintf(stderr, "unbuffered"); fputs("printed later", stdout); INT(stderr != stdout); }
PROBE(stdin) { INT(getc(stdin)); INT(ungetc('z', stdin)); INT(getc(stdin)); }
PROBE(stdout) { fputs("line\n", stdout); INT(fileno(stdout)); INT(fflush(stdout)); }
PROBE(tmpfile) { FILE *f = tmpfile(); struct stat s; INT(f != NULL); fputs("kept", f); rewind(f); TEXT(fgets(space, 9, f)); fstat(fileno(f), &s); INT(s.st_nlink); }
PROBE(tmpnam) { INT(tmpnam(space) == space); INT(access(space, F_OK)); INT(strncmp(space, "/tmp/", 5)); }
PROBE(ungetc) { FILE *f = three_lines(); INT(ungetc('Z', f)); INT(getc(f)); INT(getc(f)); INT(ungetc(EOF, f)); }
static char *made;
static int list_vasprintf(va_list a) { return vasprintf(&made, "%d/%s", a); }
PROBE(vasprintf) { INT(by_list(list_vasprintf, 3, "x")); TEXT(made); }
static int list_vdprintf(va_list a) { return vdprintf(1, "[%s %d]\n", a); }
PROBE(vdprintf) { INT(by_list(list_vdprintf, "descriptor", 9)); }
static int list_vfprintf(va_list a) { return vfprintf(stderr, "%c%c\n", a); }
PROBE(vfprintf) { INT(by_list(list_vfprintf, 'o', 'k')); }
static int list_vfscanf(va_list a) { return vfscanf(stdin, "%s %s", a); }
PROBE(vfscanf) { INT(by_list(list_vfscanf, space, space + 50)); TEXT(space); TEXT(space + 50); }
static int list_vprintf(va_list a) { return vprintf("%s=%.2f\n", a); }
PROBE(vprintf) { INT(by_list(list_vprintf, "pi", 3.14159)); }
static int list_vscanf(va_list a) { return vscanf("%c%n", a); }
PROBE(vscanf) { int n = 0; INT(by_list(list_vscanf, space, &n)); INT(space[0]); INT(n); }
static int list_vsnprintf(va_list a) { return vsnprintf(space, 4, "%d", a); }
PROBE(vsnprintf) { INT(by_list(list_vsnprintf, 1234567)); TEXT(space); }
static int list_vsprintf(va_list a) { return vsprintf(space, "%5d|%-5d|", a); }
PROBE(vsprintf) { INT(by_list(list_vsprintf, 12, 34)); TEXT(space); }
static int list_vsscanf(va_list a) { return vsscanf("17 seventeen", "%d %3s", a); }
PROBE(vsscanf) { int n; INT(by_list(list_vsscanf, &n, space)); INT(n); TEXT(space); }
