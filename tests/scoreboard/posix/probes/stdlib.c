/* <stdlib.h> */
#include "probe.h"
extern void setkey(const char *); /* POSIX declares it here; glibc in <crypt.h> */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <limits.h>
#include <stdint.h>

static char space[256];

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static int by_direction(const void *a, const void *b, void *sign) { return *(int *)sign * by_value(a, b); }
static void said(void) { puts("handler"); }
static void said_last(void) { puts("first registered, last called"); }

PROBE(_Exit) { atexit(said); fputs("not flushed?", fopen("out", "w")); _Exit(260); }
PROBE(a64l) { INT(a64l("./zZ9")); INT(a64l("")); INT(a64l("zzzzzz")); }
static void caught(int signal) { printf("signal %d\n", signal); }
PROBE(abort) { signal(SIGABRT, caught); abort(); }
PROBE(abs) { INT(abs(-7)); INT(abs(7)); }
PROBE(aligned_alloc) { void *p = aligned_alloc(256, 512); INT(p != NULL); INT((uintptr_t)p % 256); memset(p, 1, 512); free(p); }
PROBE(at_quick_exit) { INT(at_quick_exit(said)); atexit(said_last); quick_exit(3); }
PROBE(atexit) { INT(atexit(said_last)); INT(atexit(said)); }
PROBE(atof) { REAL(atof(" -12.5e1x")); REAL(atof("none")); }
PROBE(atoi) { INT(atoi(" 42abc")); INT(atoi("-0")); INT(atoi("x")); }
PROBE(atol) { INT(atol("-9223372036854775808")); INT(atol("+5")); }
PROBE(atoll) { INT(atoll("9223372036854775807")); INT(atoll("\t-1")); }
PROBE(bsearch) { int a[] = {1, 3, 5, 7, 9}, k = 7, no = 4; INT((int *)bsearch(&k, a, 5, sizeof *a, by_value) - a); INT(bsearch(&no, a, 5, sizeof *a, by_value) == NULL); INT(bsearch(&k, a, 0, sizeof *a, by_value) == NULL); }
PROBE(calloc) { int *p = calloc(1000, sizeof *p), sum = 0; for (int i = 0; i < 1000; i++) sum |= p[i]; INT(sum); INT(calloc(SIZE_MAX / 2, 4) == NULL); INT(errno); free(p); }
PROBE(div) { div_t d = div(-7, 2); INT(d.quot); INT(d.rem); }
PROBE(drand48) { srand48(1); for (int i = 0; i < 4; i++) REAL(drand48()); }
PROBE(erand48) { unsigned short s[3] = {1, 2, 3}; REAL(erand48(s)); REAL(erand48(s)); INT(s[0]); }
PROBE(exit) { atexit(said); printf("flushed"); exit(-1); }
PROBE(free) { for (int i = 0; i < 1000; i++) free(malloc(i * 100)); free(NULL); errno = 5; free(malloc(1)); INT(errno); }
PROBE(getenv) { TEXT(getenv("TERM")); TEXT(getenv("NO_SUCH_NAME")); setenv("NEW", "", 1); TEXT(getenv("NEW")); }
PROBE(getsubopt) { char option[] = "ro,size=5,odd", *at = option, *value; char *const names[] = {"ro", "size", NULL}; while (*at) { INT(getsubopt(&at, names, &value)); TEXT(value); } }
PROBE(grantpt) { int fd = posix_openpt(O_RDWR | O_NOCTTY); CALL(grantpt(fd)); CALL(grantpt(99)); }
PROBE(initstate) { char state[64]; INT(initstate(7, state, 64) != NULL); for (int i = 0; i < 3; i++) INT(random()); INT(initstate(7, state, 3) == NULL); }
PROBE(jrand48) { unsigned short s[3] = {9, 8, 7}; INT(jrand48(s)); INT(jrand48(s)); }
PROBE(l64a) { TEXT(l64a(123456789)); TEXT(l64a(0)); INT(a64l(l64a(987654))); }
PROBE(labs) { INT(labs(-5000000000L)); }
PROBE(lcong48) { unsigned short p[7] = {1, 2, 3, 4, 5, 6, 7}; lcong48(p); INT(lrand48()); INT(mrand48()); }
PROBE(ldiv) { ldiv_t d = ldiv(10000000007L, -3); INT(d.quot); INT(d.rem); }
PROBE(llabs) { INT(llabs(-9000000000LL)); }
PROBE(lldiv) { lldiv_t d = lldiv(-1, 1000); INT(d.quot); INT(d.rem); }
PROBE(lrand48) { srand48(42); INT(lrand48()); INT(lrand48()); }
PROBE(malloc) { char *p = malloc(50 << 20); INT(p != NULL); for (size_t i = 0; i < 50 << 20; i += 1 << 20) p[i] = 1; INT(p[3 << 20]); free(p); INT(malloc(SIZE_MAX - 99) == NULL); INT(errno); INT((uintptr_t)malloc(1) % 16); }
PROBE(mblen) { setlocale(LC_ALL, "C.UTF-8"); INT(mblen("\xc3\xa9", 2)); INT(mblen("\xc3", 1)); INT(mblen("", 1)); INT(mblen("a", 1)); }
PROBE(mbstowcs) { wchar_t w[8]; setlocale(LC_ALL, "C.UTF-8"); INT(mbstowcs(w, "a\xe2\x82\xac", 8)); WIDE(w); INT(mbstowcs(NULL, "abc", 0)); CALL(mbstowcs(w, "\xff", 8)); }
PROBE(mbtowc) { wchar_t w; setlocale(LC_ALL, "C.UTF-8"); INT(mbtowc(&w, "\xf0\x9f\x98\x80", 4)); INT(w); INT(mbtowc(&w, "\x80", 1)); INT(mbtowc(NULL, NULL, 0)); }
PROBE(mkdtemp) { char name[] = "dirXXXXXX"; struct stat s; INT(mkdtemp(name) == name); stat(name, &s); INT(s.st_mode & 07777); INT(S_ISDIR(s.st_mode)); char bad[] = "bad"; INT(mkdtemp(bad) == NULL); INT(errno); }
PROBE(mkostemp) { char name[] = "tmpXXXXXX"; int fd = mkostemp(name, O_CLOEXEC | O_APPEND); INT(fcntl(fd, F_GETFD)); INT(!!(fcntl(fd, F_GETFL) & O_APPEND)); }
PROBE(mkstemp) { char name[] = "tmpXXXXXX", other[] = "noXs"; struct stat s; int fd = mkstemp(name); fstat(fd, &s); INT(s.st_mode); INT(strncmp(name, "tmp", 3)); CALL(mkstemp(other)); }
PROBE(mrand48) { srand48(-3); INT(mrand48()); INT(mrand48()); }
PROBE(nrand48) { unsigned short s[3] = {0, 0, 1}; INT(nrand48(s)); INT(nrand48(s)); }
PROBE(posix_memalign) { void *p; INT(posix_memalign(&p, 4096, 100)); INT((uintptr_t)p % 4096); INT(posix_memalign(&p, 3, 100)); INT(posix_memalign(&p, 64, SIZE_MAX - 9999)); }
PROBE(posix_openpt) { int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC); INT(fd >= 0); INT(isatty(fd)); INT(fcntl(fd, F_GETFD)); }
PROBE(ptsname) { int fd = posix_openpt(O_RDWR | O_NOCTTY); INT(strncmp(ptsname(fd), "/dev/pts/", 9)); INT(ptsname(0) == NULL); INT(errno); }
PROBE(ptsname_r) { int fd = posix_openpt(O_RDWR | O_NOCTTY); INT(ptsname_r(fd, space, sizeof space)); INT(strncmp(space, "/dev/pts/", 9)); INT(ptsname_r(fd, space, 3)); INT(ptsname_r(0, space, 99)); }
PROBE(putenv) { static char pair[] = "PUT=old"; INT(putenv(pair)); TEXT(getenv("PUT")); pair[4] = 'b'; TEXT(getenv("PUT")); }
PROBE(qsort) { int a[] = {5, 3, 9, 1, 7, 3}; qsort(a, 6, sizeof *a, by_value); for (int i = 0; i < 6; i++) INT(a[i]); }
PROBE(qsort_r) { int a[] = {5, 3, 9, 1, 7}, down = -1; qsort_r(a, 5, sizeof *a, by_direction, &down); for (int i = 0; i < 5; i++) INT(a[i]); }
PROBE(quick_exit) { atexit(said); at_quick_exit(said_last); quick_exit(9); }
PROBE(rand) { srand(1); for (int i = 0; i < 5; i++) INT(rand()); }
PROBE(rand_r) { unsigned seed = 5; INT(rand_r(&seed)); INT(rand_r(&seed)); INT(seed); }
PROBE(random) { srandom(99); for (int i = 0; i < 40; i++) random(); INT(random()); INT(random()); }
PROBE(realloc) { char *p = malloc(4); strcpy(p, "abc"); p = realloc(p, 1 << 20); TEXT(p); p = realloc(p, 8); TEXT(p); INT(realloc(p, SIZE_MAX / 2) == NULL); INT(errno); TEXT(p); }
PROBE(reallocarray) { int *p = reallocarray(NULL, 10, sizeof *p); INT(p != NULL); INT(reallocarray(p, SIZE_MAX / 2, 4) == NULL); INT(errno); }
PROBE(realpath) { mkdir("d", 0777); symlink("d", "link"); char *p = realpath("link/../d/.", NULL); INT(strcmp(p + strlen(p) - 11, "/realpath/d")); TEXT(realpath("/usr/../usr//bin/.", space)); INT(realpath("missing/x", NULL) == NULL); INT(errno); symlink("loop", "loop"); INT(realpath("loop", NULL) == NULL); INT(errno); INT(realpath("", NULL) == NULL); INT(errno); }
PROBE(secure_getenv) { TEXT(secure_getenv("TERM")); TEXT(secure_getenv("NO_SUCH_NAME")); }
PROBE(seed48) { unsigned short s[3] = {11, 22, 33}; INT(*seed48(s)); INT(lrand48()); INT(*seed48(s)); }
PROBE(setenv) { INT(setenv("N", "1", 0)); INT(setenv("N", "2", 0)); TEXT(getenv("N")); INT(setenv("N", "3", 1)); TEXT(getenv("N")); CALL(setenv("a=b", "x", 1)); CALL(setenv("", "x", 1)); }
PROBE(setkey) { char bits[64] = {0}; for (int i = 0; i < 64; i += 3) bits[i] = 1; errno = 0; setkey(bits); INT(errno); }
PROBE(setstate) { char one[64], two[64]; initstate(1, one, 64); int first = random(); initstate(2, two, 64); INT(setstate(one) == two); INT(random() != first); }
PROBE(srand) { srand(77); int a = rand(); srand(77); INT(rand() == a); INT(a); }
PROBE(srand48) { srand48(0x12345678); REAL(drand48()); }
PROBE(srandom) { srandom(0); INT(random()); srandom(1); INT(random()); }
PROBE(strtod) { char *end; REAL(strtod("  1.5e3rest", &end)); TEXT(end); REAL(strtod("0x1.8p1", &end)); REAL(strtod("-inf", &end)); REAL(strtod("1e999", &end)); INT(errno); REAL(strtod("1e-400", &end)); REAL(strtod("word", &end)); TEXT(end); }
PROBE(strtof) { char *end; REAL(strtof("3.4028235e38", &end)); REAL(strtof("1e39", &end)); INT(errno); REAL(strtof(".1", &end)); }
PROBE(strtol) { char *end; INT(strtol(" -0x1fz", &end, 16)); TEXT(end); INT(strtol("0777", NULL, 0)); INT(strtol("zz", NULL, 36)); INT(strtol("99999999999999999999", NULL, 10)); INT(errno); errno = 0; INT(strtol("1", NULL, 99)); INT(errno); }
PROBE(strtold) { char *end; LONG(strtold("1.25", &end)); LONG(strtold("0x1p-16400", &end)); LONG(strtold("0.1", &end)); LONG(strtold("1e5000", &end)); INT(errno); }
PROBE(strtoll) { INT(strtoll("-9223372036854775808", NULL, 10)); INT(errno); INT(strtoll("-9223372036854775809", NULL, 10)); INT(errno); }
PROBE(strtoul) { printf("%lu\n", strtoul("-1", NULL, 10)); printf("%lu\n", strtoul("18446744073709551616", NULL, 10)); INT(errno); }
PROBE(strtoull) { printf("%llu\n", strtoull("0xffffffffffffffff", NULL, 0)); INT(errno); printf("%llu\n", strtoull("12", NULL, 2)); }
PROBE(system) { INT(system("exit 5") >> 8); INT(system("kill -15 $$")); INT(!!system(NULL)); INT(system("echo in a shell")); INT(system("no_such_program 2>/dev/null") >> 8); }
PROBE(unlockpt) { int fd = posix_openpt(O_RDWR | O_NOCTTY); CALL(open(ptsname(fd), O_RDWR | O_NOCTTY)); CALL(unlockpt(fd)); INT(open(ptsname(fd), O_RDWR | O_NOCTTY) >= 0); CALL(unlockpt(99)); CALL(unlockpt(0)); }
PROBE(unsetenv) { INT(unsetenv("TERM")); TEXT(getenv("TERM")); INT(unsetenv("NO_SUCH_NAME")); CALL(unsetenv("a=b")); }
PROBE(wcstombs) { setlocale(LC_ALL, "C.UTF-8"); INT(wcstombs(space, L"\x20ac\xe9", 99)); TEXT(space); INT(wcstombs(NULL, L"abc", 0)); CALL(wcstombs(space, (wchar_t[]){0xd800, 0}, 9)); }
PROBE(wctomb) { setlocale(LC_ALL, "C.UTF-8"); INT(wctomb(space, 0x1f600)); space[4] = 0; TEXT(space); INT(wctomb(NULL, 0)); INT(wctomb(space, 0x7fffffff)); }
