/* Signal calls with bad arguments. */
#include "process.h"

int main(void) {
    setpgid(0, 0);
    char *m = mmap(0, 32768, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct timespec ts = {0, 0};
    E(S(kill, 999999, 0));
    E(S(kill, getpid(), 0));
    E(S(kill, getpid(), 65));
    E(S(kill, -999999, 0));
    E(S(kill, 0x80000000, 0));
    E(S(tkill, 0, 0));
    E(S(tkill, 999999, 0));
    E(S(tgkill, getpid(), getpid(), 0));
    E(S(tgkill, 1, getpid(), 0));
    E(S(tgkill, -1, 1, 0));
    E(S(rt_sigaction, 0, 0, 0, 8));
    E(S(rt_sigaction, 65, 0, 0, 8));
    E(S(rt_sigaction, 9, 0, buf, 8));
    memset(buf, 0, 64);
    E(S(rt_sigaction, 9, buf, 0, 8));
    E(S(rt_sigaction, 19, buf, 0, 8));
    E(S(rt_sigaction, 10, 0, 0, 4));
    E(S(rt_sigaction, 10, bad, 0, 8));
    E(S(rt_sigaction, 10, 0, bad, 8));
    E(S(rt_sigprocmask, 5, buf, 0, 8));
    E(S(rt_sigprocmask, 5, 0, buf, 8));
    E(S(rt_sigprocmask, 0, bad, 0, 8));
    E(S(rt_sigprocmask, 0, 0, bad, 8));
    E(S(rt_sigprocmask, 0, 0, 0, 4));
    E(S(rt_sigpending, buf, 16));
    E(S(rt_sigpending, buf, 4));
    E(S(rt_sigpending, bad, 8));
    E(S(sigaltstack, bad, 0));
    stack_t ss = {.ss_sp = m, .ss_size = 100};
    E(S(sigaltstack, &ss, 0));
    ss.ss_flags = 7;
    E(S(sigaltstack, &ss, 0));
    E(S(sigaltstack, 0, &ss));
    V(ss.ss_flags);
    siginfo_t si;
    memset(&si, 0, sizeof si);
    E(S(rt_sigqueueinfo, 1, 10, &si));
    si.si_code = -1;
    E(S(rt_sigqueueinfo, getpid(), 0, &si));
    E(S(rt_sigqueueinfo, 999999, 0, &si));
    E(S(rt_sigqueueinfo, getpid(), 10, bad));
    E(S(rt_tgsigqueueinfo, getpid(), getpid(), 0, &si));
    sigset_t set;
    sigemptyset(&set);
    E(S(rt_sigtimedwait, &set, 0, &ts, 8));
    ts.tv_nsec = -1;
    E(S(rt_sigtimedwait, &set, 0, &ts, 8));
    E(S(rt_sigsuspend, &set, 4));
    E(S(rt_sigsuspend, bad, 8));
    return 0;
}
