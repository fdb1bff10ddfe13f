#include "process.h"
#define SYS_waitv 449
#define SYS_fwake 454
#define SYS_fwait 455
#define SYS_frequeue 456
struct waitv { unsigned long val, addr; unsigned flags, reserved; };
static unsigned words[200];
static int sets[4];
static long waitv(void *w, unsigned n, unsigned flags, void *t, int clock) { return syscall(SYS_waitv, w, n, flags, t, clock); }
static long fwake(void *a, unsigned long mask, int n, unsigned flags) { return syscall(SYS_fwake, a, mask, n, flags); }
static long fwait(void *a, unsigned long v, unsigned long mask, unsigned flags, void *t, int clock) { return syscall(SYS_fwait, a, v, mask, flags, t, clock); }
static long frequeue(void *w, unsigned flags, int wake, int move) { return syscall(SYS_frequeue, w, flags, wake, move); }
static void *sleeper(void *p) { long r = fwait(p, 0, -1u, 130, NULL, 0); return (void *)(r < 0 ? errno : r); }
static void *many(void *p) {
    struct waitv w[3]; for (int i = 0; i < 3; i++) w[i] = (struct waitv){0, (long)&words[i], 130, 0};
    return (void *)waitv(w, 3, 0, NULL, 0);
}
static void nothing(int s) {}
int main(void) {
    struct timespec past = {0, 1}, wrong = {0, 1000000000}, soon; pthread_t t, u; void *r;
    struct waitv w[130] = {{0, (long)&words[0], 130, 0}, {0, (long)&words[1], 130, 0}};
    V(waitv(NULL, 1, 0, NULL, 0)); V(waitv(w, 0, 0, NULL, 0)); V(waitv(w, 129, 0, NULL, 0)); V(waitv(w, 1, 1, NULL, 0)); V(waitv(bad, 1, 0, NULL, 0));
    V(waitv(w, 2, 0, &past, 0)); V(waitv(w, 2, 0, &past, 1)); V(waitv(w, 2, 0, &past, 2)); V(waitv(w, 2, 0, &wrong, 0)); V(waitv(w, 2, 0, bad, 0));
    w[1].flags = 2; V(waitv(w, 2, 0, &past, 0)); w[1].flags = 0; V(waitv(w, 2, 0, &past, 0)); w[1].flags = 3; V(waitv(w, 2, 0, &past, 0)); w[1].flags = 1; V(waitv(w, 2, 0, &past, 0)); w[1].flags = 2 | 64; V(waitv(w, 2, 0, &past, 0)); w[1].flags = 130;
    w[1].reserved = 1; V(waitv(w, 2, 0, &past, 0)); w[1].reserved = 0; w[1].val = 1; V(waitv(w, 2, 0, &past, 0)); w[1].val = 1ul << 32; V(waitv(w, 2, 0, &past, 0)); w[1].val = 0;
    w[1].addr++; V(waitv(w, 2, 0, &past, 0)); w[1].addr = 16; V(waitv(w, 2, 0, &past, 0)); w[1].addr = (long)&words[1];
    clock_gettime(CLOCK_MONOTONIC, &soon); soon.tv_nsec += 20000000; if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000; V(waitv(w, 2, 0, &soon, 1));
    pthread_create(&t, NULL, many, NULL); usleep(30000); V(fwake(&words[3], 1, 1, 130)); V(fwake(&words[1], -1u, 5, 130)); pthread_join(t, &r); printf("woken %ld\n", (long)r);
    pthread_create(&t, NULL, many, NULL); usleep(30000); V(S(futex, &words[2], 1 | 128, 1, NULL, NULL, 0)); pthread_join(t, &r); printf("woken %ld\n", (long)r);
    V(fwake(&words[0], 1, 1, 0)); V(fwake(&words[0], 0, 1, 130)); V(fwake(&words[0], 1ul << 32, 1, 130)); V(fwake(&words[0], 1, 0, 130)); V(fwake(&words[0], 1, -1, 130)); V(fwake((char *)&words[0] + 1, 1, 1, 130)); V(fwake(bad, 1, 1, 2)); V(fwake(bad, 1, 1, 130)); V(fwake(&words[0], 1, 1, 2));
    V(fwait(&words[0], 1, 1, 130, NULL, 0)); V(fwait(&words[0], 0, 0, 130, NULL, 0)); V(fwait(&words[0], 0, 1, 130, &past, 0)); V(fwait(&words[0], 0, 1, 130, &past, 9)); V(fwait(&words[0], 0, 1, 128, &past, 0)); V(fwait(&words[0], 1ul << 32, 1, 130, &past, 0)); V(fwait(bad, 0, 1, 130, &past, 0)); V(fwait(&words[0], 0, 1, 130, &wrong, 0));
    pthread_create(&t, NULL, sleeper, &words[0]); pthread_create(&u, NULL, sleeper, &words[0]); usleep(30000);
    w[0].val = 1; V(frequeue(w, 0, 1, 1)); w[0].val = 0; V(frequeue(w, 1, 1, 1)); V(frequeue(NULL, 0, 1, 1)); V(frequeue(bad, 0, 1, 1)); V(frequeue(w, 0, -1, 1)); V(frequeue(w, 0, 1, -1)); w[1].flags = 1; V(frequeue(w, 0, 1, 1)); w[1].flags = 130;
    V(frequeue(w, 0, 1, 1)); V(fwake(&words[0], 1, 5, 130)); V(fwake(&words[1], 1, 5, 130)); pthread_join(t, &r); printf("%ld\n", (long)r); pthread_join(u, &r); printf("%ld\n", (long)r);
    /* a signal */
    struct sigaction sa = {.sa_handler = nothing}; sigaction(SIGALRM, &sa, NULL); ualarm(20000, 0); V(fwait(&words[0], 0, 1, 130, NULL, 0)); ualarm(20000, 0); V(waitv(w, 2, 0, NULL, 0));
    clock_gettime(CLOCK_REALTIME, &soon); soon.tv_nsec += 60000000; if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000; sa.sa_flags = SA_RESTART; sigaction(SIGALRM, &sa, NULL); ualarm(20000, 0); V(fwait(&words[0], 0, 1, 130, &soon, 0)); soon.tv_sec++; ualarm(20000, 0);
    soon.tv_sec--; V(waitv(w, 2, 0, &soon, 0));
    /* shared between processes */
    unsigned *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); fflush(stdout);
    if (!fork()) { usleep(30000); _exit(fwake(shared, -1u, 1, 2)); } V(fwait(shared, 0, -1u, 2, NULL, 0)); int st; wait(&st); printf("%d\n", WEXITSTATUS(st));
    return 0;
}
