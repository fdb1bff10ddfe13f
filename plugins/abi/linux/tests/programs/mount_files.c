#include "oracle.h"
#include <sched.h>
#include <sys/mount.h>
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#include <linux/mount.h>
#endif
#define OT(d, p, f) syscall(428, d, p, f)
#define MM(a, b, c, d, f) syscall(429, a, b, c, d, f)
#define FO(n, f) syscall(430, n, f)
#define FC(fd, c, k, v, x) syscall(431, fd, c, k, v, x)
#define FM(fd, f, a) syscall(432, fd, f, a)
#define FP(d, p, f) syscall(433, d, p, f)
#define SA(d, p, f, a, s) syscall(442, d, p, f, a, s)
static void options(const char *what) {
    char line[4096]; FILE *f = fopen("/proc/self/mounts", "r");
    while (fgets(line, sizeof line, f)) { char *src = strtok(line, " "), *p = strtok(NULL, " "), *t = strtok(NULL, " "), *o = strtok(NULL, " "); char *base = strrchr(p, '/'); if (base && !strcmp(base + 1, what)) { char *c = strstr(o, ",size"); if (c) *c = 0; c = strstr(o, ",inode64"); if (c) *c = 0; printf("  %s %s %s %s\n", src, base, t, o); } } fclose(f);
}
int main(void) {
    struct stat st; struct { unsigned long set, clr, prop, userns; } a = {0}; int fd, m, i;
    unshare(CLONE_NEWNS); mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL); mkdir("a", 0755); mkdir("b", 0755); mkdir("c", 0755); close(make("f", "x"));
    T(FO("nonesuch", 0)); T(FO("tmpfs", 2)); T(FO((char *)1, 0)); T(fd = FO("tmpfs", 1)); T(fcntl(fd, F_GETFD)); char b[99]; T(read(fd, b, 99));
    T(FC(fd, 0, NULL, NULL, 0)); T(FC(fd, 1, "size", NULL, 0)); T(FC(fd, 1, "size", "1m", 1)); T(FC(fd, 9, "size", "1m", 0)); T(FC(0, 1, "size", "1m", 0)); T(FC(99, 1, "size", "1m", 0)); T(FC(fd, 1, "nonesuch", "1m", 0)); T(FC(fd, 0, "nonesuch", NULL, 0)); T(FC(fd, 1, "source", "here", 0)); T(FC(fd, 1, "source", "again", 0)); T(FC(fd, 1, "size", "1m", 0)); T(FC(fd, 5, "size", NULL, 0)); T(FC(fd, 6, "x", NULL, 0)); T(FC(fd, 7, NULL, NULL, 0));
    T(FM(fd, 0, 0)); T(FC(fd, 6, NULL, NULL, 0)); T(FC(fd, 6, NULL, NULL, 0)); T(FM(fd, 2, 0)); T(FM(fd, 0, 0x30)); T(FM(0, 0, 0)); T(FM(99, 0, 0)); T(m = FM(fd, 1, 2 | 0x10)); T(FM(fd, 0, 0)); T(fcntl(m, F_GETFL) & O_PATH); T(fstat(m, &st)); printf("%o\n", st.st_mode & 07777);
    T(i = openat(m, "inside", O_CREAT | O_WRONLY, 0600)); close(i); T(stat("a/inside", &st)); T(MM(m, "", AT_FDCWD, "a", 0)); T(MM(m, "", AT_FDCWD, "a", 0x800)); T(MM(m, "", AT_FDCWD, "f", 4)); T(MM(m, "", AT_FDCWD, "none", 4)); T(MM(m, "", AT_FDCWD, "a", 4)); T(stat("a/inside", &st)); options("a"); close(m); close(fd); T(stat("a/inside", &st)); 
    T(MM(AT_FDCWD, "a", AT_FDCWD, "b", 0)); T(stat("b/inside", &st)); T(stat("a/inside", &st)); T(MM(AT_FDCWD, "a", AT_FDCWD, "c", 0)); mkdir("b/sub", 0755); T(MM(AT_FDCWD, "b", AT_FDCWD, "b/sub", 0));
    /* trees */
    T(OT(AT_FDCWD, "b", 0x8000)); T(OT(AT_FDCWD, "b", 2)); T(OT(AT_FDCWD, "none", 1)); T(i = OT(AT_FDCWD, "b", O_CLOEXEC)); T(fcntl(i, F_GETFL) & O_PATH); T(fcntl(i, F_GETFD)); T(fstatat(i, "inside", &st, 0)); close(i); T(mount("none", "b/sub", "tmpfs", 0, NULL)); close(open("b/sub/deep", O_CREAT | O_WRONLY, 0600));
    T(m = OT(AT_FDCWD, "b", 1)); T(fstatat(m, "inside", &st, 0)); T(fstatat(m, "sub/deep", &st, 0)); T(MM(m, "", AT_FDCWD, "c", 4)); T(stat("c/inside", &st)); T(stat("c/sub/deep", &st)); T(close(m)); T(umount("c")); T(m = OT(AT_FDCWD, "b", 1 | 0x8000)); T(fstatat(m, "sub/deep", &st, 0)); T(MM(m, "", AT_FDCWD, "c", 4)); T(stat("c/sub/deep", &st)); close(m); T(umount2("c", MNT_DETACH)); T(m = OT(AT_FDCWD, "b", 1 | 0x8000)); T(close(m)); T(stat("b/sub/deep", &st)); T(m = OT(AT_FDCWD, "b/sub", 1)); T(fstatat(m, "deep", &st, 0)); T(close(m));
    /* attributes */
    T(SA(AT_FDCWD, "b", 0, &a, 8)); T(SA(AT_FDCWD, "b", 0, &a, 5000)); T(SA(AT_FDCWD, "b", 1, &a, 32)); T(SA(AT_FDCWD, "none", 0, &a, 32)); a.set = 1; T(SA(AT_FDCWD, "none", 0, &a, 32)); T(SA(AT_FDCWD, "a", 0, &a, 32)); T(SA(AT_FDCWD, "b", 0, &a, 32)); options("b"); T(open("b/x", O_CREAT | O_WRONLY, 0600)); T((i = open("b/sub/x", O_CREAT | O_WRONLY, 0600)) >= 0); close(i); a.set = 2 | 8; a.clr = 1; T(SA(AT_FDCWD, "b", 0, &a, 32)); options("b"); a.set = 0x10; a.clr = 0; T(SA(AT_FDCWD, "b", 0, &a, 32)); a.clr = 0x70; T(SA(AT_FDCWD, "b", 0, &a, 32)); options("b"); a.set = 0; a.clr = 0x10; T(SA(AT_FDCWD, "b", 0, &a, 32)); a.clr = 0x70 | 2 | 8; T(SA(AT_FDCWD, "b", 0, &a, 32)); options("b"); a.set = 1; a.clr = 0; T(SA(AT_FDCWD, "b", 0x8000, &a, 32)); T(open("b/sub/y", O_CREAT | O_WRONLY, 0600)); a.set = 0; a.clr = 1; T(SA(AT_FDCWD, "b", 0x8000, &a, 32)); a.clr = 0; a.prop = MS_PRIVATE; T(SA(AT_FDCWD, "b", 0, &a, 32)); a.prop = MS_PRIVATE | MS_SHARED; T(SA(AT_FDCWD, "b", 0, &a, 32)); a.prop = 0; a.set = 1ul << 40; T(SA(AT_FDCWD, "b", 0, &a, 32));
    T(fd = FP(AT_FDCWD, "b", 1)); T(FC(fd, 0, "ro", NULL, 0)); T(FC(fd, 7, NULL, NULL, 0)); T(open("b/z", O_CREAT | O_WRONLY, 0600)); T(FC(fd, 6, NULL, NULL, 0)); close(fd); T(FP(AT_FDCWD, "a", 0)); T(FP(AT_FDCWD, "b", 0x20)); T(FP(AT_FDCWD, "none", 0));
    fflush(stdout); if (!fork()) { setuid(1000); T(FO("tmpfs", 0)); T(OT(AT_FDCWD, "b", 1)); T(MM(AT_FDCWD, "b", AT_FDCWD, "c", 0)); T(FM(0, 0, 0)); T(FP(AT_FDCWD, "b", 0)); a.set = 1; T(SA(AT_FDCWD, "b", 0, &a, 32)); T(OT(AT_FDCWD, "b", 0) >= 0); fflush(stdout); _exit(0); } wait(NULL); return 0;
}
