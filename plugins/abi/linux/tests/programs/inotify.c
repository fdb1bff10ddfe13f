#include "oracle.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <dirent.h>
static int n;
static uint32_t first_cookie;
/* What is in the queue: wd, mask, whether there is a cookie and the same as before, name. */
static void events(const char *what) {
    char b[65536] __attribute__((aligned(8))); int pending = -1; ioctl(n, FIONREAD, &pending);
    ssize_t got = read(n, b, sizeof b);
    printf("%s: %zd (%d)\n", what, got < 0 ? -(ssize_t)errno : got, pending);
    uint32_t last = 0;
    for (char *p = b; got > 0 && p < b + got;) {
        struct inotify_event *e = (void *)p;
        printf("  wd %d mask %x cookie %s len %u %s\n", e->wd, e->mask,
               !e->cookie ? "no" : e->cookie == last ? "same" : "new", e->len, !e->len ? "" : *e->name == '#' ? "#inode" : e->name);
        last = e->cookie; p += sizeof *e + e->len;
    }
    fflush(stdout);
}
int main(void) {
    char buf[100]; struct stat st; struct pollfd f; int fd, w, w2;
    T(inotify_init1(0x7)); T(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)); n = 3;
    T(fcntl(n, F_GETFL)); T(fcntl(n, F_GETFD)); T(lseek(n, 0, 0)); T(write(n, "x", 1)); T(pread(n, buf, 10, 0));
    mkdir("d", 0755); mkdir("e", 0755); close(make("f", "hello")); symlink("f", "l"); mkfifo("p", 0600);
    T(inotify_add_watch(n, "d", 0)); T(inotify_add_watch(0, "d", IN_OPEN)); T(inotify_add_watch(99, "d", IN_OPEN));
    T(inotify_add_watch(n, "none", IN_OPEN)); T(inotify_add_watch(n, "f", IN_OPEN | IN_ONLYDIR));
    T(inotify_add_watch(n, (char *)1, IN_OPEN)); T(inotify_add_watch(n, "d", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN));
    T(inotify_add_watch(n, "", IN_OPEN)); T(inotify_rm_watch(n, 1)); T(inotify_rm_watch(0, 1)); T(inotify_rm_watch(99, 1));
    T(w = inotify_add_watch(n, "d", IN_ALL_EVENTS)); T(inotify_add_watch(n, "d", IN_ALL_EVENTS));
    T(inotify_add_watch(n, "d", IN_MASK_CREATE | IN_OPEN)); f = (struct pollfd){n, POLLIN | POLLOUT, 0};
    T(poll(&f, 1, 0)); events("nothing");
    T(fd = open("d/a", O_CREAT | O_RDWR, 0644)); T(poll(&f, 1, 0)); printf("%x\n", f.revents);
    T(read(n, buf, 10)); events("create");
    T(write(fd, "hello", 5)); T(write(fd, "hello", 5)); T(pwrite(fd, "x", 1, 0)); events("writes coalesce");
    T(lseek(fd, 0, 0)); T(read(fd, buf, 3)); T(write(fd, "x", 1)); T(read(fd, buf, 1)); T(read(fd, buf, 100));
    T(read(fd, buf, 100)); T(write(fd, "", 0)); events("read and write");
    T(ftruncate(fd, 3)); T(fchmod(fd, 0600)); T(fchown(fd, 0, 0)); T(fsync(fd)); events("attributes");
    T(truncate("d/a", 1)); T(chmod("d/a", 0644)); T(lchown("d/a", 0, 0)); events("by name");
    struct timespec ts[2] = {{1, 0}, {2, 0}}; T(utimensat(AT_FDCWD, "d/a", ts, 0)); ts[0].tv_nsec = UTIME_OMIT;
    T(utimensat(AT_FDCWD, "d/a", ts, 0)); ts[0].tv_nsec = 0; ts[1].tv_nsec = UTIME_OMIT;
    T(utimensat(AT_FDCWD, "d/a", ts, 0)); events("times");
    T(setxattr("d/a", "user.x", "1", 1, 0)); T(removexattr("d/a", "user.x")); events("xattr");
    T(dup2(fd, 50)); T(close(50)); events("dup"); T(close(fd)); events("close");
    T(fd = open("d/a", O_RDONLY)); T(close(fd)); T(fd = open("d/a", O_WRONLY | O_TRUNC)); T(close(fd)); events("open");
    T(fd = open("d/a", O_PATH)); T(close(fd)); T(stat("d/a", &st)); T(access("d/a", R_OK)); events("quiet");
    T(mkdir("d/sub", 0755)); T(symlink("x", "d/s")); T(mkfifo("d/p", 0600)); T(mknod("d/n", S_IFREG | 0600, 0));
    T(link("d/a", "d/b")); events("make");
    int s = socket(AF_UNIX, SOCK_STREAM, 0); struct sockaddr_un un = {AF_UNIX, "d/sock"};
    T(bind(s, (void *)&un, sizeof un)); events("socket"); close(s);
    T(rename("d/b", "d/c")); events("rename inside"); T(rename("d/c", "e/c")); events("rename out");
    T(rename("e/c", "d/c")); events("rename in"); T(rename("d/n", "d/s")); events("rename over");
    T(rename("d/sub", "d/sub2")); events("rename directory");
    T(syscall(SYS_renameat2, AT_FDCWD, "d/c", AT_FDCWD, "d/p", RENAME_EXCHANGE)); events("exchange");
    T(unlink("d/c")); T(unlink("d/p")); T(rmdir("d/sub2")); T(unlink("d/sock")); events("remove");
    DIR *dir = opendir("d"); while (readdir(dir)) ; closedir(dir); events("listing");
    T(fd = open("d/a", O_RDWR)); T(unlink("d/a")); T(write(fd, "x", 1)); T(close(fd)); events("unlinked, open");
    T(chmod("d", 0700)); events("itself"); T(rename("d", "d2")); events("moved"); T(rename("d2", "d")); events("back");
    /* a file */
    T(w2 = inotify_add_watch(n, "f", IN_ALL_EVENTS)); T(fd = open("f", O_RDWR)); T(write(fd, "x", 1)); T(read(fd, buf, 5));
    events("file"); T(link("f", "f2")); T(unlink("f2")); events("link");
    T(rename("f", "f3")); events("moved file"); T(rename("f3", "f")); T(unlink("f")); events("unlinked");
    T(close(fd)); events("gone"); T(inotify_rm_watch(n, w2));
    close(make("f", "hello")); T(w2 = inotify_add_watch(n, "l", IN_OPEN | IN_DONT_FOLLOW)); T(w2 = inotify_add_watch(n, "l", IN_OPEN));
    T(fd = open("l", O_RDONLY)); events("symlink"); T(close(fd));
    T(inotify_add_watch(n, "f", IN_MASK_ADD | IN_CLOSE)); T(fd = open("f", O_RDONLY)); T(close(fd)); events("added");
    T(inotify_add_watch(n, "f", IN_CLOSE)); T(fd = open("f", O_RDONLY)); T(close(fd)); events("replaced");
    T(inotify_rm_watch(n, w2)); T(inotify_rm_watch(n, w2)); events("removed");
    /* both, once, unlinked */
    T(inotify_add_watch(n, "d", IN_OPEN | IN_ONESHOT)); T(fd = open("d", O_RDONLY)); T(close(fd)); events("once");
    T(inotify_add_watch(n, "d", IN_ALL_EVENTS | IN_EXCL_UNLINK)); T(fd = open("d/z", O_CREAT | O_RDWR, 0600));
    T(inotify_add_watch(n, "d/z", IN_ALL_EVENTS)); T(write(fd, "x", 1)); T(unlink("d/z")); T(write(fd, "y", 1));
    T(close(fd)); events("both");
    T(inotify_add_watch(n, "d", IN_ALL_EVENTS)); T(fd = open("d", O_TMPFILE | O_RDWR, 0600)); T(write(fd, "x", 1)); T(close(fd)); events("tmpfile");
    close(make("d/w", "x")); events("w"); T(w = inotify_add_watch(n, "d/w", IN_ALL_EVENTS)); T(unlink("d/w")); events("unlinked by name");
    /* sub-directories and the end of a directory */
    mkdir("d/k", 0755); events("k"); T(inotify_add_watch(n, "d/k", IN_ALL_EVENTS)); close(make("d/k/x", "1")); T(unlink("d/k/x"));
    T(rename("d/k", "d/m")); T(rmdir("d/m")); events("directory ends");
    unlink("d/s"); T(rmdir("d")); events("d ends");
    /* copies and transfers */
    mkdir("d", 0755); T(inotify_add_watch(n, "d", IN_ALL_EVENTS)); int a = make("d/from", "0123456789"), b = make("d/to", ""); events("two");
    T(lseek(a, 0, 0)); T(copy_file_range(a, NULL, b, NULL, 5, 0)); events("copy_file_range");
    T(syscall(SYS_sendfile, b, a, NULL, 3)); events("sendfile"); T(posix_fallocate(b, 0, 100)); events("fallocate");
    struct iovec io = {buf, 5}; lseek(a, 0, 0); T(readv(a, &io, 1)); T(writev(b, &io, 1)); events("vectors");
    char *m = mmap(NULL, 100, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0); m[0] = 'x'; T(munmap(m, 100)); events("mapped");
    T(flock(a, 2)); close(a); close(b); events("closed");
    /* a reader that waits */
    int n2 = inotify_init(); T(inotify_add_watch(n2, "d", IN_CREATE)); fflush(stdout);
    if (!fork()) { usleep(50000); close(open("d/later", O_CREAT | O_WRONLY, 0600)); _exit(0); }
    char q[64]; T(read(n2, q, 15)); T(read(n2, q, 64)); wait(NULL); printf("%s\n", ((struct inotify_event *)q)->name);
    events("from a child");
    /* overflow */
    T(inotify_add_watch(n, "d", IN_CREATE | IN_DELETE)); FILE *lim = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    int limit = 0; fscanf(lim, "%d", &limit); printf("limit %d\n", limit);
    for (int i = 0; i < limit / 2 + 3; i++) { close(open("d/t", O_CREAT | O_WRONLY, 0600)); unlink("d/t"); }
    long total = 0, count = 0; char big[4096]; ssize_t got; int lastmask = 0, lastwd = 0;
    while ((got = read(n, big, sizeof big)) > 0)
        for (char *p = big; p < big + got;) { struct inotify_event *e = (void *)p; count++; lastmask = e->mask; lastwd = e->wd; p += sizeof *e + e->len; }
    printf("count %ld last %x %d\n", count, lastmask, lastwd);
    T(close(n)); T(close(n2));
    /* other users may watch only what they may read */
    if (!fork()) { setuid(1000); n = inotify_init(); mkdir("d/x", 0); T(inotify_add_watch(n, "/root-only", IN_OPEN) < 0);
        chmod("d", 0711); T(inotify_add_watch(n, "/etc/passwd", IN_OPEN) > 0); fflush(stdout); _exit(0); }
    wait(NULL);
    for (int i = 0; i < 200; i++) { int x = inotify_init(); if (x < 0) { printf("instances %d errno %d\n", i, errno); break; } }
    return 0;
}
