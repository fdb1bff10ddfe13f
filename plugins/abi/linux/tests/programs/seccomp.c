#include "process.h"
#include <stddef.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RET(v) BPF_STMT(BPF_RET | BPF_K, v)
#define ON(nr, v) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), RET(v)
static long install(struct sock_filter *f, int n, unsigned flags) {
    struct sock_fprog p = {n, f}; return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}
#define FILTER(...) ({ struct sock_filter f_[] = {__VA_ARGS__}; install(f_, sizeof f_ / sizeof *f_, 0); })
static void show_status(void) {
    FILE *f = fopen("/proc/self/status", "r"); char line[200];
    while (f && fgets(line, 200, f)) if (!strncmp(line, "Seccomp", 7) || !strncmp(line, "NoNew", 5)) fputs(line, stdout);
    if (f) fclose(f);
}
/* Run in a child, and tell how it ended. */
#define CHILD(...) do { fflush(stdout); pid_t c_ = fork(); if (!c_) { __VA_ARGS__; fflush(stdout); _exit(42); } int s_; waitpid(c_, &s_, 0); \
    printf("ended: exit %d signal %d core %d\n", WIFEXITED(s_) ? WEXITSTATUS(s_) : -1, WIFSIGNALED(s_) ? WTERMSIG(s_) : 0, WIFSIGNALED(s_) && WCOREDUMP(s_)); } while (0)
