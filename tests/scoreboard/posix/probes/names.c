/* <pwd.h>, <grp.h>, <search.h>, <regex.h>, <dlfcn.h>, <fmtmsg.h>, <ndbm.h> */
#include "probe.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <fmtmsg.h>
#include <grp.h>
#include <pwd.h>
#include <regex.h>
#include <search.h>
#if __has_include(<ndbm.h>)
#include <ndbm.h>
#elif __has_include(<gdbm-ndbm.h>)
#include <gdbm-ndbm.h>
#endif

static char space[2048];
static struct passwd user, *user_result;
static struct group group, *group_result;

PROBE(getpwnam) { struct passwd *p = getpwnam("root"); TEXT(p->pw_dir); INT(p->pw_uid); TEXT(p->pw_shell); errno = 0; INT(getpwnam("no-such-user") == NULL); INT(errno); }
PROBE(getpwuid) { TEXT(getpwuid(0)->pw_name); INT(getpwuid(54321) == NULL); }
PROBE(getpwnam_r) { INT(getpwnam_r("daemon", &user, space, sizeof space, &user_result)); INT(user.pw_uid); TEXT(user.pw_dir); INT(getpwnam_r("root", &user, space, 3, &user_result)); INT(getpwnam_r("no-such-user", &user, space, sizeof space, &user_result)); INT(user_result == NULL); }
PROBE(getpwuid_r) { INT(getpwuid_r(1, &user, space, sizeof space, &user_result)); TEXT(user.pw_name); INT(getpwuid_r(54321, &user, space, sizeof space, &user_result)); INT(user_result == NULL); }
PROBE(getpwent) { int n = 0; while (getpwent()) n++; INT(n); setpwent(); TEXT(getpwent()->pw_name); }
PROBE(setpwent) { getpwent(); getpwent(); setpwent(); TEXT(getpwent()->pw_name); }
PROBE(endpwent) { getpwent(); getpwent(); endpwent(); TEXT(getpwent()->pw_name); }
PROBE(getgrnam) { struct group *g = getgrnam("tty"); INT(g->gr_gid); TEXT(g->gr_name); INT(g->gr_mem[0] == NULL); INT(getgrnam("no-such-group") == NULL); }
PROBE(getgrgid) { TEXT(getgrgid(0)->gr_name); INT(getgrgid(54321) == NULL); }
PROBE(getgrnam_r) { INT(getgrnam_r("root", &group, space, sizeof space, &group_result)); INT(group.gr_gid); INT(getgrnam_r("root", &group, space, 2, &group_result)); }
PROBE(getgrgid_r) { INT(getgrgid_r(5, &group, space, sizeof space, &group_result)); TEXT(group.gr_name); INT(getgrgid_r(54321, &group, space, sizeof space, &group_result)); INT(group_result == NULL); }
PROBE(getgrent) { int n = 0; while (getgrent()) n++; INT(n); setgrent(); TEXT(getgrent()->gr_name); }
PROBE(setgrent) { getgrent(); getgrent(); setgrent(); TEXT(getgrent()->gr_name); }
PROBE(endgrent) { getgrent(); getgrent(); endgrent(); TEXT(getgrent()->gr_name); }

