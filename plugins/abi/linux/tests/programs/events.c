#include "oracle.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
static void handler(int s) { (void)s; }
int main(void) {
    char buf[100]; int p[2], q[2]; uint64_t v; pipe(p); pipe(q);
    struct pollfd f[4] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {77, POLLIN, 0}, {-1, POLLIN, 0}};
    T(poll(f, 4, 0)); for (int i = 0; i < 4; i++) printf("%x ", f[i].revents); puts("");
    T(poll(f, 1, 0)); T(poll(f, 1, 20)); write(p[1], "x", 1); T(poll(f, 2, -1));
    printf("%x %x\n", f[0].revents, f[1].revents); T(poll(NULL, 0, 10)); T(poll((void *)1, 1, 0));
    T(poll(f, 100000000, 0));
    close(q[1]); struct pollfd g = {q[0], POLLIN, 0}; T(poll(&g, 1, 0)); printf("%x\n", g.revents); close(q[0]);
    pipe(q); close(q[0]); g = (struct pollfd){q[1], POLLOUT, 0}; T(poll(&g, 1, 0)); printf("%x\n", g.revents);
    g.events = 0; T(poll(&g, 1, 0)); printf("%x\n", g.revents);
    int file = make("a", "x"); g = (struct pollfd){file, POLLIN|POLLOUT, 0}; T(poll(&g, 1, 0));
    printf("%x\n", g.revents); int d = open(".", O_RDONLY); g = (struct pollfd){d, POLLIN, 0};
    T(poll(&g, 1, 0)); printf("%x\n", g.revents); int nul = open("/dev/null", O_RDWR);
    g = (struct pollfd){nul, POLLIN|POLLOUT, 0}; T(poll(&g, 1, 0)); printf("%x\n", g.revents);
    struct timespec ts = {0, 20000000}; T(ppoll(f, 0, &ts, NULL)); ts.tv_nsec = 1000000000;
    T(ppoll(f, 0, &ts, NULL)); ts.tv_nsec = -1; T(ppoll(f, 0, &ts, NULL)); read(p[0], buf, 1);
    /* select */
    fd_set r, w; FD_ZERO(&r); FD_ZERO(&w); FD_SET(p[0], &r); FD_SET(p[1], &w); struct timeval tv = {0, 0};
    T(select(20, &r, &w, NULL, &tv)); printf("%d %d\n", !!FD_ISSET(p[0], &r), !!FD_ISSET(p[1], &w));
    FD_ZERO(&r); FD_SET(p[0], &r); tv.tv_usec = 20000; T(select(20, &r, NULL, NULL, &tv));
    printf("left %ld %ld set %d\n", (long)tv.tv_sec, (long)tv.tv_usec, !!FD_ISSET(p[0], &r)); FD_SET(50, &r);
    T(select(51, &r, NULL, NULL, &tv)); T(select(-1, NULL, NULL, NULL, &tv)); tv.tv_sec = -1;
    T(select(0, NULL, NULL, NULL, &tv)); tv = (struct timeval){0, 0}; T(select(0, NULL, NULL, NULL, &tv));
    FD_ZERO(&r); FD_SET(file, &r); T(select(20, &r, &r, NULL, NULL));
    T(pselect(0, NULL, NULL, NULL, &(struct timespec){0, 1000}, NULL));
    /* interrupted */
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART}; sigaction(SIGALRM, &sa, NULL);
    struct itimerval it = {{0, 0}, {0, 30000}}; setitimer(ITIMER_REAL, &it, NULL); T(poll(f, 1, 2000));
    setitimer(ITIMER_REAL, &it, NULL); FD_ZERO(&r); FD_SET(p[0], &r); tv = (struct timeval){5, 0};
    T(select(20, &r, NULL, NULL, &tv)); printf("left %ld still %d\n", (long)tv.tv_sec, !!FD_ISSET(p[0], &r));
    sigset_t m, none; sigemptyset(&none); sigemptyset(&m); sigaddset(&m, SIGALRM);
    sigprocmask(SIG_BLOCK, &m, NULL); raise(SIGALRM); ts = (struct timespec){1, 0}; T(ppoll(f, 1, &ts, &none));
    sigset_t now; sigprocmask(0, NULL, &now); printf("blocked %d\n", sigismember(&now, SIGALRM));
    raise(SIGALRM); write(p[1], "y", 1); T(ppoll(f, 1, NULL, &none)); sigset_t pend; sigpending(&pend);
    printf("pending %d\n", sigismember(&pend, SIGALRM)); int got; sigwait(&m, &got);
    /* epoll */
    int e = epoll_create1(EPOLL_CLOEXEC); T(epoll_create(0)); T(epoll_create1(5));
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 0x1122334455667788}, out[8];
    T(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev)); T(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
    T(epoll_ctl(e, EPOLL_CTL_ADD, 77, &ev)); T(epoll_ctl(e, EPOLL_CTL_ADD, file, &ev));
    T(epoll_ctl(e, EPOLL_CTL_ADD, e, &ev)); T(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &ev));
    T(epoll_ctl(e, EPOLL_CTL_MOD, p[1], &ev)); T(epoll_ctl(e, EPOLL_CTL_DEL, p[1], &ev));
    T(epoll_ctl(e, 9, p[0], &ev)); T(epoll_ctl(e, EPOLL_CTL_ADD, p[1], (void *)1));
    T(epoll_wait(e, out, 8, 0)); printf("%x %llx\n", out[0].events, (unsigned long long)out[0].data.u64);
    T(epoll_wait(e, out, 8, 0)); read(p[0], buf, 10); T(epoll_wait(e, out, 8, 0)); T(epoll_wait(e, out, 8, 20));
    T(epoll_wait(e, out, 0, 0)); T(epoll_wait(e, out, -1, 0)); T(epoll_wait(77, out, 1, 0));
    T(epoll_wait(file, out, 1, 0));
    ev.events = EPOLLIN|EPOLLET; T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev)); write(p[1], "a", 1);
    T(epoll_wait(e, out, 8, 0)); T(epoll_wait(e, out, 8, 0)); write(p[1], "b", 1); T(epoll_wait(e, out, 8, 0));
    T(epoll_wait(e, out, 8, 0)); read(p[0], buf, 10); ev.events = EPOLLIN|EPOLLONESHOT;
    T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev)); write(p[1], "c", 1); T(epoll_wait(e, out, 8, 0));
    T(epoll_wait(e, out, 8, 0)); T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev)); T(epoll_wait(e, out, 8, 0));
    read(p[0], buf, 10); ev.events = EPOLLIN; T(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
    int e2 = epoll_create1(0); T(epoll_ctl(e2, EPOLL_CTL_ADD, e, &ev)); T(epoll_ctl(e, EPOLL_CTL_ADD, e2, &ev));
    write(p[1], "z", 1); T(epoll_wait(e2, out, 8, 0)); g = (struct pollfd){e, POLLIN, 0}; T(poll(&g, 1, 0));
    int dupped = dup(p[0]); T(close(p[0])); T(epoll_wait(e, out, 8, 0)); T(close(dupped));
    T(epoll_wait(e, out, 8, 0)); fflush(stdout);
    pipe(p); ev.data.u64 = 5; T(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev)); fflush(stdout);
    if (!fork()) { usleep(30000); write(p[1], "w", 1); _exit(0); } T(epoll_wait(e, out, 8, 2000)); wait(NULL);
    T(syscall(SYS_epoll_pwait2, e, out, 8, &(struct timespec){0, 0}, NULL, 8));
    /* eventfd */
    int n = eventfd(3, EFD_NONBLOCK); T(read(n, buf, 4)); T(read(n, &v, 8));
    printf("%llu\n", (unsigned long long)v); T(read(n, &v, 8)); v = 5; T(write(n, &v, 8)); T(write(n, &v, 8));
    T(read(n, &v, 8)); printf("%llu\n", (unsigned long long)v); v = ~0ull; T(write(n, &v, 8)); v--;
    T(write(n, &v, 8)); v = 1; T(write(n, &v, 8)); g = (struct pollfd){n, POLLIN|POLLOUT, 0}; T(poll(&g, 1, 0));
    printf("%x\n", g.revents); T(write(n, &v, 4)); T(eventfd(0, 99)); T(lseek(n, 0, 0)); T(pread(n, &v, 8, 0));
    n = eventfd(2, EFD_SEMAPHORE|EFD_NONBLOCK); T(read(n, &v, 8)); T(read(n, &v, 8)); T(read(n, &v, 8));
    T(fcntl(n, F_GETFL));
    /* timerfd */
    int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK); T(timerfd_create(99, 0)); T(timerfd_create(0, 1));
    struct itimerspec its = {{0, 0}, {0, 20000000}}, cur; T(read(t, &v, 8));
    T(timerfd_settime(t, 0, &its, NULL)); T(timerfd_gettime(t, &cur));
    printf("armed %d\n", cur.it_value.tv_nsec > 0 && cur.it_value.tv_nsec <= 20000000);
    g = (struct pollfd){t, POLLIN, 0}; T(poll(&g, 1, 1000)); printf("%x\n", g.revents); T(read(t, &v, 8));
    printf("%llu\n", (unsigned long long)v); T(read(t, &v, 8)); T(read(t, &v, 4)); T(write(t, &v, 8));
    its.it_interval.tv_nsec = 10000000; T(timerfd_settime(t, 0, &its, NULL)); usleep(65000); T(read(t, &v, 8));
    printf("several %d\n", v >= 3); its.it_value.tv_nsec = 0; T(timerfd_settime(t, 0, &its, &cur));
    printf("%ld\n", (long)cur.it_interval.tv_nsec); its.it_value.tv_nsec = 1000000000;
    T(timerfd_settime(t, 0, &its, NULL)); T(timerfd_settime(file, 0, &its, NULL));
    T(timerfd_settime(t, 99, &its, NULL)); its = (struct itimerspec){{0, 0}, {1, 0}};
    T(timerfd_settime(t, TFD_TIMER_ABSTIME, &its, NULL)); T(poll(&g, 1, 500));
    t = timerfd_create(CLOCK_REALTIME, 0); its = (struct itimerspec){{0, 0}, {0, 10000000}};
    timerfd_settime(t, 0, &its, NULL); T(read(t, &v, 8));
    /* signalfd */
    sigaddset(&m, SIGUSR1); sigprocmask(SIG_BLOCK, &m, NULL); int s = signalfd(-1, &m, SFD_NONBLOCK);
    struct signalfd_siginfo si; T(read(s, &si, sizeof si)); kill(getpid(), SIGUSR1);
    g = (struct pollfd){s, POLLIN, 0}; T(poll(&g, 1, 0)); T(read(s, &si, 10)); T(read(s, &si, sizeof si));
    printf("%d %d %d\n", si.ssi_signo, si.ssi_code, si.ssi_pid == (unsigned)getpid());
    T(read(s, &si, sizeof si)); T(signalfd(file, &m, 0)); T(signalfd(-1, &m, 99)); T(signalfd(s, &m, 0) == s);
    return 0;
}
