/* <wchar.h>, <uchar.h> */
#include "probe.h"
#include <stdarg.h>
#include <time.h>
#include <uchar.h>
#include <wchar.h>
#include <wctype.h>

static wchar_t wide[128];
static char space[128];

static int by_list(int (*call)(va_list), ...)
{
    va_list list;
    va_start(list, call);
    int result = call(list);
    va_end(list);
    return result;
}

static FILE *euro(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    make_file("wide", "\xe2\x82\xac 5\nz\xff");
    return fopen("wide", "r+");
}

PROBE(btowc) { setlocale(LC_ALL, "C.UTF-8"); INT(btowc('a')); INT(btowc(0xe9)); INT(btowc(EOF)); }
PROBE(c16rtomb) { mbstate_t s = {0}; setlocale(LC_ALL, "C.UTF-8"); INT(c16rtomb(space, 0xd83d, &s)); INT(c16rtomb(space, 0xde00, &s)); space[4] = 0; TEXT(space); }
PROBE(c32rtomb) { mbstate_t s = {0}; setlocale(LC_ALL, "C.UTF-8"); INT(c32rtomb(space, 0x20ac, &s)); CALL(c32rtomb(space, 0x110000, &s)); }
PROBE(mbrtoc16) { mbstate_t s = {0}; char16_t c; setlocale(LC_ALL, "C.UTF-8"); INT(mbrtoc16(&c, "\xf0\x9f\x98\x80", 4, &s)); INT(c); INT(mbrtoc16(&c, "", 1, &s)); INT(c); }
PROBE(mbrtoc32) { mbstate_t s = {0}; char32_t c; setlocale(LC_ALL, "C.UTF-8"); INT(mbrtoc32(&c, "\xe2\x82", 2, &s)); INT(mbrtoc32(&c, "\xac", 1, &s)); INT(c); }
PROBE(fgetwc) { FILE *f = euro(); INT(fgetwc(f)); INT(fgetwc(f)); fgetwc(f); fgetwc(f); fgetwc(f); errno = 0; INT(fgetwc(f)); INT(errno); }
PROBE(fgetws) { FILE *f = euro(); WIDE(fgetws(wide, 99, f)); WIDE(fgetws(wide, 2, f)); }
PROBE(fputwc) { FILE *f = euro(); INT(fputwc(0xe9, f)); rewind(f); clearerr(f); INT(getc(f) == EOF); CALL(fputwc(0xd800, f)); }
PROBE(fputws) { setlocale(LC_ALL, "C.UTF-8"); FILE *f = fopen("w", "w"); INT(fputws(L"\x20ac\x1f600", f) >= 0); fclose(f); f = fopen("w", "r"); fgets(space, 99, f); TEXT(space); }
PROBE(fwide) { FILE *f = euro(); INT(fwide(f, 0)); INT(fwide(f, 1) > 0); INT(fwide(f, -1) > 0); INT(fwide(stdout, 0) < 0); }
PROBE(fwprintf) { setlocale(LC_ALL, "C.UTF-8"); INT(fwprintf(stderr, L"%ls %s %d\n", L"\xe9", "n", 3)); }
PROBE(fwscanf) { FILE *f = euro(); int n; INT(fwscanf(f, L"%lc %d", wide, &n)); INT(wide[0]); INT(n); }
PROBE(getwc) { FILE *f = euro(); INT(getwc(f)); INT(getwc(f)); }
PROBE(getwchar) { INT(getwchar()); INT(getwchar()); }
PROBE(mbrlen) { mbstate_t s = {0}; setlocale(LC_ALL, "C.UTF-8"); INT(mbrlen("\xc3", 1, &s)); INT(mbrlen("\xa9", 1, &s)); CALL(mbrlen("\xff", 1, &s)); }
PROBE(mbrtowc) { mbstate_t s = {0}; wchar_t w; setlocale(LC_ALL, "C.UTF-8"); INT(mbrtowc(&w, "\xe2\x82\xac", 3, &s)); INT(w); INT(mbrtowc(&w, "\xe2", 1, &s)); INT(mbrtowc(&w, "", 0, &s)); }
PROBE(mbsinit) { mbstate_t s = {0}; setlocale(LC_ALL, "C.UTF-8"); INT(!!mbsinit(&s)); mbrlen("\xe2", 1, &s); INT(!!mbsinit(&s)); INT(!!mbsinit(NULL)); }
PROBE(mbsnrtowcs) { mbstate_t s = {0}; const char *p = "ab\xc3\xa9z"; setlocale(LC_ALL, "C.UTF-8"); INT(mbsnrtowcs(wide, &p, 4, 99, &s)); INT(wide[2]); TEXT(p); }
PROBE(mbsrtowcs) { mbstate_t s = {0}; const char *p = "x\xc3\xa9"; setlocale(LC_ALL, "C.UTF-8"); INT(mbsrtowcs(wide, &p, 99, &s)); WIDE(wide); INT(p == NULL); p = "\xc3("; CALL(mbsrtowcs(wide, &p, 99, &s)); }
PROBE(open_wmemstream) { wchar_t *text; size_t size; FILE *f = open_wmemstream(&text, &size); fwprintf(f, L"%d", 77); fclose(f); WIDE(text); INT(size); }
PROBE(putwc) { FILE *f = fopen("w", "w+"); INT(putwc(L'a', f)); rewind(f); INT(getwc(f)); }
PROBE(putwchar) { setlocale(LC_ALL, "C.UTF-8"); fclose(stdout); stdout = fopen("/dev/fd/2", "w"); wint_t r = putwchar(0x20ac); fprintf(stderr, "%x\n", (unsigned)r); fflush(NULL); }
PROBE(swprintf) { INT(swprintf(wide, 99, L"%05d %ls %.2f", 42, L"x", 1.5)); WIDE(wide); CALL(swprintf(wide, 2, L"long")); }
PROBE(swscanf) { int n; INT(swscanf(L"12 ab", L"%d %ls", &n, wide)); INT(n); WIDE(wide); }
PROBE(ungetwc) { FILE *f = euro(); INT(ungetwc(0xe9, f)); INT(fgetwc(f)); INT(fgetwc(f)); INT(ungetwc(WEOF, f)); }
static int list_vfwprintf(va_list a) { return vfwprintf(stderr, L"%d-%d\n", a); }
PROBE(vfwprintf) { INT(by_list(list_vfwprintf, 1, 2)); }
static int list_vfwscanf(va_list a) { return vfwscanf(stdin, L"%ls %s", a); }
PROBE(vfwscanf) { INT(by_list(list_vfwscanf, wide, space)); WIDE(wide); TEXT(space); }
static int list_vswprintf(va_list a) { return vswprintf(wide, 99, L"%x %c", a); }
PROBE(vswprintf) { INT(by_list(list_vswprintf, 255, 'y')); WIDE(wide); }
static int list_vswscanf(va_list a) { return vswscanf(L"7,8", L"%d,%d", a); }
PROBE(vswscanf) { int a, b; INT(by_list(list_vswscanf, &a, &b)); INT(a * 10 + b); }
static int list_vwprintf(va_list a) { return vwprintf(L"%s %ls\n", a); }
PROBE(vwprintf) { setlocale(LC_ALL, "C.UTF-8"); fprintf(stderr, "%d\n", by_list(list_vwprintf, "n", L"\xe9")); }
static int list_vwscanf(va_list a) { return vwscanf(L"%ls", a); }
PROBE(vwscanf) { INT(by_list(list_vwscanf, wide)); WIDE(wide); }
PROBE(wcpcpy) { INT(wcpcpy(wide, L"abc") - wide); WIDE(wide); }
PROBE(wcpncpy) { INT(wcpncpy(wide, L"ab", 5) - wide); INT(wide[4]); INT(wcpncpy(wide, L"abcdef", 3) - wide); }
PROBE(wcrtomb) { mbstate_t s = {0}; setlocale(LC_ALL, "C.UTF-8"); INT(wcrtomb(space, 0x20ac, &s)); CALL(wcrtomb(space, 0xdfff, &s)); INT(wcrtomb(NULL, L'x', &s)); }
PROBE(wcscasecmp) { setlocale(LC_ALL, "C.UTF-8"); INT(wcscasecmp(L"\xc9T", L"\xe9t")); INT(wcscasecmp(L"a", L"B") < 0); }
PROBE(wcscasecmp_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(wcscasecmp_l(L"\x3a9", L"\x3c9", l)); INT(wcscasecmp_l(L"z", L"A", l) > 0); }
PROBE(wcscat) { wcscpy(wide, L"a"); WIDE(wcscat(wide, L"bc")); }
PROBE(wcschr) { wchar_t *s = L"banana"; INT(wcschr(s, L'n') - s); INT(wcschr(s, L'x') == NULL); INT(wcschr(s, 0) - s); }
PROBE(wcscmp) { INT(wcscmp(L"a", L"b") < 0); INT(wcscmp(L"\x10ffff", L"a") > 0); INT(wcscmp(L"", L"")); }
PROBE(wcscoll) { setlocale(LC_ALL, ""); INT(wcscoll(L"a", L"b") < 0); INT(wcscoll(L"q", L"q")); }
PROBE(wcscoll_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(wcscoll_l(L"b", L"a", l) > 0); }
PROBE(wcscpy) { WIDE(wcscpy(wide, L"copy")); }
PROBE(wcscspn) { INT(wcscspn(L"hello", L"lo")); INT(wcscspn(L"abc", L"z")); }
PROBE(wcsdup) { wchar_t *w = wcsdup(L"dup"); WIDE(w); free(w); }
PROBE(wcsftime) { struct tm t = {.tm_year = 124, .tm_mon = 5, .tm_mday = 14, .tm_wday = 5}; INT(wcsftime(wide, 99, L"%A %d %B %Y", &t)); WIDE(wide); INT(wcsftime(wide, 3, L"%Y", &t)); }
PROBE(wcslcat) { wcscpy(wide, L"ab"); INT(wcslcat(wide, L"cdef", 5)); WIDE(wide); }
PROBE(wcslcpy) { INT(wcslcpy(wide, L"abcdef", 4)); WIDE(wide); }
PROBE(wcslen) { INT(wcslen(L"")); INT(wcslen(L"\x1f600xyz")); }
PROBE(wcsncasecmp) { INT(wcsncasecmp(L"ABx", L"aby", 2)); INT(wcsncasecmp(L"ABx", L"aby", 3) < 0); }
PROBE(wcsncasecmp_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(wcsncasecmp_l(L"\x416q", L"\x436r", 1, l)); INT(wcsncasecmp_l(L"b", L"A", 1, l) > 0); }
PROBE(wcsncat) { wcscpy(wide, L"1"); WIDE(wcsncat(wide, L"2345", 2)); }
PROBE(wcsncmp) { INT(wcsncmp(L"abX", L"abY", 2)); INT(wcsncmp(L"abX", L"abY", 3) < 0); }
PROBE(wcsncpy) { wmemset(wide, L'.', 6); wcsncpy(wide, L"ab", 4); INT(wide[3]); INT(wide[4]); }
PROBE(wcsnlen) { INT(wcsnlen(L"abcdef", 4)); INT(wcsnlen(L"a", 4)); }
PROBE(wcsnrtombs) { mbstate_t s = {0}; const wchar_t *p = L"\xe9\x20acz"; setlocale(LC_ALL, "C.UTF-8"); INT(wcsnrtombs(space, &p, 2, 99, &s)); space[5] = 0; TEXT(space); INT(*p); }
PROBE(wcspbrk) { wchar_t *s = L"key=v"; INT(wcspbrk(s, L"=;") - s); INT(wcspbrk(s, L"?") == NULL); }
PROBE(wcsrchr) { wchar_t *s = L"/a/b"; INT(wcsrchr(s, L'/') - s); INT(wcsrchr(s, L'z') == NULL); }
PROBE(wcsrtombs) { mbstate_t s = {0}; const wchar_t *p = L"\x20ac!"; setlocale(LC_ALL, "C.UTF-8"); INT(wcsrtombs(space, &p, 99, &s)); TEXT(space); INT(p == NULL); p = (wchar_t[]){0xd800, 0}; CALL(wcsrtombs(space, &p, 9, &s)); }
PROBE(wcsspn) { INT(wcsspn(L"112x", L"12")); }
PROBE(wcsstr) { wchar_t *s = L"a needle"; INT(wcsstr(s, L"need") - s); INT(wcsstr(s, L"no") == NULL); INT(wcsstr(s, L"") - s); }
PROBE(wcstod) { wchar_t *end; REAL(wcstod(L" 2.5e-3x", &end)); INT(*end); REAL(wcstod(L"infinity", &end)); REAL(wcstod(L"-1e999", &end)); INT(errno); }
PROBE(wcstof) { REAL(wcstof(L"0.1", NULL)); REAL(wcstof(L"0x1p3", NULL)); }
PROBE(wcstok) { wchar_t *rest; wcscpy(wide, L"a,,b"); WIDE(wcstok(wide, L",", &rest)); WIDE(wcstok(NULL, L",", &rest)); INT(wcstok(NULL, L",", &rest) == NULL); }
PROBE(wcstol) { wchar_t *end; INT(wcstol(L"-077z", &end, 8)); INT(*end); INT(wcstol(L"99999999999999999999", NULL, 10)); INT(errno); }
PROBE(wcstold) { LONG(wcstold(L"1.5", NULL)); LONG(wcstold(L"0.3", NULL)); }
PROBE(wcstoll) { INT(wcstoll(L"0x7fffffffffffffff", NULL, 0)); INT(wcstoll(L"z", NULL, 36)); }
PROBE(wcstoul) { printf("%lu\n", wcstoul(L"-1", NULL, 10)); printf("%lu\n", wcstoul(L"777", NULL, 8)); }
PROBE(wcstoull) { printf("%llu\n", wcstoull(L"18446744073709551616", NULL, 10)); INT(errno); }
PROBE(wcswidth) { setlocale(LC_ALL, "C.UTF-8"); INT(wcswidth(L"ab\x4e00", 3)); INT(wcswidth(L"\n", 1)); INT(wcswidth(L"abc", 2)); }
PROBE(wcsxfrm) { INT(wcsxfrm(wide, L"abc", 99)); INT(wcsxfrm(NULL, L"abcd", 0)); }
PROBE(wcsxfrm_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); INT(wcsxfrm_l(wide, L"xy", 99, l)); WIDE(wide); }
PROBE(wctob) { setlocale(LC_ALL, "C.UTF-8"); INT(wctob(L'a')); INT(wctob(0xe9)); INT(wctob(WEOF)); }
PROBE(wcwidth) { setlocale(LC_ALL, "C.UTF-8"); INT(wcwidth(L'a')); INT(wcwidth(0x4e00)); INT(wcwidth(0x301)); INT(wcwidth(7)); INT(wcwidth(0)); }
PROBE(wmemchr) { wchar_t *s = L"a\0b"; INT(wmemchr(s, L'b', 3) - s); INT(wmemchr(s, L'b', 2) == NULL); }
PROBE(wmemcmp) { INT(wmemcmp(L"a\0b", L"a\0c", 3) < 0); INT(wmemcmp(L"x", L"y", 0)); }
PROBE(wmemcpy) { INT(wmemcpy(wide, L"wxyz", 5) == wide); WIDE(wide); }
PROBE(wmemmove) { wcscpy(wide, L"0123456"); wmemmove(wide + 1, wide, 4); WIDE(wide); }
PROBE(wmemset) { wmemset(wide, 0x20ac, 3); wide[3] = 0; WIDE(wide); }
PROBE(wprintf) { setlocale(LC_ALL, "C.UTF-8"); fprintf(stderr, "%d\n", wprintf(L"%5ls|%-4d|%lc\n", L"\xe9", 7, 0x20ac)); }
PROBE(wscanf) { INT(wscanf(L"%3ls%s", wide, space)); WIDE(wide); TEXT(space); }