static void fill(void) { char *names[] = {"one", "two", "three"}; hcreate(10); for (int i = 0; i < 3; i++) hsearch((ENTRY){names[i], (void *)(long)(i + 1)}, ENTER); }
PROBE(hcreate) { INT(hcreate(10)); INT(hcreate(10)); hdestroy(); INT(hcreate(10)); }
PROBE(hsearch) { fill(); ENTRY *e = hsearch((ENTRY){"two", NULL}, FIND); INT((long)e->data); INT(hsearch((ENTRY){"four", NULL}, FIND) == NULL); INT(errno); }
PROBE(hdestroy) { fill(); hdestroy(); hcreate(5); INT(hsearch((ENTRY){"two", NULL}, FIND) == NULL); }
struct element { struct element *next, *previous; int value; };
PROBE(insque) { struct element a = {NULL, NULL, 1}, b = {NULL, NULL, 2}, c = {NULL, NULL, 3}; insque(&a, NULL); insque(&b, &a); insque(&c, &a); INT(a.next->value); INT(a.next->next->value); INT(b.previous->value); }
PROBE(remque) { struct element a = {NULL, NULL, 1}, b = {NULL, NULL, 2}, c = {NULL, NULL, 3}; insque(&a, NULL); insque(&b, &a); insque(&c, &b); remque(&b); INT(a.next->value); INT(c.previous->value); }
static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
PROBE(lfind) { int a[] = {4, 9, 2}, k = 9, no = 5; size_t n = 3; INT((int *)lfind(&k, a, &n, sizeof *a, by_value) - a); INT(lfind(&no, a, &n, sizeof *a, by_value) == NULL); }
PROBE(lsearch) { int a[5] = {4, 9, 2}, k = 7; size_t n = 3; INT((int *)lsearch(&k, a, &n, sizeof *a, by_value) - a); INT(n); INT(a[3]); }
static void *tree; static int numbers[] = {5, 2, 8, 1, 9};
static void plant(void) { for (int i = 0; i < 5; i++) tsearch(&numbers[i], &tree, by_value); }
static void walked(const void *node, VISIT visit, int level) { if (visit == postorder || visit == leaf) printf("%d ", **(int *const *)node); }
PROBE(tsearch) { plant(); int again = 8; INT(**(int **)tsearch(&again, &tree, by_value)); INT(*(int **)tsearch(&again, &tree, by_value) == &numbers[2]); twalk(tree, walked); }
PROBE(tfind) { plant(); int k = 9, no = 7; INT(**(int **)tfind(&k, &tree, by_value)); INT(tfind(&no, &tree, by_value) == NULL); }
PROBE(tdelete) { plant(); int k = 2; INT(tdelete(&k, &tree, by_value) != NULL); INT(tfind(&k, &tree, by_value) == NULL); INT(tdelete(&k, &tree, by_value) == NULL); twalk(tree, walked); }
PROBE(twalk) { plant(); twalk(tree, walked); twalk(NULL, walked); }

static regex_t pattern;
static void match(const char *expression, int flags, const char *text) { regmatch_t m[4]; int r = regcomp(&pattern, expression, flags); printf("%s: compiled %d", expression, r); if (!r) { r = regexec(&pattern, text, 4, m, 0); printf(" matched %d", r); for (int i = 0; !r && i < 4; i++) printf(" %d-%d", (int)m[i].rm_so, (int)m[i].rm_eo); regfree(&pattern); } puts(""); }
PROBE(regcomp) { match("a(b|c)*d", REG_EXTENDED, "xabcbd"); match("[", 0, ""); match("\\(x\\)\\1", 0, "axx"); match("*", REG_EXTENDED, "*"); match("a{1,2}{2}", REG_EXTENDED, "aaaa"); match("(", REG_EXTENDED, ""); INT(regcomp(&pattern, "(a)(b)", REG_EXTENDED)); INT(pattern.re_nsub); }
PROBE(regexec) { match("^([a-z]+)@([a-z.]+)$", REG_EXTENDED, "user@host.org"); match("HELLO", REG_ICASE, "say hello"); match("b$", REG_NEWLINE, "ab\ncd"); regcomp(&pattern, "^a", 0); INT(regexec(&pattern, "a", 0, NULL, REG_NOTBOL)); match("[[:digit:]]+", REG_EXTENDED, "abc 123"); match("(a|ab)(c|bcd)", REG_EXTENDED, "abcd"); }
PROBE(regerror) { int r = regcomp(&pattern, "[a", 0); INT(regerror(r, &pattern, space, 99)); TEXT(space); INT(regerror(REG_NOMATCH, NULL, space, 4)); TEXT(space); }
PROBE(regfree) { regcomp(&pattern, "(x+)+", REG_EXTENDED); regfree(&pattern); INT(regcomp(&pattern, "y", 0)); regfree(&pattern); }

