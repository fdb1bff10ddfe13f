#include "process.h"
#include <errno.h>
static void vmlck(void) {
    FILE *f = fopen("/proc/self/status", "r"); char line[200]; while (fgets(line, 200, f)) if (!strncmp(line, "VmLck", 5)) fputs(line, stdout); fclose(f);
}
static char *pages(int n, int prot) { return mmap(NULL, n * 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
#define CHILD(...) do { fflush(stdout); if (!fork()) { __VA_ARGS__; fflush(stdout); _exit(0); } wait(NULL); } while (0)
#define MSEAL(a, n, f) syscall(462, a, n, f)
int main(void) {
    char *p = pages(8, 3); int rw = PROT_READ | PROT_WRITE; unsigned char v[8];
    /* locks */
    vmlck(); V(mlock(p, 4096)); vmlck(); V(mlock(p + 4096 * 2 + 10, 4090)); vmlck(); V(mincore(p, 4096 * 4, v)); printf("%d %d %d %d\n", v[0] & 1, v[1] & 1, v[2] & 1, v[3] & 1);
    V(munlock(p, 4096)); vmlck(); V(mlock(bad, 1)); V(munlock(bad, 1)); V(mlock(p, 0)); V(S(mlock2, p, 4096, 2)); V(S(mlock2, p + 4096 * 5, 4096, 1)); vmlck(); V(mincore(p + 4096 * 5, 4096, v)); printf("%d\n", v[0] & 1);
    V(madvise(p + 4096 * 5, 4096, MADV_DONTNEED)); V(munmap(p + 4096 * 5, 4096)); vmlck(); V(mlock(p + 4096 * 4, 4096 * 3)); vmlck(); CHILD(vmlck()); V(munlockall()); vmlck();
    V(mlockall(0)); V(mlockall(8)); V(mlockall(4)); V(mlockall(MCL_FUTURE)); vmlck(); char *q = pages(3, rw); vmlck(); V(mincore(q, 4096, v)); printf("%d\n", v[0] & 1); V(munlockall()); q = pages(2, rw); vmlck();
    V(mmap(NULL, 8192, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) != MAP_FAILED); vmlck(); V(munlockall());
    struct rlimit rl = {8192, 8192}; V(setrlimit(RLIMIT_MEMLOCK, &rl));
    CHILD(setuid(1000); V(mlock(p, 8192)); V(mlock(p + 8192, 4096)); V(mlock(p, 4096)); V(munlock(p, 4096)); V(mlock(p + 8192, 4096)); V(mlockall(MCL_CURRENT)); V(mmap(NULL, 8192, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) != MAP_FAILED); printf("%d\n", errno); vmlck());
    rl.rlim_cur = 0; V(setrlimit(RLIMIT_MEMLOCK, &rl)); CHILD(setuid(1000); V(mlock(p, 4096)); V(mlockall(MCL_CURRENT)); V(munlock(p, 4096)); V(munlockall()); V(mmap(NULL, 8192, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) != MAP_FAILED); printf("%d\n", errno));
    /* seals */
    p = pages(8, rw); strcpy(p + 8192, "kept"); V(MSEAL(p + 1, 4096, 0)); V(MSEAL(p, 4096, 1)); V(MSEAL(bad, 4096, 0)); V(MSEAL(16, 4096, 0)); V(MSEAL(p, 0, 0)); V(MSEAL(p, -1, 0)); V(MSEAL(p, -8192l, 0)); V(MSEAL(0x10000, 4096, 0));
    V(MSEAL(p + 4096 * 2, 4096 * 2, 0)); V(MSEAL(p + 4096 * 2, 4096, 0)); V(munmap(p + 4096 * 2, 4096)); V(munmap(p, 4096 * 8)); V(mprotect(p + 4096 * 3, 4096, PROT_READ)); V(mprotect(p, 4096 * 8, PROT_READ)); V(mremap(p + 4096 * 2, 4096, 8192, MREMAP_MAYMOVE) != MAP_FAILED); printf("%d\n", errno);
    V(mmap(p + 4096 * 2, 4096, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED); printf("%d\n", errno); V(madvise(p + 8192, 4096, MADV_WILLNEED)); puts(p + 8192); V(munmap(p, 8192)); V(mprotect(p + 4096 * 4, 4096, PROT_READ)); CHILD(V(munmap(p + 4096 * 2, 4096)); puts(p + 8192));
    q = pages(2, PROT_READ); V(MSEAL(q, 8192, 0)); V(madvise(q, 4096, MADV_DONTNEED)); V(madvise(q, 4096, MADV_FREE)); V(madvise(p + 4096 * 3, 4096, MADV_DONTNEED)); V(mprotect(q, 4096, rw)); V(MSEAL(p, 4096 * 8, 0));
    /* cachestat */
    struct { unsigned long off, len; } range = {0, 0}; struct { unsigned long n[5]; } stat; int fd = open("/tmp/jefeos-cachestat", O_CREAT | O_TRUNC | O_RDWR, 0600); char data[10000] = ""; write(fd, data, 10000);
    V(syscall(451, fd, &range, &stat, 0)); printf("%ld\n", stat.n[0]); range.len = 4096; V(syscall(451, fd, &range, &stat, 0)); printf("%ld\n", stat.n[0]); range.off = 4096; range.len = 1; V(syscall(451, fd, &range, &stat, 0)); printf("%ld\n", stat.n[0]); range.off = 1 << 20; V(syscall(451, fd, &range, &stat, 0)); printf("%ld %ld\n", stat.n[0], stat.n[1]);
    V(syscall(451, 99, &range, &stat, 0)); V(syscall(451, fd, bad, &stat, 0)); V(syscall(451, fd, &range, bad, 0)); V(syscall(451, fd, &range, &stat, 1)); int pipes[2]; pipe(pipes); V(syscall(451, pipes[0], &range, &stat, 0)); printf("%ld\n", stat.n[0]); unlink("/tmp/jefeos-cachestat");
    /* nodes */
    q = pages(64, rw); q[0] = 1; void *list[4] = {q, q + 4096 * 60, bad, main}; int status[4] = {9, 9, 9, 9}, nodes[4] = {0, 0, 0, 0}; V(S(move_pages, 0, 4, list, NULL, status, 0)); printf("%d %d %d %d\n", status[0], status[1], status[2], status[3]);
    V(S(move_pages, 0, 1, list, NULL, status, 1)); V(S(move_pages, 999999, 1, list, NULL, status, 0)); V(S(move_pages, 0, 1, bad, NULL, status, 0)); V(S(move_pages, 0, 1, list, NULL, bad, 0)); V(S(move_pages, 0, 0, list, NULL, status, 0)); V(S(move_pages, 0, 1, list, nodes, status, 2)); printf("%d\n", status[0]); nodes[0] = 1; V(S(move_pages, 0, 1, list, nodes, status, 2));
    unsigned long one = 1, two = 2, none = 0; V(S(migrate_pages, 0, 64, &one, &one)); V(S(migrate_pages, 999999, 64, &one, &one)); V(S(migrate_pages, 0, 64, bad, &one)); V(S(migrate_pages, 0, 64, &one, &none)); V(S(migrate_pages, 0, 64, &one, &two));
    V(syscall(450, q, 4096, 0, 1)); V(syscall(450, q + 1, 4096, 0, 0)); V(syscall(450, q, 0, 0, 0));
    /* a process that is not dying, and one that is dead */
    V(syscall(448, 0, 0)); V(syscall(448, 99, 0)); fflush(stdout); pid_t c = fork(); if (!c) { pause(); _exit(0); } int pf = syscall(434, c, 0); V(syscall(448, pf, 1)); V(syscall(448, pf, 0)); kill(c, 9); waitpid(c, NULL, 0); V(syscall(448, pf, 0));
    V(S(sysfs, 3) > 3); V(S(sysfs, 1, "nonesuch")); V(S(sysfs, 1, "proc") >= 0); V(S(sysfs, 9)); V(S(sysfs, 2, 9999, buf)); V(S(sysfs, 1, bad)); V(syscall(SYS_sysfs, 2, syscall(SYS_sysfs, 1, "tmpfs"), buf)); puts(buf); V((int)S(modify_ldt, 0, buf, 16)); V((int)S(modify_ldt, 9, buf, 16));
    return 0;
}
