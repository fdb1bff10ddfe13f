#include "oracle.h"
#include <dirent.h>
static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
static void list(const char *path) {
    DIR *d = opendir(path); struct dirent *e; char *names[100]; int n = 0;
    if (!d) { printf("list %s errno %d\n", path, errno); return; }
    while ((e = readdir(d))) { char line[300]; snprintf(line, sizeof line, "%s type %d", e->d_name, e->d_type); names[n++] = strdup(line); }
    qsort(names, n, sizeof *names, compare); printf("list %s:", path);
    for (int i = 0; i < n; i++) printf(" [%s]", names[i]); printf("\n"); closedir(d);
}
#define S(path) do { struct stat s; errno = 0; int r = lstat(path, &s); printf("lstat %s = %d errno %d mode %o nlink %d size %ld\n", path, r, errno, r ? 0 : s.st_mode, r ? 0 : (int)s.st_nlink, r || S_ISDIR(s.st_mode) ? 0L : (long)s.st_size); } while (0)
int main(void) {
    char buf[5000]; int fd, d; umask(022);
    T(mkdir("d", 0777)); T(mkdir("d", 0777)); T(mkdir("d/", 0777)); T(mkdir("no/such", 0777));
    T(mkdir("e/", 01777)); S("e"); S("d"); T(mkdir("", 0)); T(mkdir(".", 0)); T(mkdir("..", 0));
    T(mkdir("/", 0));
    close(make("f", "data")); T(mkdir("f/x", 0777)); T(mkdir("f", 0777)); T(rmdir("f")); T(rmdir("no"));
    T(rmdir(".")); T(rmdir("d/.")); T(rmdir("d/..")); T(rmdir("/")); T(rmdir("")); T(unlink("d"));
    T(unlink("no")); T(unlink("")); T(unlink("f/")); T(unlink("d/")); T(unlink("/"));
    T(symlink("f", "s")); T(symlink("f", "s")); T(symlink("", "s2")); T(symlink("x", ""));
    T(symlink("no", "dangling")); T(symlink("loop", "loop")); T(symlink("d", "sd")); S("s");
    T(symlink("x", "f/y")); T(symlink("x", "new/"));
    T(readlink("s", buf, 100)); show("s", buf, 1); T(readlink("f", buf, 100)); T(readlink("no", buf, 100));
    T(readlink("dangling", buf, 1)); T(readlink("s", buf, 0)); T(readlink("s", (char*)1, 10));
    T(readlink("s/", buf, 100)); T(readlink("sd/", buf, 100));
    T(open("s", O_RDONLY|O_NOFOLLOW)); T(open("loop", O_RDONLY)); T(open("dangling", O_RDONLY));
    T(open("dangling", O_RDONLY|O_CREAT|O_EXCL, 0600)); T(close(open("dangling", O_RDONLY|O_CREAT, 0600)));
    list("."); T(unlink("no"));
    T(open("f/", O_RDONLY)); T(open("f", O_RDONLY|O_DIRECTORY)); T(open("d", O_RDONLY|O_CREAT, 0600));
    T(open("d/", O_RDONLY|O_CREAT, 0600)); T(open("new/", O_RDONLY|O_CREAT, 0600)); T(open("", O_RDONLY));
    T(open("f/x", O_RDONLY)); T(open("no/x", O_RDONLY)); T(open((char *)1, O_RDONLY));
    T(open("sd/", O_RDONLY|O_NOFOLLOW)); T(open("sd", O_RDONLY|O_NOFOLLOW));
    T(open("sd", O_RDONLY|O_NOFOLLOW|O_DIRECTORY)); T(open("d", O_RDWR)); T(open("d", O_RDONLY|O_TRUNC));
    T(open("d", O_DIRECTORY|O_CREAT, 0600)); T(open("newdir", O_DIRECTORY|O_CREAT, 0600));
    memset(buf, 'a', 4999); buf[4999] = 0; T(open(buf, O_RDONLY)); buf[256] = 0; T(open(buf, O_RDONLY));
    T(open(buf, O_RDWR|O_CREAT, 0600)); buf[255] = 0; T(close(open(buf, O_RDWR|O_CREAT, 0600))); T(unlink(buf));
    T(mkdir(buf, 0700)); T(rmdir(buf));
    T(link("f", "l")); S("f"); S("l"); T(link("f", "l")); T(link("no", "l2")); T(link("d", "l2"));
    T(link("s", "ls")); S("ls"); T(link("f", "f/x"));
    T(linkat(AT_FDCWD, "s", AT_FDCWD, "lf", AT_SYMLINK_FOLLOW)); S("lf");
    T(linkat(AT_FDCWD, "s", AT_FDCWD, "lg", 0x8000)); T(link("f", "d")); T(link("f", "nd/"));
    T(link("f/", "q"));
    fd = open("f", O_RDONLY); T(linkat(fd, "", AT_FDCWD, "lfd", AT_EMPTY_PATH)); S("lfd"); T(unlink("lfd"));
    T(unlink("lf")); T(unlink("ls")); T(unlink("l")); S("f");
    T(rename("f", "g")); S("f"); S("g"); T(rename("no", "x")); T(rename("g", "d")); T(rename("d", "g"));
    T(rename("d", "d/x")); T(rename("g", "g")); T(rename("d", "e")); S("d"); T(mkdir("d", 0755));
    close(make("d/full", "")); T(rename("e", "d")); T(rename("d", "e")); S("e/full"); T(mkdir("d", 0755));
    T(rename("d", "e")); T(rename("e/.", "x")); T(rename("e/..", "x")); T(rename("g", "x/"));
    T(rename("g/", "x")); T(rename("d/", "dd")); T(rename("dd", "d/")); T(rename("", "x")); T(rename("g", ""));
    T(rename("g", "s/x")); T(rename("s", "g2")); S("g2"); T(rename("g2", "s")); T(rename("/", "x"));
    T(rename("g", "/"));
    T(renameat2(AT_FDCWD, "g", AT_FDCWD, "e", RENAME_NOREPLACE));
    T(renameat2(AT_FDCWD, "g", AT_FDCWD, "h", RENAME_NOREPLACE));
    T(renameat2(AT_FDCWD, "h", AT_FDCWD, "e", RENAME_EXCHANGE)); S("h"); S("e");
    T(renameat2(AT_FDCWD, "h", AT_FDCWD, "e", RENAME_EXCHANGE));
    T(renameat2(AT_FDCWD, "h", AT_FDCWD, "no", RENAME_EXCHANGE));
    T(renameat2(AT_FDCWD, "h", AT_FDCWD, "e", 99));
    T(renameat2(AT_FDCWD, "h", AT_FDCWD, "e", RENAME_EXCHANGE|RENAME_NOREPLACE));
    d = open("d", O_RDONLY|O_DIRECTORY); T(close(openat(d, "in", O_CREAT|O_WRONLY, 0640)));
    T(mkdirat(d, "sub", 0700)); T(symlinkat("in", d, "sl")); list("d"); T(openat(77, "in", O_RDONLY));
    T(openat(fd, "in", O_RDONLY)); T(openat(77, "", O_RDONLY)); T(close(openat(77, "/", O_RDONLY)));
    T(unlinkat(d, "sub", 0)); T(unlinkat(d, "sub", AT_REMOVEDIR)); T(unlinkat(d, "in", AT_REMOVEDIR));
    T(unlinkat(d, "in", 5)); T(renameat(d, "in", AT_FDCWD, "moved")); T(readlinkat(d, "sl", buf, 10));
    T(linkat(AT_FDCWD, "moved", d, "back", 0)); T(faccessat(d, "back", R_OK, 0)); T(unlinkat(d, "back", 0));
    list("d");
    T(chdir("d")); T(chdir("../moved")); T(chdir("no")); T(chdir("")); T(close(open("../moved", O_RDONLY)));
    T(fchdir(77)); T(fchdir(fd)); T(chdir("..")); T(fchdir(d)); T(unlink("sl")); T(rmdir("../d"));
    T(syscall(SYS_getcwd, buf, sizeof buf)); T(open("x", O_CREAT|O_RDWR, 0600)); T(mkdir("x", 0700)); list(".");
    T(open(".", O_RDONLY)); T(chdir(".."));
    { struct stat st; T(fstat(d, &st)); printf("nlink %d\n", (int)st.st_nlink); }
    T(syscall(SYS_getcwd, buf, 1)); T(syscall(SYS_getcwd, (char *)1, 4096)); T(close(d)); T(chdir("/"));
    T(syscall(SYS_getcwd, buf, sizeof buf)); T(syscall(SYS_getcwd, buf, 2)); T(fchdir(open("/", O_PATH)));
    return 0;
}
