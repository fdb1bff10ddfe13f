/* Handlers: frames, siginfo, faults, alternate stacks, restarts, timers, stop and continue. */
#include "process.h"

static volatile double floating = 1.5;
static char *expected;
static sigjmp_buf back;
static char alternate[16384];

static void show_info(int signo, siginfo_t *info, void *context) {
    double noise = floating * 3; /* the handler uses the FPU; the interrupted code must not notice */
    (void)context, (void)noise;
    printf("signal %d code %d from us %d value %d\n", signo, info->si_code, info->si_pid == getpid(),
           info->si_value.sival_int);
}

static void fault(int signo, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    int at_instruction = signo == SIGILL || signo == SIGFPE;
    int right = at_instruction ? (greg_t)info->si_addr == registers[REG_RIP] : info->si_addr == expected;
    printf("fault %d code %d address %d trap %lld error %lld\n", signo, info->si_code, right,
           (long long)registers[REG_TRAPNO], (long long)registers[REG_ERR] & ~1); /* whether the page was there is the kernel's affair */
    siglongjmp(back, 1);
}

static void where(int signo) {
    char here;
    stack_t now;
    sigaltstack(NULL, &now);
    printf("alternate %d flags %d\n", &here > alternate && &here < alternate + sizeof alternate, now.ss_flags);
}

static void deep(int n) {
    volatile char page[4096];
    page[0] = n;
    if (n > 0) deep(n - 1);
    (void)page[0];
}

static void overflow(int signo) {
    printf("overflow caught\n");
    fflush(stdout);
    _exit(0);
}

static void handle(int signo, void *handler, int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(signo, &action, NULL);
}

static void send_and_wait(void) {
    handle(SIGUSR1, show_info, SA_SIGINFO);
    handle(SIGRTMIN, show_info, SA_SIGINFO);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR1);
    V(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 42}));
    sigset_t two, old, pending;
    sigemptyset(&two);
    sigaddset(&two, SIGRTMIN);
    sigaddset(&two, SIGUSR1);
    sigprocmask(SIG_BLOCK, &two, &old);
    for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    sigpending(&pending);
    printf("pending %d %d\n", sigismember(&pending, SIGRTMIN), sigismember(&pending, SIGUSR1));
    siginfo_t info;
    V(sigwaitinfo(&two, &info));
    sigprocmask(SIG_SETMASK, &old, NULL);
    struct timespec ten_ms = {0, 10000000};
    V(sigtimedwait(&two, &info, &ten_ms));
    handle(SIGUSR1, show_info, SA_SIGINFO | SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction now;
    sigaction(SIGUSR1, NULL, &now);
    printf("reset %d\n", now.sa_handler == SIG_DFL);
    handle(SIGUSR1, show_info, SA_SIGINFO);
}

#define TRY(statement)                                                                                         \
    if (!sigsetjmp(back, 1)) {                                                                                 \
        statement;                                                                                             \
    }

static void faults(void) {
    volatile int zero = 0, value;
    for (int i = 0; i < 6; i++)
        handle((int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}[i], fault, SA_SIGINFO | SA_NODEFER);
    expected = bad;
    TRY(*(volatile int *)bad = 1)
    TRY(value = *(volatile int *)bad)
    char *read_only = expected = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRY(*(volatile char *)read_only = 1)
    char *none = expected = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRY(value = *(volatile char *)none)
    TRY(((void (*)(void))(expected = read_only))())
    FILE *file = tmpfile();
    char *past_end = expected = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
    TRY(value = *(volatile char *)past_end)
    expected = NULL;
    TRY(value = 7 / zero)
    TRY(__asm__ volatile("ud2"))
    TRY(__asm__ volatile("int3"))
    TRY(__asm__ volatile("hlt"))
    TRY(value = *(volatile int *)0xdead000000000000ul)
}

static void stacks_and_restarts(void) {
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    handle(SIGUSR2, where, SA_ONSTACK);
    raise(SIGUSR2);
    handle(SIGUSR2, where, 0);
    raise(SIGUSR2);
    int pair[2];
    char byte;
    pipe(pair);
    struct itimerval soon = {{0, 0}, {0, 20000}};
    handle(SIGALRM, where, SA_RESTART);
    setitimer(ITIMER_REAL, &soon, NULL);
    fflush(stdout);
    if (!fork()) {
        usleep(60000);
        write(pair[1], "x", 1);
        _exit(0);
    }
    V(read(pair[0], &byte, 1));
    V(wait(NULL) > 0);
    handle(SIGALRM, where, 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    V(read(pair[0], &byte, 1));
    struct timespec second = {1, 0}, left;
    handle(SIGALRM, where, SA_RESTART);
    setitimer(ITIMER_REAL, &soon, NULL);
    V(nanosleep(&second, &left));
    printf("left %d\n", left.tv_nsec > 900000000 && !left.tv_sec);
    V(alarm(5));
    V(alarm(0));
    sigset_t none;
    sigemptyset(&none);
    setitimer(ITIMER_REAL, &soon, NULL);
    V(sigsuspend(&none));
    timer_t timer;
    struct sigevent event = {.sigev_signo = SIGRTMIN, .sigev_value.sival_int = 77};
    V(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec later = {{0, 0}, {0, 10000000}};
    timer_settime(timer, 0, &later, NULL);
    V(pause());
    V(timer_delete(timer));
    double sum = floating;
    for (int i = 0; i < 3; i++) {
        raise(SIGUSR1);
        sum *= 2;
    }
    printf("%f\n", sum);
}

static void children(void) {
    int status;
    pid_t child = fork();
    if (!child) abort();
    waitpid(child, &status, 0);
    printf("aborted %d %d\n", WIFSIGNALED(status), WTERMSIG(status));
    child = fork();
    if (!child) {
        raise(SIGSTOP);
        _exit(5);
    }
    waitpid(child, &status, WUNTRACED);
    printf("stopped %d %d\n", WIFSTOPPED(status), WSTOPSIG(status));
    kill(child, SIGCONT);
    waitpid(child, &status, WCONTINUED);
    printf("continued %d\n", WIFCONTINUED(status));
    siginfo_t info;
    V(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    printf("%d %d %d\n", info.si_signo, info.si_code, info.si_status);
    waitpid(child, &status, 0);
    printf("exited %d\n", WEXITSTATUS(status));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    send_and_wait();
    faults();
    stacks_and_restarts();
    children();
    handle(SIGSEGV, overflow, SA_ONSTACK);
    deep(100000);
    printf("not reached\n");
    return 0;
}
