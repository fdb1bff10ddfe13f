/* <sys/stat.h>, <sys/statvfs.h>, <fcntl.h>, <dirent.h>, <ftw.h>, <glob.h>, <sys/uio.h>, <devctl.h> */
#include "probe.h"
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <glob.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <wordexp.h>
#include <libgen.h>
#if __has_include(<devctl.h>)
#include <devctl.h>
#endif

static char space[256];
static struct stat s;
static mode_t mode_of(const char *path) { return lstat(path, &s) ? 0 : s.st_mode; }

PROBE(chmod) { make_file("f", ""); CALL(chmod("f", 04751)); INT(mode_of("f")); CALL(chmod("missing", 0)); symlink("f", "l"); CALL(chmod("l", 0600)); INT(mode_of("f")); int status; fflush(stdout); if (!fork()) { setuid(65534); CALL(chmod("f", 0777)); fflush(stdout); _exit(0); } wait(&status); }
PROBE(fchmod) { int f = open("f", O_CREAT, 0600); CALL(fchmod(f, 02640)); INT(mode_of("f")); CALL(fchmod(99, 0)); }
PROBE(fchmodat) { mkdir("d", 0777); make_file("d/f", ""); int d = open("d", O_RDONLY); CALL(fchmodat(d, "f", 0444, 0)); INT(mode_of("d/f")); CALL(fchmodat(d, "f", 0444, 0x4000)); symlink("f", "d/l"); CALL(fchmodat(d, "l", 0444, AT_SYMLINK_NOFOLLOW)); }
PROBE(fstat) { int f = open("f", O_CREAT | O_RDWR, 0640); write(f, "12345", 5); CALL(fstat(f, &s)); INT(s.st_size); INT(s.st_mode); INT(s.st_nlink); INT(s.st_uid); CALL(fstat(99, &s)); int p[2]; pipe(p); fstat(p[0], &s); INT(S_ISFIFO(s.st_mode)); }
PROBE(fstatat) { symlink("t", "l"); CALL(fstatat(AT_FDCWD, "l", &s, AT_SYMLINK_NOFOLLOW)); INT(S_ISLNK(s.st_mode)); INT(s.st_size); CALL(fstatat(AT_FDCWD, "l", &s, 0)); CALL(fstatat(99, "l", &s, 0)); CALL(fstatat(AT_FDCWD, "", &s, 0)); }
PROBE(lstat) { symlink("nowhere", "l"); CALL(lstat("l", &s)); INT(s.st_size); INT(S_ISLNK(s.st_mode)); CALL(lstat("missing", &s)); CALL(lstat("l/x", &s)); }
PROBE(stat) { CALL(stat("/dev/null", &s)); INT(S_ISCHR(s.st_mode)); INT(major(s.st_rdev) * 100 + minor(s.st_rdev)); mkdir("d", 0750); CALL(stat("d", &s)); INT(s.st_mode); INT(s.st_nlink); make_file("f", "x"); stat("f", &s); INT(s.st_blocks > 0); CALL(stat("f/x", &s)); memset(space, 'n', 255); char long_name[300]; memset(long_name, 'n', 299); long_name[299] = 0; CALL(stat(long_name, &s)); }
PROBE(futimens) { int f = open("f", O_CREAT | O_RDWR, 0600); struct timespec t[2] = {{5, 6}, {7, 8}}; CALL(futimens(f, t)); fstat(f, &s); INT(s.st_atim.tv_nsec); INT(s.st_mtim.tv_sec); t[0].tv_nsec = UTIME_OMIT; t[1].tv_nsec = UTIME_NOW; CALL(futimens(f, t)); fstat(f, &s); INT(s.st_atim.tv_sec); INT(s.st_mtim.tv_sec > 1700000000); CALL(futimens(99, NULL)); }
PROBE(utimensat) { struct timespec t[2] = {{-5, 0}, {7, 1000000000}}; make_file("f", ""); CALL(utimensat(AT_FDCWD, "f", t, 0)); t[1].tv_nsec = 9; CALL(utimensat(AT_FDCWD, "f", t, 0)); stat("f", &s); INT(s.st_atim.tv_sec); symlink("f", "l"); t[0].tv_sec = 1; CALL(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW)); lstat("l", &s); INT(s.st_mtim.tv_nsec); CALL(utimensat(AT_FDCWD, "f", t, 77)); }
PROBE(mkdir) { umask(027); CALL(mkdir("d", 0777)); INT(mode_of("d")); CALL(mkdir("d", 0777)); CALL(mkdir("no/d", 0777)); CALL(mkdir("", 0777)); make_file("f", ""); CALL(mkdir("f/d", 0777)); chmod("d", 02777); mkdir("d/e", 0777); INT(mode_of("d/e")); }
PROBE(mkdirat) { mkdir("d", 0777); int d = open("d", O_RDONLY); CALL(mkdirat(d, "e", 0700)); INT(mode_of("d/e")); CALL(mkdirat(99, "e", 0700)); CALL(mkdirat(open("/dev/null", O_RDONLY), "e", 0700)); }
PROBE(mkfifo) { CALL(mkfifo("p", 0622)); INT(mode_of("p")); CALL(mkfifo("p", 0622)); CALL(open("p", O_WRONLY | O_NONBLOCK)); int r = open("p", O_RDONLY | O_NONBLOCK), w = open("p", O_WRONLY); write(w, "fifo", 4); INT(read(r, space, 9)); }
PROBE(mkfifoat) { mkdir("d", 0777); int d = open("d", O_RDONLY); CALL(mkfifoat(d, "p", 0600)); INT(mode_of("d/p")); CALL(mkfifoat(99, "p", 0600)); }
PROBE(mknod) { CALL(mknod("f", S_IFREG | 0640, 0)); INT(mode_of("f")); CALL(mknod("p", S_IFIFO | 0600, 0)); INT(mode_of("p")); CALL(mknod("n", S_IFCHR | 0600, makedev(1, 3))); INT(mode_of("n")); CALL(mknod("x", S_IFDIR | 0700, 0)); CALL(mknod("f", S_IFREG, 0)); int f = open("n", O_WRONLY); CALL(write(f, "x", 1)); }
PROBE(mknodat) { mkdir("d", 0777); int d = open("d", O_RDONLY); CALL(mknodat(d, "s", S_IFSOCK | 0600, 0)); INT(mode_of("d/s")); CALL(open("d/s", O_RDONLY)); CALL(mknodat(99, "s", S_IFREG, 0)); }
PROBE(umask) { INT(umask(077) <= 0777); INT(umask(0)); close(open("f", O_CREAT, 0666)); INT(mode_of("f")); umask(0777); close(open("g", O_CREAT, 0666)); INT(mode_of("g")); INT(umask(07777)); INT(umask(0)); }
PROBE(statvfs) { struct statvfs v; CALL(statvfs(".", &v)); INT(v.f_namemax); INT(v.f_bsize); INT(v.f_frsize); INT(v.f_bfree <= v.f_blocks); CALL(statvfs("missing", &v)); }
PROBE(fstatvfs) { struct statvfs v; CALL(fstatvfs(open(".", O_RDONLY), &v)); INT(v.f_namemax); INT(!!(v.f_flag & ST_RDONLY)); CALL(fstatvfs(99, &v)); }
PROBE(creat) { make_file("f", "content"); int f = creat("f", 0600); fstat(f, &s); INT(s.st_size); CALL(read(f, space, 1)); CALL(creat(".", 0600)); CALL(creat("no/f", 0600)); }
PROBE(fcntl) { int f = open("f", O_CREAT | O_RDWR, 0600), g = fcntl(f, F_DUPFD, 20); INT(g); CALL(fcntl(f, F_SETFD, FD_CLOEXEC)); INT(fcntl(f, F_GETFD)); INT(fcntl(g, F_GETFD)); INT(fcntl(fcntl(f, F_DUPFD_CLOEXEC, 30), F_GETFD)); CALL(fcntl(f, F_SETFL, O_APPEND | O_NONBLOCK)); INT(fcntl(g, F_GETFL)); struct flock l = {F_WRLCK, SEEK_SET, 0, 10}; CALL(fcntl(f, F_SETLK, &l)); fflush(stdout); int status; if (!fork()) { l.l_type = F_RDLCK; CALL(fcntl(f, F_GETLK, &l)); INT(l.l_type); INT(l.l_pid == getppid()); CALL(fcntl(f, F_SETLK, &l)); fflush(stdout); _exit(0); } wait(&status); CALL(fcntl(f, 9999)); CALL(fcntl(99, F_GETFD)); CALL(fcntl(f, F_DUPFD, -1)); }
PROBE(open) { CALL(open("missing", O_RDONLY)); int f = open("f", O_CREAT | O_EXCL | O_RDWR, 0640); INT(mode_of("f") & 0777); CALL(open("f", O_CREAT | O_EXCL, 0)); CALL(open(".", O_WRONLY)); CALL(open("f", O_DIRECTORY)); write(f, "123", 3); int g = open("f", O_WRONLY | O_APPEND); write(g, "45", 2); fstat(f, &s); INT(s.st_size); close(open("f", O_WRONLY | O_TRUNC)); fstat(f, &s); INT(s.st_size); symlink("f", "l"); CALL(open("l", O_NOFOLLOW)); symlink("loop", "loop"); CALL(open("loop", O_RDONLY)); CALL(open("f/x", O_RDONLY)); CALL(open("", O_RDONLY)); INT(fcntl(open("f", O_CLOEXEC), F_GETFD)); }
PROBE(openat) { mkdir("d", 0777); int d = open("d", O_RDONLY | O_DIRECTORY), f = openat(d, "f", O_CREAT | O_RDWR, 0600); INT(f > d); INT(mode_of("d/f")); CALL(openat(99, "f", O_RDONLY)); CALL(openat(f, "x", O_RDONLY)); INT(openat(99, "/dev/null", O_RDONLY) > 0); }
PROBE(posix_fadvise) { int f = open("f", O_CREAT | O_RDWR, 0600), p[2]; INT(posix_fadvise(f, 0, 0, POSIX_FADV_SEQUENTIAL)); INT(posix_fadvise(f, 0, 0, 99)); INT(posix_fadvise(99, 0, 0, 0)); pipe(p); INT(posix_fadvise(p[0], 0, 0, 0)); }
PROBE(posix_fallocate) { int f = open("f", O_CREAT | O_RDWR, 0600), p[2]; INT(posix_fallocate(f, 100, 5000)); fstat(f, &s); INT(s.st_size); INT(posix_fallocate(f, 0, 0)); INT(posix_fallocate(99, 0, 1)); pipe(p); INT(posix_fallocate(p[1], 0, 1)); }
PROBE(posix_devctl) { int info; INT(posix_devctl(0, 0, NULL, 0, &info)); }
PROBE(readv) { char a[4] = "", b[9] = ""; struct iovec v[2] = {{a, 3}, {b, 8}}; CALL(readv(0, v, 2)); TEXT(a); TEXT(b); CALL(readv(0, v, -1)); CALL(readv(0, v, 2000)); v[0].iov_len = -1; CALL(readv(0, v, 2)); }
PROBE(writev) { struct iovec v[3] = {{"ga", 2}, {NULL, 0}, {"thered\n", 7}}; CALL(writev(1, v, 3)); CALL(writev(99, v, 3)); CALL(writev(1, v, 0)); }
static void three_files(void) { mkdir("d", 0777); make_file("d/b", ""); make_file("d/a", ""); make_file("d/c10", ""); }
static int counted(DIR *d) { int n = 0; while (readdir(d)) n++; return n; }
static int letters(const struct dirent *e) { return e->d_name[0] != '.'; }
PROBE(alphasort) { struct dirent **list; three_files(); int n = scandir("d", &list, NULL, alphasort); for (int i = 0; i < n; i++) TEXT(list[i]->d_name); }
PROBE(scandir) { struct dirent **list; three_files(); int n = scandir("d", &list, letters, alphasort); INT(n); TEXT(list[2]->d_name); CALL(scandir("missing", &list, NULL, NULL)); }
PROBE(opendir) { three_files(); INT(counted(opendir("d"))); INT(opendir("missing") == NULL); INT(errno); INT(opendir("d/a") == NULL); INT(errno); }
PROBE(closedir) { three_files(); DIR *d = opendir("d"); int f = dirfd(d); CALL(closedir(d)); CALL(fcntl(f, F_GETFD)); }
PROBE(dirfd) { three_files(); DIR *d = opendir("d"); CALL(fstatat(dirfd(d), "a", &s, 0)); INT(fcntl(dirfd(d), F_GETFD)); }
PROBE(fdopendir) { three_files(); DIR *d = fdopendir(open("d", O_RDONLY)); INT(counted(d)); INT(fdopendir(0) == NULL); INT(errno); INT(fdopendir(99) == NULL); INT(errno); }
PROBE(posix_getdents) { three_files(); static char block[4096]; INT(posix_getdents(open("d", O_RDONLY), block, sizeof block, 0) > 0); }
PROBE(readdir) { three_files(); DIR *d = opendir("d"); int found = 0; struct dirent *e; while ((e = readdir(d))) { found += !strcmp(e->d_name, "c10") * 10 + !strcmp(e->d_name, ".."); if (e->d_name[0] == 'a') { stat("d/a", &s); INT(e->d_ino == s.st_ino); INT(e->d_type); } } INT(found); }
PROBE(readdir_r) { three_files(); DIR *d = opendir("d"); struct dirent e, *r; int n = 0; while (!readdir_r(d, &e, &r) && r) n++; INT(n); }
PROBE(rewinddir) { three_files(); DIR *d = opendir("d"); counted(d); make_file("d/new", ""); rewinddir(d); INT(counted(d)); }
PROBE(seekdir) { three_files(); DIR *d = opendir("d"); readdir(d); long at = telldir(d); char *name = strdup(readdir(d)->d_name); counted(d); seekdir(d, at); INT(strcmp(readdir(d)->d_name, name)); }
PROBE(telldir) { three_files(); DIR *d = opendir("d"); long at = telldir(d); counted(d); seekdir(d, at); INT(counted(d)); }
static int visited; static int depth;
static int visit(const char *path, const struct stat *info, int type, struct FTW *at) { visited++; depth = at->level > depth ? at->level : depth; if (type == FTW_F && !strcmp(path, "d/e/f")) { INT(info->st_size); INT(at->base); INT(at->level); } return 0; }
PROBE(nftw) { three_files(); mkdir("d/e", 0777); make_file("d/e/f", "xyz"); symlink("e", "d/l"); INT(nftw("d", visit, 5, FTW_PHYS)); INT(visited); INT(depth); visited = 0; INT(nftw("d", visit, 5, FTW_DEPTH | FTW_PHYS)); INT(visited); CALL(nftw("missing", visit, 5, 0)); }
PROBE(glob) { glob_t g; three_files(); INT(glob("d/[ab]*", 0, NULL, &g)); INT(g.gl_pathc); TEXT(g.gl_pathv[0]); INT(glob("d/z*", 0, NULL, &g)); INT(glob("d/z*", GLOB_NOCHECK, NULL, &g)); TEXT(g.gl_pathv[0]); INT(glob("d*", GLOB_MARK, NULL, &g)); TEXT(g.gl_pathv[0]); }
PROBE(globfree) { glob_t g; three_files(); glob("d/*", 0, NULL, &g); INT(g.gl_pathc); glob("d/a", GLOB_APPEND, NULL, &g); INT(g.gl_pathc); globfree(&g); puts("freed"); }
PROBE(fnmatch) { INT(fnmatch("*.c", "main.c", 0)); INT(fnmatch("*", "a/b", FNM_PATHNAME)); INT(fnmatch("*", ".hidden", FNM_PERIOD)); INT(fnmatch("[[:digit:]-z]?", "5x", 0)); INT(fnmatch("a\\*", "a*", 0)); INT(fnmatch("a\\*", "a\\b", FNM_NOESCAPE)); INT(fnmatch("ABC", "abc", FNM_CASEFOLD)); INT(fnmatch("[!a]", "a", 0)); }
PROBE(wordexp) { wordexp_t w; setenv("V", "two words", 1); INT(wordexp("a $V \"$V\" 'q u' ~nobody x$((1+2))", &w, 0)); for (size_t i = 0; i < w.we_wordc; i++) TEXT(w.we_wordv[i]); INT(wordexp("$(echo x)", &w, WRDE_NOCMD)); INT(wordexp("a|b", &w, 0)); INT(wordexp("$UNSET_NAME", &w, WRDE_UNDEF)); INT(wordexp("$(echo sub stituted)", &w, 0)); TEXT(w.we_wordv[1]); }
PROBE(wordfree) { wordexp_t w; wordexp("a b c", &w, 0); INT(w.we_wordc); wordexp("d", &w, WRDE_APPEND); INT(w.we_wordc); wordfree(&w); puts("freed"); }
PROBE(basename) { char a[] = "/usr/lib/", b[] = "/", c[] = "", d[] = "plain"; TEXT(basename(a)); TEXT(basename(b)); TEXT(basename(c)); TEXT(basename(d)); }
PROBE(dirname) { char a[] = "/usr/lib/", b[] = "/", c[] = "plain", d[] = "a//b"; TEXT(dirname(a)); TEXT(dirname(b)); TEXT(dirname(c)); TEXT(dirname(d)); }
