#include "oracle.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#define CHILD(...) do { fflush(stdout); int st_; pid_t c_ = fork(); if (!c_) { __VA_ARGS__; fflush(stdout); _exit(42); } waitpid(c_, &st_, 0); printf("ended %x\n", st_); } while (0)
static int mounted(const char *what) { char line[4096]; FILE *f = fopen("/proc/self/mounts", "r"); int n = 0; while (fgets(line, sizeof line, f)) { char *p = strchr(line, ' ') + 1; char *e = strchr(p, ' '); *e = 0; if (strlen(p) >= strlen(what) && !strcmp(p + strlen(p) - strlen(what), what)) n++; } fclose(f); return n; }
static char mine[200], theirs[200]; static const char *ns(int pid, char *b) { char p[99]; sprintf(p, "/proc/%d/ns/mnt", pid); b[0] = 0; int n = readlink(p, b, 199); b[n < 0 ? 0 : n] = 0; return b; }
int main(void) {
    struct stat st; unshare(CLONE_NEWNS); mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL); mkdir("a", 0755); mkdir("b", 0755); mkdir("c", 0755); T(mount("none", "a", "tmpfs", 0, NULL)); close(make("a/f", "x"));
    ns(getpid(), mine);
    CHILD(T(unshare(CLONE_NEWNS)); printf("same ns %d\n", !strcmp(mine, ns(getpid(), theirs))); T(stat("a/f", &st)); T(mount("none", "b", "tmpfs", 0, NULL)); close(make("b/g", "x")); printf("%d %d\n", mounted("/a"), mounted("/b")); T(umount("a")); T(stat("a/f", &st)); CHILD(printf("%d\n", mounted("/b")); T(stat("b/g", &st))); T(chdir("b")); T(stat("g", &st)));
    T(stat("a/f", &st)); T(stat("b/g", &st)); printf("%d %d\n", mounted("/a"), mounted("/b"));
    CHILD(T(unshare(CLONE_NEWNS | CLONE_NEWUTS)); T(mount("a", "c", NULL, MS_BIND, NULL)); T(stat("c/f", &st)); T(mount(NULL, "c", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL)); T(open("c/new", O_CREAT | O_WRONLY, 0600)); T(open("a/new", O_CREAT | O_WRONLY, 0600) >= 0); T(mount("c", "b", NULL, MS_MOVE, NULL)); T(stat("b/f", &st)));
    T(stat("a/new", &st)); T(stat("c/f", &st));
    CHILD(T(unshare(CLONE_NEWNS)); T(mount("none", "b", "tmpfs", 0, NULL)); mkdir("b/old", 0755); mkdir("b/x", 0755); T(chdir("b")); T(syscall(SYS_pivot_root, ".", "old")); T(chdir("/")); T(stat("/x", &st)); T(stat("/old", &st)); T(umount2("/old", MNT_DETACH)); T(stat("/old/proc", &st)); T(stat("/x", &st)); T(mkdir("/y", 0755)));
    T(stat("a/f", &st)); CHILD(T(setuid(1000)); T(unshare(CLONE_NEWNS)); T(unshare(CLONE_NEWUTS)); T(mount("none", "b", "tmpfs", 0, NULL)); T(umount("a"));); T(unshare(CLONE_FS)); T(unshare(0x1)); T(unshare(0));
    fflush(stdout); pid_t c = syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0); if (!c) { T(umount("a")); T(stat("a/f", &st)); fflush(stdout); _exit(0); } wait(NULL); T(stat("a/f", &st)); T(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0));
    int fd = open("/proc/self/ns/mnt", O_RDONLY); T(fd >= 0); T(fstat(fd, &st)); CHILD(T(unshare(CLONE_NEWNS)); T(umount("a")); T(stat("a/f", &st)); T(setns(fd, 0)); T(chdir("/tmp")); printf("same ns %d\n", !strcmp(mine, ns(getpid(), theirs)))); T(setns(fd, CLONE_NEWUTS)); T(setns(0, 0)); T(setns(99, 0));
    T(umount("a")); return 0;
}
