/* <unistd.h>: files and descriptors */
#include "probe.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
/* POSIX declares these here; glibc in <crypt.h> */
extern char *crypt(const char *, const char *);
extern void encrypt(char *, int), setkey(const char *);

static char space[256];

/* Do it in a child that has no privileges; its exit status is passed on. */
#define AS_NOBODY(statement) do { int status; fflush(stdout); if (!fork()) { setgid(65534); setuid(65534); statement; fflush(stdout); _exit(0); } wait(&status); INT(status); } while (0)

PROBE(access) { make_file("f", "x"); CALL(access("f", F_OK)); CALL(access("f", X_OK)); CALL(access("missing", R_OK)); chmod("f", 0600); chmod(".", 0755); AS_NOBODY(CALL(access("f", R_OK)); CALL(access(".", W_OK)); CALL(access(".", X_OK))); CALL(access("f", 99)); }
PROBE(faccessat) { make_file("f", ""); int d = open(".", O_RDONLY); CALL(faccessat(d, "f", R_OK, 0)); CALL(faccessat(d, "no", F_OK, AT_EACCESS)); CALL(faccessat(99, "f", F_OK, 0)); symlink("no", "l"); CALL(faccessat(d, "l", F_OK, 0)); CALL(faccessat(d, "l", F_OK, AT_SYMLINK_NOFOLLOW)); }
PROBE(chdir) { mkdir("d", 0777); CALL(chdir("d")); INT(strcmp(getcwd(space, 256) + strlen(space) - 2, "/d")); CALL(chdir("missing")); make_file("f", ""); CALL(chdir("f")); chmod(".", 0700); AS_NOBODY(CALL(chdir(space))); }
PROBE(fchdir) { mkdir("d", 0777); int d = open("d", O_RDONLY); CALL(fchdir(d)); make_file("in", ""); CALL(access("../d/in", F_OK)); CALL(fchdir(open("in", O_RDONLY))); CALL(fchdir(99)); }
PROBE(getcwd) { INT(getcwd(space, 256) == space); INT(space[0]); INT(getcwd(space, 3) == NULL); INT(errno); mkdir("gone", 0777); chdir("gone"); rmdir("../gone"); INT(getcwd(space, 256) == NULL); INT(errno); chdir("/"); TEXT(getcwd(NULL, 0)); }
PROBE(chown) { struct stat s; make_file("f", ""); CALL(chown("f", 12, 34)); stat("f", &s); INT(s.st_uid); INT(s.st_gid); CALL(chown("f", -1, 56)); stat("f", &s); INT(s.st_uid); CALL(chown("missing", 1, 1)); AS_NOBODY(CALL(chown("f", 1, 1))); chmod("f", 06755); chown("f", 1, 1); stat("f", &s); INT(s.st_mode & 07777); }
PROBE(fchown) { struct stat s; int f = open("f", O_CREAT, 0600); CALL(fchown(f, 7, 8)); fstat(f, &s); INT(s.st_uid * 100 + s.st_gid); CALL(fchown(99, 1, 1)); }
PROBE(fchownat) { struct stat s; symlink("none", "l"); CALL(fchownat(AT_FDCWD, "l", 5, 6, AT_SYMLINK_NOFOLLOW)); lstat("l", &s); INT(s.st_uid); CALL(fchownat(AT_FDCWD, "l", 5, 6, 0)); CALL(fchownat(AT_FDCWD, "l", 5, 6, 0x4000)); }
PROBE(lchown) { struct stat s; symlink("none", "l"); CALL(lchown("l", 3, 4)); lstat("l", &s); INT(s.st_gid); CALL(lchown("missing", 3, 4)); }
PROBE(close) { int f = dup(1); CALL(close(f)); CALL(close(f)); CALL(close(-1)); }
PROBE(posix_close) { int f = dup(1); CALL(posix_close(f, 0)); CALL(posix_close(f, 0)); }
PROBE(dup) { int f = dup(1); INT(f); write(f, "dup\n", 4); CALL(dup(99)); fcntl(f, F_SETFD, FD_CLOEXEC); INT(fcntl(dup(f), F_GETFD)); }
PROBE(dup2) { CALL(dup2(1, 9)); write(9, "nine\n", 5); CALL(dup2(1, 1)); CALL(dup2(99, 9)); CALL(dup2(1, -1)); CALL(dup2(1, 1 << 30)); }
PROBE(dup3) { CALL(dup3(1, 9, O_CLOEXEC)); INT(fcntl(9, F_GETFD)); CALL(dup3(1, 1, 0)); CALL(dup3(1, 8, O_APPEND)); }
PROBE(fdatasync) { int f = open("f", O_CREAT | O_RDWR, 0600); write(f, "x", 1); CALL(fdatasync(f)); CALL(fdatasync(99)); int p[2]; pipe(p); CALL(fdatasync(p[1])); }
PROBE(fsync) { int f = open("f", O_CREAT | O_RDWR, 0600); write(f, "x", 1); CALL(fsync(f)); CALL(fsync(99)); int p[2]; pipe(p); CALL(fsync(p[1])); }
PROBE(sync) { make_file("f", "x"); sync(); puts("done"); }
PROBE(ftruncate) { struct stat s; int f = open("f", O_CREAT | O_RDWR, 0600); CALL(ftruncate(f, 5000)); fstat(f, &s); INT(s.st_size); INT(pread(f, space, 9, 4995)); INT(space[0]); CALL(ftruncate(f, -1)); CALL(ftruncate(open("f", O_RDONLY), 1)); int p[2]; pipe(p); CALL(ftruncate(p[1], 0)); }
PROBE(truncate) { struct stat s; make_file("f", "0123456789"); CALL(truncate("f", 4)); stat("f", &s); INT(s.st_size); CALL(truncate("missing", 0)); CALL(truncate(".", 0)); CALL(truncate("f", -5)); }
PROBE(isatty) { CALL(isatty(0)); INT(errno); errno = 0; CALL(isatty(99)); INT(errno); INT(isatty(open("/dev/ptmx", O_RDWR | O_NOCTTY))); }
PROBE(link) { struct stat s; make_file("f", "x"); CALL(link("f", "g")); stat("g", &s); INT(s.st_nlink); CALL(link("f", "g")); CALL(link("missing", "h")); mkdir("d", 0777); CALL(link("d", "e")); symlink("f", "l"); CALL(link("l", "m")); lstat("m", &s); INT(S_ISLNK(s.st_mode)); }
PROBE(linkat) { struct stat s; make_file("f", "x"); symlink("f", "l"); CALL(linkat(AT_FDCWD, "l", AT_FDCWD, "m", AT_SYMLINK_FOLLOW)); lstat("m", &s); INT(S_ISREG(s.st_mode)); CALL(linkat(AT_FDCWD, "f", 99, "n", 0)); CALL(linkat(AT_FDCWD, "f", AT_FDCWD, "n", 1)); }
PROBE(lockf) { int f = open("f", O_CREAT | O_RDWR, 0600), status; CALL(lockf(f, F_LOCK, 10)); if (!fork()) { CALL(lockf(f, F_TLOCK, 10)); CALL(lockf(f, F_TEST, 5)); lseek(f, 10, SEEK_SET); CALL(lockf(f, F_TEST, 5)); fflush(stdout); _exit(0); } wait(&status); CALL(lockf(f, F_ULOCK, 0)); CALL(lockf(f, 77, 0)); }
PROBE(lseek) { int f = open("f", O_CREAT | O_RDWR, 0600), p[2]; CALL(lseek(f, 100, SEEK_SET)); CALL(lseek(f, -1, SEEK_SET)); write(f, "x", 1); CALL(lseek(f, -1, SEEK_END)); CALL(lseek(f, 5, SEEK_CUR)); CALL(lseek(f, 0, 77)); CALL(lseek(f, 100, SEEK_DATA)); CALL(lseek(f, 100, SEEK_HOLE)); CALL(lseek(f, 101, SEEK_DATA)); pipe(p); CALL(lseek(p[0], 0, SEEK_CUR)); }
PROBE(pipe) { int p[2]; CALL(pipe(p)); INT(write(p[1], "through", 7)); INT(read(p[0], space, 99)); close(p[1]); INT(read(p[0], space, 99)); signal(SIGPIPE, SIG_IGN); pipe(p); close(p[0]); CALL(write(p[1], "x", 1)); }
PROBE(pipe2) { int p[2]; CALL(pipe2(p, O_CLOEXEC | O_NONBLOCK)); INT(fcntl(p[0], F_GETFD)); CALL(read(p[0], space, 1)); int sum = 0, n; static char block[65536]; while ((n = write(p[1], block, sizeof block)) > 0) sum += n; INT(sum); INT(errno); CALL(pipe2(p, O_APPEND)); }
PROBE(pread) { int f = open("f", O_CREAT | O_RDWR, 0600); write(f, "0123456789", 10); CALL(pread(f, space, 4, 3)); INT(space[0]); CALL(lseek(f, 0, SEEK_CUR)); CALL(pread(f, space, 4, 100)); CALL(pread(f, space, 4, -1)); int p[2]; pipe(p); CALL(pread(p[0], space, 1, 0)); }
PROBE(pwrite) { int f = open("f", O_CREAT | O_RDWR, 0600); CALL(pwrite(f, "end", 3, 7)); struct stat s; fstat(f, &s); INT(s.st_size); CALL(lseek(f, 0, SEEK_CUR)); CALL(pwrite(f, "x", 1, -1)); CALL(pwrite(open("f", O_RDONLY), "x", 1, 0)); }
PROBE(read) { CALL(read(0, space, 5)); TEXT(space); CALL(read(0, space, 0)); CALL(read(99, space, 1)); CALL(read(open(".", O_RDONLY), space, 1)); CALL(read(0, (void *)8, 1)); CALL(read(open("f", O_CREAT | O_WRONLY, 0600), space, 1)); }
PROBE(write) { CALL(write(1, "written\n", 8)); CALL(write(99, "x", 1)); CALL(write(open("/dev/full", O_WRONLY), "x", 1)); CALL(write(0, (void *)8, 0) <= 0); CALL(write(open("f", O_CREAT | O_RDONLY, 0600), "x", 1)); int f = open("g", O_CREAT | O_RDWR, 0600); CALL(write(f, (void *)8, 1)); CALL(write(f, NULL, 0)); }
PROBE(readlink) { symlink("target/of/link", "l"); memset(space, 0, 256); CALL(readlink("l", space, 99)); TEXT(space); CALL(readlink("l", space, 3)); make_file("f", ""); CALL(readlink("f", space, 9)); CALL(readlink("missing", space, 9)); CALL(readlink("l", space, 0)); }
PROBE(readlinkat) { symlink("t", "l"); int d = open(".", O_RDONLY); CALL(readlinkat(d, "l", space, 99)); CALL(readlinkat(99, "l", space, 99)); CALL(readlinkat(open("l", O_PATH | O_NOFOLLOW), "", space, 99)); }
PROBE(rmdir) { mkdir("d", 0777); CALL(rmdir("d")); CALL(rmdir("d")); mkdir("e", 0777); make_file("e/x", ""); CALL(rmdir("e")); CALL(rmdir("e/x")); CALL(rmdir("e/.")); CALL(rmdir("/")); }
PROBE(symlink) { CALL(symlink("any thing", "l")); CALL(symlink("x", "l")); CALL(symlink("", "m")); CALL(symlink("x", "no/m")); struct stat s; lstat("l", &s); INT(s.st_size); INT(s.st_mode & 07777); }
PROBE(symlinkat) { mkdir("d", 0777); int d = open("d", O_RDONLY); CALL(symlinkat("t", d, "l")); CALL(readlink("d/l", space, 9)); CALL(symlinkat("t", 99, "l")); }
PROBE(unlink) { make_file("f", "kept"); int f = open("f", O_RDONLY); CALL(unlink("f")); CALL(read(f, space, 9)); CALL(unlink("f")); mkdir("d", 0777); CALL(unlink("d")); CALL(unlink("f/x")); AS_NOBODY(CALL(unlink("d"))); }
PROBE(unlinkat) { mkdir("d", 0777); make_file("d/f", ""); int d = open("d", O_RDONLY); CALL(unlinkat(d, "f", 0)); CALL(unlinkat(AT_FDCWD, "d", 0)); CALL(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR)); CALL(unlinkat(d, "x", 0)); CALL(unlinkat(AT_FDCWD, "x", 77)); }
PROBE(swab) { char out[7] = {0}; swab("badcfe", out, 6); TEXT(out); swab("xy", out, -1); TEXT(out); }
PROBE(crypt) { TEXT(crypt("password", "$6$saltsalt$")); TEXT(crypt("password", "$5$rounds=1000$other$")); }
PROBE(encrypt) { char key[64] = {1, 0, 1}, block[64] = {0, 1}; setkey(key); encrypt(block, 0); for (int i = 0; i < 64; i++) printf("%d", block[i]); encrypt(block, 1); INT(block[1]); INT(block[2]); }
