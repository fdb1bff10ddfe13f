/* Handlers, masks, alternate stacks, siginfo, restart and interruption, SIGCHLD, faults that are survived. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t seen, depth;
static sigjmp_buf escape;
static char *volatile expected;
static char stack[65536];

static void note(int signo) { seen = signo; }

static void on_fault(int signo, siginfo_t *info, void *context)
{
    char here;
    printf("fault %d code %d address as expected %d on alternate stack %d\n", signo, info->si_code, info->si_addr == expected,
           &here >= stack && &here < stack + sizeof stack);
    siglongjmp(escape, 1);
}

static void detail(int signo, siginfo_t *info, void *context)
{
    printf("signal %d code %d value %d from me %d\n", signo, info->si_code, info->si_value.sival_int,
           info->si_pid == getpid());
}

static void nested(int signo)
{
    depth++;
    if (signo == SIGUSR1)
        raise(SIGUSR2);
}

int main(void)
{
    struct sigaction action = {.sa_handler = note};
    sigset_t mask, pending, old;
    char byte;
    int pipe_fds[2], status;

    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("seen %d\n", seen);

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, &old);
    seen = 0;
    raise(SIGUSR1);
    sigpending(&pending);
    printf("blocked: seen %d pending %d\n", seen, sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("unblocked: seen %d\n", seen);

    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGFPE, &fault, NULL);
    expected = (char *)0x10;
    if (!sigsetjmp(escape, 1))
        *(volatile int *)expected = 1;
    expected = "constant";
    if (!sigsetjmp(escape, 1))
        *expected = 1;

    struct sigaction info = {.sa_sigaction = detail, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &info, NULL);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    for (int i = 1; i <= 3; i++)
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    sigprocmask(SIG_SETMASK, &old, NULL);

    struct sigaction nest = {.sa_handler = nested};
    sigaction(SIGUSR1, &nest, NULL);
    sigaction(SIGUSR2, &nest, NULL);
    raise(SIGUSR1);
    printf("depth %d\n", depth);

    if (pipe(pipe_fds))
        return 1;
    for (int restart = 0; restart < 2; restart++) {
        struct sigaction alarmed = {.sa_handler = note, .sa_flags = restart ? SA_RESTART : 0};
        sigaction(SIGALRM, &alarmed, NULL);
        pid_t parent = getpid(), child = fork();
        if (child == 0) {
            struct timespec wait = {0, 50000000};
            nanosleep(&wait, NULL);
            kill(parent, SIGALRM);
            nanosleep(&wait, NULL);
            _exit(write(pipe_fds[1], "x", 1) != 1);
        }
        errno = 0;
        ssize_t got = read(pipe_fds[0], &byte, 1);
        printf("restart %d: read %zd %s seen %d\n", restart, got, got < 0 ? strerror(errno) : "ok", seen);
        waitpid(child, &status, 0);
        if (got < 0)
            got = read(pipe_fds[0], &byte, 1);
    }

    signal(SIGCHLD, note);
    seen = 0;
    if (fork() == 0)
        _exit(3);
    while (waitpid(-1, &status, 0) < 0 && errno == EINTR)
        ;
    printf("child status %d signal %d\n", WEXITSTATUS(status), seen);
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0)
        _exit(0);
    errno = 0;
    while (wait(NULL) > 0)
        ;
    printf("ignored children: %s\n", strerror(errno));

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    raise(SIGUSR2);
    siginfo_t taken;
    printf("sigwaitinfo %d\n", sigwaitinfo(&mask, &taken));
    struct timespec moment = {0, 1000000};
    printf("sigtimedwait %d %s\n", sigtimedwait(&mask, &taken, &moment), strerror(errno));
    fflush(stdout);
    signal(SIGTERM, SIG_DFL);
    raise(SIGTERM);
    return 0;
}
