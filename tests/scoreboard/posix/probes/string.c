/* <string.h>, <strings.h> */
#include "probe.h"
#include <strings.h>
#include <signal.h>

static char space[64];

PROBE(memccpy) { memset(space, '.', 10); INT((char *)memccpy(space, "hello", 'l', 5) - space); TEXT(space); INT(memccpy(space, "abc", 'z', 3) == NULL); }
PROBE(memchr) { INT((char *)memchr("a\0bcd", 'c', 5) - (char *)memchr("a\0bcd", 'a', 5) == 3); INT(memchr("abc", 'z', 3) == NULL); }
PROBE(memcmp) { INT(memcmp("a\0b", "a\0c", 3) < 0); INT(memcmp("\x80", "\x7f", 1) > 0); INT(memcmp("x", "y", 0)); }
PROBE(memcpy) { INT(memcpy(space, "copied", 7) == space); TEXT(space); }
PROBE(memmem) { char *s = "needle in haystack needle"; INT((char *)memmem(s + 1, 24, "needle", 6) - s); INT(memmem(s, 5, "needle", 6) == NULL); INT((char *)memmem(s, 5, "", 0) - s); }
PROBE(memmove) { strcpy(space, "0123456789"); memmove(space + 2, space, 8); TEXT(space); memmove(space, space + 3, 7); TEXT(space); }
PROBE(memset) { memset(space, 'x' | 256, 5); TEXT(space); }
PROBE(stpcpy) { INT(stpcpy(space, "end") - space); TEXT(space); }
PROBE(stpncpy) { memset(space, '.', 9); INT(stpncpy(space, "abc", 6) - space); INT(space[5]); INT(space[6]); INT(stpncpy(space, "abcdef", 3) - space); }
PROBE(strcat) { strcpy(space, "one"); TEXT(strcat(space, "two")); }
PROBE(strchr) { char *s = "banana"; INT(strchr(s, 'n') - s); INT(strchr(s, 0) - s); INT(strchr(s, 'z') == NULL); }
PROBE(strcmp) { INT(strcmp("abc", "abd") < 0); INT(strcmp("abc", "ab") > 0); INT(strcmp("\xff", "a") > 0); INT(strcmp("", "")); }
PROBE(strcoll) { setlocale(LC_ALL, ""); INT(strcoll("abc", "abd") < 0); INT(strcoll("B", "a") < 0); }
PROBE(strcoll_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); INT(strcoll_l("B", "a", l) < 0); INT(strcoll_l("same", "same", l)); freelocale(l); }
PROBE(strcpy) { INT(strcpy(space, "text") == space); TEXT(space); }
PROBE(strcspn) { INT(strcspn("hello, world", ", ")); INT(strcspn("abc", "")); }
PROBE(strdup) { char *s = strdup("twice"); TEXT(s); free(s); }
PROBE(strerror) { TEXT(strerror(ENOENT)); TEXT(strerror(0)); errno = 0; TEXT(strerror(99999)); INT(errno); }
PROBE(strerror_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); TEXT(strerror_l(EINTR, l)); freelocale(l); }
PROBE(strerror_r) { extern int __xpg_strerror_r(int, char *, size_t); INT(__xpg_strerror_r(EPERM, space, sizeof space)); TEXT(space); INT(__xpg_strerror_r(EPERM, space, 4)); }
PROBE(strlcat) { strcpy(space, "abc"); INT(strlcat(space, "defgh", 6)); TEXT(space); INT(strlcat(space, "x", 3)); }
PROBE(strlcpy) { INT(strlcpy(space, "truncated", 5)); TEXT(space); INT(strlcpy(space, "ok", 0)); TEXT(space); }
PROBE(strlen) { INT(strlen("")); INT(strlen("four\0more")); }
PROBE(strncat) { strcpy(space, "ab"); TEXT(strncat(space, "cdef", 2)); TEXT(strncat(space, "g", 9)); }
PROBE(strncmp) { INT(strncmp("abcX", "abcY", 3)); INT(strncmp("abcX", "abcY", 4) < 0); INT(strncmp("a", "b", 0)); }
PROBE(strncpy) { memset(space, '.', 8); strncpy(space, "ab", 5); INT(space[4]); INT(space[5]); }
PROBE(strndup) { char *s = strndup("abcdef", 3); TEXT(s); free(s); s = strndup("ab", 9); TEXT(s); free(s); }
PROBE(strnlen) { INT(strnlen("abcdef", 3)); INT(strnlen("ab", 9)); INT(strnlen("x", 0)); }
PROBE(strpbrk) { char *s = "key=value;"; INT(strpbrk(s, ";=") - s); INT(strpbrk(s, "?") == NULL); }
PROBE(strrchr) { char *s = "/usr/bin/env"; INT(strrchr(s, '/') - s); INT(strrchr(s, 0) - s); INT(strrchr(s, '?') == NULL); }
PROBE(strsignal) { TEXT(strsignal(SIGSEGV)); TEXT(strsignal(SIGCHLD)); }
PROBE(strspn) { INT(strspn("129th", "1234567890")); INT(strspn("abc", "z")); }
PROBE(strstr) { char *s = "a needle"; INT(strstr(s, "needle") - s); INT(strstr(s, "") - s); INT(strstr(s, "needles") == NULL); }
PROBE(strtok) { strcpy(space, ",a,,b;c"); TEXT(strtok(space, ",")); TEXT(strtok(NULL, ",;")); TEXT(strtok(NULL, ";")); TEXT(strtok(NULL, ";")); }
PROBE(strtok_r) { char *rest; strcpy(space, "x y"); TEXT(strtok_r(space, " ", &rest)); TEXT(rest); TEXT(strtok_r(NULL, " ", &rest)); TEXT(strtok_r(NULL, " ", &rest)); }
PROBE(strxfrm) { char other[64]; setlocale(LC_ALL, ""); INT(strxfrm(space, "abc", 64)); strxfrm(other, "abd", 64); INT(strcmp(space, other) < 0); INT(strxfrm(NULL, "abc", 0)); }
PROBE(strxfrm_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); INT(strxfrm_l(space, "abc", 64, l)); TEXT(space); freelocale(l); }
PROBE(ffs) { INT(ffs(0)); INT(ffs(1)); INT(ffs(0x80000000)); INT(ffs(40)); }
PROBE(ffsl) { INT(ffsl(0)); INT(ffsl(1L << 40)); INT(ffsl(-1)); }
PROBE(ffsll) { INT(ffsll(1LL << 63)); INT(ffsll(12)); }
PROBE(strcasecmp) { INT(strcasecmp("HeLLo", "hEllO")); INT(strcasecmp("a", "B") < 0); INT(strcasecmp("_", "A") < 0); }
PROBE(strcasecmp_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); INT(strcasecmp_l("ABC", "abc", l)); INT(strcasecmp_l("ABD", "abc", l) > 0); freelocale(l); }
PROBE(strncasecmp) { INT(strncasecmp("ABCx", "abcy", 3)); INT(strncasecmp("ABCx", "abcy", 4) < 0); }
PROBE(strncasecmp_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); INT(strncasecmp_l("ABCx", "abcy", 3, l)); INT(strncasecmp_l("b", "A", 1, l) > 0); freelocale(l); }
