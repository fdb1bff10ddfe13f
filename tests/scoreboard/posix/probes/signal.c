/* <signal.h>, <setjmp.h> */
#include "probe.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static volatile int count;
static void noted(int signal) { printf("signal %d\n", signal); count++; }
static void detailed(int signal, siginfo_t *info, void *context) { printf("signal %d code %d value %d self %d\n", signal, info->si_code, info->si_value.sival_int, info->si_pid == getpid()); }
static sigset_t set_of(int signal) { sigset_t set; sigemptyset(&set); if (signal) sigaddset(&set, signal); return set; }
static void set_handler(int signal, int flags) { struct sigaction act = {.sa_handler = noted, .sa_flags = flags}; sigaction(signal, &act, NULL); }

#define CHILD(statement) do { int status; fflush(stdout); pid_t child = fork(); if (!child) { statement; fflush(stdout); _exit(0); } waitpid(child, &status, 0); \
    printf("child: exit %d signal %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0); } while (0)

PROBE(kill) { signal(SIGUSR1, noted); CALL(kill(getpid(), SIGUSR1)); CALL(kill(getpid(), 0)); CALL(kill(99999999, 0)); CALL(kill(getpid(), 99)); CHILD(raise(SIGKILL)); CHILD(setuid(65534); CALL(kill(getppid(), 0))); }
PROBE(killpg) { signal(SIGUSR2, noted); CHILD(setpgid(0, 0); CALL(killpg(0, SIGUSR2)); CALL(killpg(getpid(), SIGUSR2)); CALL(killpg(getpid(), SIGTERM))); CALL(killpg(99999999, 0)); CALL(killpg(-5, 0)); }
PROBE(psiginfo) { siginfo_t i = {.si_signo = SIGSEGV, .si_code = SEGV_MAPERR}; psiginfo(&i, "died"); i.si_signo = SIGCHLD; i.si_code = CLD_EXITED; psiginfo(&i, NULL); }
PROBE(psignal) { psignal(SIGTERM, "ended"); psignal(SIGHUP, ""); psignal(999, "odd"); }
static void *sleeper(void *argument) { sigset_t set = set_of(SIGUSR1); int got; sigwait(&set, &got); printf("thread got %d\n", got); return NULL; }
PROBE(pthread_kill) { pthread_t t; sigset_t set = set_of(SIGUSR1); pthread_sigmask(SIG_BLOCK, &set, NULL); pthread_create(&t, NULL, sleeper, NULL); INT(pthread_kill(t, 0)); int r = pthread_kill(t, SIGUSR1); pthread_join(t, NULL); INT(r); INT(pthread_kill(pthread_self(), 99)); }
PROBE(pthread_sigmask) { sigset_t set = set_of(SIGUSR1), old; INT(pthread_sigmask(SIG_BLOCK, &set, NULL)); INT(pthread_sigmask(SIG_SETMASK, NULL, &old)); INT(sigismember(&old, SIGUSR1)); INT(pthread_sigmask(99, &set, NULL)); }
PROBE(raise) { signal(SIGINT, noted); INT(raise(SIGINT)); INT(raise(0)); CALL(raise(999)); CHILD(raise(SIGTERM)); CHILD(raise(SIGSTOP + 100)); }
PROBE(sig2str) { char name[SIG2STR_MAX]; INT(sig2str(SIGHUP, name)); TEXT(name); INT(sig2str(9999, name)); }
PROBE(str2sig) { int n; INT(str2sig("TERM", &n)); INT(n); INT(str2sig("NOPE", &n)); }
PROBE(sigaction) { struct sigaction act = {.sa_sigaction = detailed, .sa_flags = SA_SIGINFO | SA_RESETHAND}, old; CALL(sigaction(SIGUSR1, &act, NULL)); raise(SIGUSR1); sigaction(SIGUSR1, NULL, &old); INT(old.sa_handler == SIG_DFL); CALL(sigaction(SIGKILL, &act, NULL)); CALL(sigaction(999, &act, NULL)); CHILD(volatile int *p = (int *)8; struct sigaction s = {.sa_handler = SIG_IGN}; sigaction(SIGSEGV, &s, NULL); *p = 1); }
PROBE(sigaddset) { sigset_t s = set_of(0); INT(sigaddset(&s, SIGRTMIN)); INT(sigismember(&s, SIGRTMIN)); CALL(sigaddset(&s, 0)); CALL(sigaddset(&s, 99)); }
static void on_stack(int signal) { stack_t s; sigaltstack(NULL, &s); printf("on the other stack: %d\n", s.ss_flags == SS_ONSTACK); stack_t no = {.ss_flags = SS_DISABLE}; CALL(sigaltstack(&no, NULL)); }
PROBE(sigaltstack) { static char memory[65536]; stack_t s = {.ss_sp = memory, .ss_size = sizeof memory}, old; CALL(sigaltstack(&s, &old)); INT(old.ss_flags == SS_DISABLE); struct sigaction act = {.sa_handler = on_stack, .sa_flags = SA_ONSTACK}; sigaction(SIGUSR1, &act, NULL); raise(SIGUSR1); s.ss_size = 100; CALL(sigaltstack(&s, NULL)); s.ss_flags = 99; CALL(sigaltstack(&s, NULL)); }
PROBE(sigdelset) { sigset_t s; sigfillset(&s); INT(sigdelset(&s, SIGINT)); INT(sigismember(&s, SIGINT)); INT(sigismember(&s, SIGQUIT)); CALL(sigdelset(&s, -1)); }
PROBE(sigemptyset) { sigset_t s; memset(&s, 255, sizeof s); INT(sigemptyset(&s)); INT(sigismember(&s, SIGTERM)); }
PROBE(sigfillset) { sigset_t s; INT(sigfillset(&s)); INT(sigismember(&s, SIGTERM)); INT(sigismember(&s, SIGRTMAX)); }
PROBE(sigismember) { sigset_t s = set_of(SIGALRM); INT(sigismember(&s, SIGALRM)); INT(sigismember(&s, SIGHUP)); CALL(sigismember(&s, 100)); }
PROBE(signal) { INT(signal(SIGUSR1, noted) == SIG_DFL); raise(SIGUSR1); raise(SIGUSR1); INT(signal(SIGUSR1, SIG_IGN) == noted); INT(raise(SIGUSR1)); INT(signal(SIGKILL, SIG_IGN) == SIG_ERR); INT(errno); }
PROBE(sigpending) { sigset_t s = set_of(SIGUSR1), p; sigprocmask(SIG_BLOCK, &s, NULL); raise(SIGUSR1); CALL(sigpending(&p)); INT(sigismember(&p, SIGUSR1)); INT(sigismember(&p, SIGUSR2)); }
PROBE(sigprocmask) { sigset_t s = set_of(SIGUSR1), old; set_handler(SIGUSR1, 0); CALL(sigprocmask(SIG_BLOCK, &s, NULL)); raise(SIGUSR1); INT(count); CALL(sigprocmask(SIG_UNBLOCK, &s, &old)); INT(count); INT(sigismember(&old, SIGUSR1)); CALL(sigprocmask(99, &s, NULL)); sigfillset(&s); sigprocmask(SIG_SETMASK, &s, NULL); sigprocmask(0, NULL, &old); INT(sigismember(&old, SIGKILL)); }
PROBE(sigqueue) { struct sigaction act = {.sa_sigaction = detailed, .sa_flags = SA_SIGINFO}; sigset_t s = set_of(SIGRTMIN); sigaction(SIGRTMIN, &act, NULL); sigprocmask(SIG_BLOCK, &s, NULL); for (int i = 1; i < 4; i++) CALL(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i * 11})); sigprocmask(SIG_UNBLOCK, &s, NULL); CALL(sigqueue(99999999, 0, (union sigval){0})); CALL(sigqueue(getpid(), 999, (union sigval){0})); }
PROBE(sigsuspend) { sigset_t blocked = set_of(SIGUSR1), none = set_of(0); set_handler(SIGUSR1, 0); sigprocmask(SIG_BLOCK, &blocked, NULL); raise(SIGUSR1); CALL(sigsuspend(&none)); sigset_t now; sigprocmask(0, NULL, &now); INT(sigismember(&now, SIGUSR1)); }
PROBE(sigtimedwait) { sigset_t s = set_of(SIGRTMIN + 1); struct timespec t = {0, 10000000}, bad = {0, -1}; siginfo_t i; sigprocmask(SIG_BLOCK, &s, NULL); CALL(sigtimedwait(&s, &i, &t)); sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 5}); INT(sigtimedwait(&s, &i, &t) - SIGRTMIN); INT(i.si_value.sival_int); INT(i.si_code); CALL(sigtimedwait(&s, &i, &bad)); }
PROBE(sigwait) { sigset_t s = set_of(SIGUSR2); int got; sigprocmask(SIG_BLOCK, &s, NULL); raise(SIGUSR2); INT(sigwait(&s, &got)); INT(got); sigset_t p; sigpending(&p); INT(sigismember(&p, SIGUSR2)); }
PROBE(sigwaitinfo) { sigset_t s = set_of(SIGUSR2); siginfo_t i; sigprocmask(SIG_BLOCK, &s, NULL); raise(SIGUSR2); INT(sigwaitinfo(&s, &i)); INT(i.si_code); INT(i.si_pid == getpid()); INT(i.si_uid); }
static jmp_buf place;
static void deep(int depth) { if (depth) deep(depth - 1); else longjmp(place, 0); }
PROBE(setjmp) { volatile int turns = 0; int r = setjmp(place); INT(r); if (turns++ < 3) longjmp(place, turns + 4); }
PROBE(longjmp) { int r = setjmp(place); INT(r); if (!r) deep(100); }
static sigjmp_buf out;
static void jumping(int signal) { siglongjmp(out, signal); }
PROBE(sigsetjmp) { sigset_t now; signal(SIGUSR1, jumping); int r = sigsetjmp(out, 0); INT(r); if (!r) raise(SIGUSR1); sigprocmask(0, NULL, &now); INT(sigismember(&now, SIGUSR1)); }
PROBE(siglongjmp) { sigset_t now; signal(SIGSEGV, jumping); int r = sigsetjmp(out, 1); INT(r); if (!r) *(volatile int *)8 = 1; sigprocmask(0, NULL, &now); INT(sigismember(&now, SIGSEGV)); }
