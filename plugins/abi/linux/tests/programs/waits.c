#include "process.h"
#include <sys/pidfd.h>
#include <sys/times.h>
#define P_PIDFD 3
static void si(siginfo_t *i) { printf("  si signo %d code %d status %d pid? %d uid %d\n", i->si_signo, i->si_code, i->si_status, i->si_pid > 0, i->si_uid); }
#define W(type, id, opt) do { siginfo_t i_; memset(&i_, 0x55, sizeof i_); errno = 0; int r_ = waitid(type, id, &i_, opt); printf("%s: %d errno %d\n", #type " " #id " " #opt, r_, r_ < 0 ? errno : 0); if (!r_) { if (i_.si_pid) si(&i_); else printf("  nothing signo %d\n", i_.si_signo); } } while (0)
static pid_t child(int code) { fflush(stdout); pid_t c = fork(); if (!c) _exit(code); return c; }
static void *thr(void *p) { int st; long r = syscall(SYS_wait4, -1, &st, __WNOTHREAD | WNOHANG, NULL); printf("nothread %ld errno %d\n", r < 0 ? -1L : r > 0, errno); r = syscall(SYS_wait4, -1, &st, WNOHANG, NULL); printf("thread %d\n", r > 0); return NULL; }
static void bytes(int type, int id, int options) { unsigned char b[128]; memset(b, 0xaa, 128); long r = S(waitid, type, id, b, options, NULL); printf("%ld errno %d, left alone:", r, r ? errno : 0); for (int i = 0; i < 128; i++) if (b[i] == 0xaa && i < 32) printf(" %d", i); printf(", %d\n", b[0]); }
static int fn(void *p) { return 7; }
static void nothing(int s) { }
int main(void) {
    int st; struct rusage ru; pid_t c;
    V(waitpid(-1, &st, 0)); V(waitpid(0, &st, WNOHANG)); V(waitpid(-12345, &st, 0)); V(S(wait4, (-2147483647-1), &st, 0, NULL)); V(S(wait4, -1, &st, 0x100, NULL)); V(S(wait4, -1, &st, WEXITED, NULL)); V(S(wait4, -1, &st, WNOWAIT, NULL));
    W(P_ALL, 0, WEXITED); W(P_ALL, 0, 0); W(P_ALL, 0, WNOHANG); W(P_PID, 0, WEXITED); W(P_PID, -1, WEXITED); W(P_PGID, -1, WEXITED); W(P_PGID, 0, WEXITED); W(99, 0, WEXITED); W(P_PIDFD, 99, WEXITED); W(P_PIDFD, 0, WEXITED); W(P_PIDFD, -1, WEXITED);
    c = child(3); usleep(20000); W(P_PID, c, WEXITED | WNOWAIT); W(P_PID, c, WSTOPPED | WNOHANG); W(P_PID, c, WEXITED); W(P_PID, c, WEXITED);
    c = child(4); V(S(waitid, P_PID, c, NULL, WEXITED, &ru)); c = child(5); V(S(waitid, P_PID, c, bad, WEXITED, NULL)); V(waitpid(c, &st, 0) == c); 
    c = child(5); V(S(wait4, c, bad, 0, NULL)); V(waitpid(c, &st, 0)); c = child(5); V(S(wait4, c, NULL, 0, bad)); V(waitpid(c, &st, 0));
    c = child(5); V(S(waitid, P_PID, c, NULL, WEXITED, bad)); V(waitpid(c, &st, 0)); V(S(wait4, -1, bad, WNOHANG, bad)); V(S(waitid, P_ALL, 0, bad, WEXITED, NULL)); V(S(waitid, P_ALL, 0, bad, 0, NULL)); V(S(waitid, P_PIDFD, 99, bad, WEXITED, NULL));
    /* which bytes waitid writes */
    bytes(P_ALL, 0, WEXITED); bytes(P_ALL, 0, 0); bytes(P_PIDFD, 99, WEXITED); c = child(6); bytes(P_PID, c, WEXITED | WNOWAIT); char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); munmap(page + 4096, 4096);
    V(S(waitid, P_PID, c, page + 4096 - 28, WEXITED | WNOWAIT, NULL)); printf("%d\n", *(int *)(page + 4096 - 4)); V(S(waitid, P_PID, c, page + 4096 - 27, WEXITED, NULL)); V(waitpid(c, &st, 0)); signal(SIGALRM, nothing); siginterrupt(SIGALRM, 1); c = fork(); if (!c) { for (;;) pause(); } ualarm(20000, 20000); bytes(P_PID, c, WEXITED); ualarm(0, 0); kill(c, SIGKILL); V(waitpid(c, &st, 0) == c);
    fflush(stdout); c = fork(); if (!c) { for (;;) pause(); } int pf = syscall(SYS_pidfd_open, c, 0); W(P_PIDFD, pf, WEXITED | WNOHANG); kill(c, SIGSTOP); W(P_PIDFD, pf, WSTOPPED | WNOWAIT); W(P_PIDFD, pf, WSTOPPED); W(P_PIDFD, pf, WSTOPPED | WNOHANG); kill(c, SIGCONT); W(P_PID, c, WCONTINUED | WEXITED | WSTOPPED); W(P_PID, c, WCONTINUED | WNOHANG);
    kill(c, SIGSTOP); usleep(10000); V(waitpid(c, &st, WNOHANG)); V(waitpid(c, &st, WUNTRACED) == c); printf("%x\n", st); kill(c, SIGCONT); V(waitpid(c, &st, WCONTINUED) == c); printf("%x\n", st); kill(c, SIGKILL); W(P_PIDFD, pf, WEXITED); W(P_PIDFD, pf, WEXITED); close(pf);
    pf = syscall(SYS_pidfd_open, getpid(), O_NONBLOCK); W(P_PIDFD, pf, WEXITED); 
    fflush(stdout); c = fork(); if (!c) { for (;;) pause(); } pf = syscall(SYS_pidfd_open, c, O_NONBLOCK); W(P_PIDFD, pf, WEXITED); kill(c, 9); usleep(10000); W(P_PIDFD, pf, WEXITED);
    fflush(stdout); c = fork(); if (!c) { setpgid(0, 0); _exit(9); } setpgid(c, c); W(P_PGID, c, WEXITED); c = fork(); if (!c) abort(); W(P_PID, c, WEXITED); c = fork(); if (!c) { struct rlimit r = {0, 0}; setrlimit(RLIMIT_CORE, &r); raise(SIGSEGV); } V(waitpid(c, &st, 0) == c); printf("%x\n", st);
    /* clone children */
    static char stack[65536]; c = clone(fn, stack + 65536, 0, NULL); V(waitpid(c, &st, 0)); V(S(wait4, -1, &st, WNOHANG, NULL)); V(S(wait4, c, &st, __WCLONE, NULL) == c); printf("%x\n", st); signal(SIGUSR2, nothing); c = clone(fn, stack + 65536, SIGUSR2 | CLONE_VM, NULL); V(S(wait4, c, &st, __WALL, NULL) == c); printf("%x\n", st); c = clone(fn, stack + 65536, SIGCHLD, NULL); V(S(wait4, c, &st, __WCLONE, NULL)); V(S(wait4, c, &st, __WCLONE | __WALL, NULL) == c);
    c = child(1); usleep(20000); pthread_t t; pthread_create(&t, NULL, thr, NULL); pthread_join(t, NULL);
    /* reaping */
    signal(SIGCHLD, SIG_IGN); c = child(1); V(waitpid(c, &st, 0)); V(waitpid(-1, &st, 0)); signal(SIGCHLD, SIG_DFL); struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_NOCLDWAIT}; sigaction(SIGCHLD, &sa, NULL); c = child(1); V(waitpid(-1, &st, 0)); signal(SIGCHLD, SIG_DFL);
    /* subreaper */
    V(prctl(PR_SET_CHILD_SUBREAPER, 1)); int is = 9; V(prctl(PR_GET_CHILD_SUBREAPER, &is)); printf("%d\n", is); fflush(stdout); c = fork(); if (!c) { if (!fork()) { usleep(30000); printf("ppid %d\n", getppid() > 1); V(prctl(PR_GET_CHILD_SUBREAPER, &is)); printf("%d\n", is); fflush(stdout); _exit(33); } _exit(0); } V(waitpid(c, &st, 0) == c); V(wait(&st) > 0); printf("%x\n", st);
    /* pdeathsig */
    fflush(stdout); c = fork(); if (!c) { pid_t d = fork(); if (!d) { prctl(PR_SET_PDEATHSIG, SIGUSR1); signal(SIGUSR1, nothing); usleep(1000); pause(); _exit(11); } usleep(50000); _exit(0); } V(waitpid(c, &st, 0) == c); V(wait(&st) > 0); printf("%x\n", st);
    /* usage */
    fflush(stdout); c = fork(); if (!c) { volatile long x = 0; struct timespec a, b; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a); do { for (int i = 0; i < 100000; i++) x += i; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b); } while ((b.tv_sec - a.tv_sec) * 1000000000l + b.tv_nsec - a.tv_nsec < 60000000); _exit(0); } memset(&ru, 0, sizeof ru); V(wait4(c, &st, 0, &ru) == c); printf("utime %d stime %d flt %d rss %d\n", ru.ru_utime.tv_usec + ru.ru_utime.tv_sec * 1000000 >= 40000, ru.ru_stime.tv_sec == 0, ru.ru_minflt > 0, ru.ru_maxrss > 0);
    getrusage(RUSAGE_CHILDREN, &ru); printf("children %d\n", ru.ru_utime.tv_usec >= 40000); struct tms tm; V(times(&tm) > 0); printf("%d\n", tm.tms_cutime >= 4); V(getrusage(5, &ru)); V(getrusage(RUSAGE_THREAD, &ru)); V(getrusage(-3, &ru));
    return 0;
}