static void on_sys(int s, siginfo_t *i, void *u) {
    ucontext_t *c = u; printf("SIGSYS code %d errno %d call %d arch %x address %d rax %lld\n", i->si_code, i->si_errno, i->si_syscall, i->si_arch, (long)i->si_call_addr == c->uc_mcontext.gregs[REG_RIP], (long long)c->uc_mcontext.gregs[REG_RAX]);
    c->uc_mcontext.gregs[REG_RAX] = 4711;
}
static void *call_it(void *p) { return (void *)(long)(S(getpgid, 0) < 0 ? errno : 0); }
static void *dies(void *p) { S(getpgid, 0); return NULL; }
static volatile int stop_waiting; static void *waits(void *p) { while (!stop_waiting) usleep(1000); return (void *)(long)(S(getpgid, 0) < 0 ? errno : 0); }
int main(int argc, char **argv) {
    if (argc == 1 && argv[0][0] == 'x') { show_status(); V(S(getppid)); fflush(stdout); return 3; }
    struct sock_filter allow = RET(SECCOMP_RET_ALLOW); pthread_t t; void *r; unsigned action;
    V(prctl(PR_GET_SECCOMP)); show_status();
    V(S(seccomp, 9, 0, NULL)); V(S(seccomp, 0, 1, NULL)); V(S(seccomp, 0, 0, 16)); V(S(seccomp, 1, 0, NULL)); V(S(seccomp, 1, 0x8000, NULL)); V(S(seccomp, 1, 0, 16)); V(prctl(PR_SET_SECCOMP, 0)); V(prctl(PR_SET_SECCOMP, 3)); V(prctl(PR_SET_SECCOMP, 2, 16));
    unsigned actions[] = {0x80000000, 0, 0x30000, 0x50000, 0x7ff00000, 0x7ffc0000, 0x7fff0000, 5, 0x10000}; for (int i = 0; i < 9; i++) V(S(seccomp, 2, 0, &actions[i])); V(S(seccomp, 2, 1, &actions[0])); V(S(seccomp, 2, 0, 16));
    /* programs that are none */
    V(install(&allow, 0, 0)); V(install(&allow, 4097, 0)); V(FILTER(LOAD(nr))); V(FILTER(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), allow)); V(FILTER(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), allow)); V(FILTER(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), allow));
    V(FILTER(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), allow)); V(FILTER(BPF_STMT(BPF_JMP | BPF_JA, 1), allow)); V(FILTER(BPF_STMT(BPF_JMP | BPF_JA, -1), allow)); V(FILTER(BPF_STMT(BPF_LD | BPF_MEM, 0), allow)); V(FILTER(BPF_STMT(BPF_ST, 16), allow)); V(FILTER(BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), allow));
    V(FILTER(BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 3), allow)); V(FILTER(BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), allow)); V(FILTER(BPF_STMT(BPF_RET | BPF_X, 0))); V(FILTER(BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0), allow)); V(FILTER(BPF_STMT(0xffff, 0), allow));
    V(FILTER(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), BPF_STMT(BPF_ST, 1), BPF_STMT(BPF_LD | BPF_MEM, 1), allow));
    CHILD(V(FILTER(LOAD(arch), ON(AUDIT_ARCH_X86_64 + 1, SECCOMP_RET_KILL_PROCESS), LOAD(nr), ON(SYS_getppid, SECCOMP_RET_ERRNO | 77), ON(SYS_getuid, SECCOMP_RET_ERRNO | 0), ON(SYS_getgid, SECCOMP_RET_ERRNO | 0xffff), ON(SYS_geteuid, SECCOMP_RET_TRACE), ON(SYS_getegid, SECCOMP_RET_LOG), ON(5000, SECCOMP_RET_ERRNO | 5), allow));
        V(getppid() < 0 ? errno : 0); V(S(getppid)); V(S(getuid)); V(S(getgid)); V(S(geteuid)); V(S(getegid)); V(syscall(5000)); V(syscall(5001)); V(prctl(PR_GET_SECCOMP)); V(S(seccomp, 0, 0, NULL)); show_status();
        CHILD(V(S(getppid)); show_status()); pthread_create(&t, NULL, call_it, NULL); pthread_join(t, &r); printf("%ld\n", (long)r);
        V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_ERRNO | 11), ON(SYS_getpgid, SECCOMP_RET_ERRNO | 12), allow)); V(S(getppid)); V(S(getpgid, 0)); V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_TRACE), allow)); V(S(getppid)); show_status(); V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_KILL_PROCESS), allow)); S(getppid); puts("not reached"));
    CHILD(V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_KILL_PROCESS), allow)); S(getppid)); CHILD(V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_KILL_THREAD), allow)); S(getppid)); CHILD(V(FILTER(LOAD(nr), ON(SYS_getppid, 0x12340000), allow)); S(getppid));
    CHILD(V(FILTER(LOAD(nr), ON(SYS_getpgid, SECCOMP_RET_KILL_THREAD), allow)); pthread_create(&t, NULL, dies, NULL); usleep(50000); puts("still here"));
    struct sigaction sa = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO}; sigaction(SIGSYS, &sa, NULL);
    CHILD(V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_TRAP | 99), allow)); V(S(getppid)); sigset_t m; sigfillset(&m); sigdelset(&m, SIGALRM); sigprocmask(SIG_SETMASK, &m, NULL); S(getppid); puts("not reached"));
    sa.sa_handler = SIG_IGN; sa.sa_flags = 0; sigaction(SIGSYS, &sa, NULL); CHILD(V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_TRAP), allow)); S(getppid); puts("not reached"));
    /* arguments, arithmetic */
    CHILD(V(FILTER(LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 3), LOAD(args[0]), ON(1, SECCOMP_RET_ERRNO | 1), LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 14), LOAD(args[1]), BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_STX, 3), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 7), BPF_STMT(BPF_ALU | BPF_MUL | BPF_X, 0), BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 0x80000001), BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 3), BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0), BPF_STMT(BPF_ALU | BPF_NEG, 0), BPF_STMT(BPF_LDX | BPF_MEM, 3), BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff), BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO), BPF_STMT(BPF_RET | BPF_A, 0), allow, allow));
        V(S(getpgid, 0, 3)); V(S(getpgid, 0, 1000)); V(S(getpgid, 1ul << 32, 77777)); V(S(getpgid, 1, 0)); S(getpgid, 0, 0); puts("division"));
    CHILD(V(FILTER(LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 100, 0, 4), BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_getpgid + 1, 3, 0), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 2), BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_RET | BPF_A, 0), allow)); V(S(getpgid, 0)); V(S(getuid)));
    CHILD(V(prctl(PR_SET_SECCOMP, 1)); write(1, "strict\n", 7); syscall(SYS_exit, 5)); CHILD(V(S(seccomp, 0, 0, NULL)); S(getpid)); CHILD(V(S(seccomp, 0, 0, NULL)); S(seccomp, 0, 0, NULL));
    CHILD(V(S(setresuid, 1000, 1000, 1000)); V(FILTER(allow)); V(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); V(FILTER(allow)); show_status());
    CHILD(struct sock_filter big[4000]; for (int i = 0; i < 4000; i++) big[i] = allow; int n = 0; while (n < 20 && !install(big, 4000, 0)) n++; printf("%d errno %d\n", n < 20, errno)); /* Linux counts the instructions of its own translation */
    CHILD(pthread_create(&t, NULL, waits, NULL); struct sock_filter f[] = {LOAD(nr), ON(SYS_getpgid, SECCOMP_RET_ERRNO | 33), allow}; V(install(f, 4, SECCOMP_FILTER_FLAG_TSYNC)); stop_waiting = 1; pthread_join(t, &r); printf("%ld\n", (long)r));
    CHILD(struct sock_filter f[] = {LOAD(nr), ON(SYS_getpgid, SECCOMP_RET_ERRNO | 33), allow}; pthread_create(&t, NULL, waits, NULL); V(install(f, 4, 0)); stop_waiting = 1; pthread_join(t, &r); printf("%ld\n", (long)r));
    CHILD(V(FILTER(LOAD(nr), ON(SYS_getppid, SECCOMP_RET_ERRNO | 9), allow)); execl("/proc/self/exe", "x", NULL));
    return 0;
}