PROBE(dlopen) { void *m = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL); INT(m != NULL); INT(dlopen("libm.so.6", RTLD_NOLOAD | RTLD_LAZY) == m); INT(dlopen("no-such-library.so", RTLD_NOW) == NULL); INT(dlopen(NULL, RTLD_NOW) != NULL); }
PROBE(dlsym) { double (*cosine)(double) = dlsym(dlopen("libm.so.6", RTLD_NOW), "cos"); REAL(cosine(0)); INT(dlsym(RTLD_DEFAULT, "no_such_symbol") == NULL); int (*n)(const char *) = dlsym(RTLD_DEFAULT, "atoi"); INT(n("42")); }
PROBE(dlerror) { dlopen("no-such-library.so", RTLD_NOW); TEXT(dlerror()); TEXT(dlerror()); }
PROBE(dlclose) { void *m = dlopen("libutil.so.1", RTLD_NOW); INT(m != NULL); INT(dlclose(m)); INT(dlclose(m) != 0 || 1); }
PROBE(dladdr) { Dl_info i; INT(dladdr(dlsym(RTLD_DEFAULT, "strtol"), &i) != 0); INT(i.dli_fname != NULL && strstr(i.dli_fname, "libc") != NULL); int local; INT(dladdr(&local, &i)); }
PROBE(fmtmsg) { setenv("MSGVERB", "severity:text:action", 1); INT(fmtmsg(MM_PRINT | MM_SOFT, "UX:probe", MM_ERROR, "went wrong", "mend it", "UX:probe:001")); INT(fmtmsg(MM_PRINT, "nolabel", MM_INFO, "x", NULL, NULL)); }

static DBM *base(void) { DBM *d = dbm_open("base", O_RDWR | O_CREAT, 0600); for (int i = 0; i < 3; i++) { char k[] = {'k', '0' + i}, v[] = {'v', '0' + i, 0}; dbm_store(d, (datum){k, 2}, (datum){v, 3}, DBM_INSERT); } return d; }
static const datum first_key = {"k1", 2};
PROBE(dbm_open) { DBM *d = base(); INT(d != NULL); dbm_close(d); INT(dbm_open("missing", O_RDONLY, 0) == NULL); INT(errno); }
PROBE(dbm_close) { DBM *d = base(); dbm_close(d); d = dbm_open("base", O_RDONLY, 0); TEXT(dbm_fetch(d, first_key).dptr); }
PROBE(dbm_store) { DBM *d = base(); INT(dbm_store(d, first_key, (datum){"new", 4}, DBM_INSERT)); TEXT(dbm_fetch(d, first_key).dptr); INT(dbm_store(d, first_key, (datum){"new", 4}, DBM_REPLACE)); TEXT(dbm_fetch(d, first_key).dptr); }
PROBE(dbm_fetch) { DBM *d = base(); INT(dbm_fetch(d, first_key).dsize); INT(dbm_fetch(d, (datum){"none", 4}).dptr == NULL); }
PROBE(dbm_delete) { DBM *d = base(); INT(dbm_delete(d, first_key)); INT(dbm_delete(d, first_key)); INT(dbm_fetch(d, first_key).dptr == NULL); }
PROBE(dbm_firstkey) { DBM *d = base(); INT(dbm_firstkey(d).dsize); }
PROBE(dbm_nextkey) { DBM *d = base(); int n = 0; for (datum k = dbm_firstkey(d); k.dptr; k = dbm_nextkey(d)) n++; INT(n); }
PROBE(dbm_error) { DBM *d = base(); INT(dbm_error(d)); }
PROBE(dbm_clearerr) { DBM *d = base(); dbm_clearerr(d); INT(dbm_error(d)); }
