#include "oracle.h"
#include <mqueue.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/resource.h>
static volatile int got_code, got_value, got_pid;
static void on_signal(int s, siginfo_t *i, void *u) { got_code = i->si_code; got_value = i->si_value.sival_int; got_pid = i->si_pid; }
static void on_alarm(int s) {}
static void attributes(mqd_t q) {
    struct mq_attr a = {9, 9, 9, 9}; T(mq_getattr(q, &a));
    printf("%lx %ld %ld %ld\n", a.mq_flags, a.mq_maxmsg, a.mq_msgsize, a.mq_curmsgs);
}
#define SEND(q, text, prio) T(mq_send(q, text, strlen(text), prio))
#define RECV(q) do { unsigned p = 99; errno = 0; ssize_t n = mq_receive(q, b, sizeof b, &p); \
    if (n < 0) printf("receive errno %d\n", errno); else { b[n] = 0; printf("got %zd %s prio %u\n", n, b, p); } } while (0)
int main(void) {
    char b[20000]; mqd_t q, r; struct stat st;
    mq_unlink("/jq"); mq_unlink("/jr");
    T(mq_open("/jq", O_RDWR)); T(mq_open("jq", O_RDWR)); T(mq_open("/a/b", O_RDWR)); T(mq_open("/", O_RDWR)); T(mq_open("/.", O_RDWR | O_CREAT, 0600, NULL));
    T(syscall(SYS_mq_open, "/jq", O_RDWR, 0, NULL)); T(syscall(SYS_mq_open, "", O_RDWR, 0, NULL)); T(syscall(SYS_mq_open, (void *)1, O_RDWR, 0, NULL));
    T(syscall(SYS_mq_open, "jq", O_RDWR, 0, (void *)1)); char name[300]; memset(name, 'x', 299); name[0] = '/'; name[299] = 0;
    T(mq_open(name, O_CREAT | O_RDWR, 0600, NULL)); name[256] = 0; T(q = mq_open(name, O_CREAT | O_RDWR, 0600, NULL)); T(mq_close(q)); T(mq_unlink(name)); T(mq_unlink(name));
    T(mq_unlink("/jq")); T(mq_unlink("jq")); T(syscall(SYS_mq_unlink, "")); T(syscall(SYS_mq_unlink, "a/b"));
    struct mq_attr bad = {0, 0, 10}; T(mq_open("/jq", O_CREAT | O_RDWR, 0600, &bad)); bad.mq_maxmsg = 10; bad.mq_msgsize = 0; T(mq_open("/jq", O_CREAT | O_RDWR, 0600, &bad));
    bad.mq_maxmsg = -1; bad.mq_msgsize = 10; T(mq_open("/jq", O_CREAT | O_RDWR, 0600, &bad)); bad.mq_maxmsg = 65537; T(mq_open("/jq", O_CREAT | O_RDWR, 0600, &bad));
    bad.mq_maxmsg = 10; bad.mq_msgsize = (16 << 20) + 1; T(mq_open("/jq", O_CREAT | O_RDWR, 0600, &bad));
    umask(022); T(q = mq_open("/jq", O_CREAT | O_RDWR | O_EXCL, 0666, NULL)); attributes(q); T(mq_open("/jq", O_CREAT | O_RDWR | O_EXCL, 0666, NULL));
    T(mq_open("/jq", O_ACCMODE)); T(fstat(q, &st)); printf("%o %ld %ld %d\n", st.st_mode, (long)st.st_size, (long)st.st_nlink, st.st_uid);
    T(fcntl(q, F_GETFD)); T(fcntl(q, F_GETFL)); T(lseek(q, 0, SEEK_END)); T(lseek(q, 0, SEEK_SET)); T(read(q, b, 100)); show("text", b, 58); T(write(q, "x", 1));
    struct pollfd f = {q, POLLIN | POLLOUT, 0}; T(poll(&f, 1, 0)); printf("%x\n", f.revents);
    SEND(q, "one", 1); SEND(q, "five", 5); SEND(q, "uno", 1); SEND(q, "", 0); SEND(q, "max", 32767); SEND(q, "no", 32768); T(poll(&f, 1, 0)); printf("%x\n", f.revents);
    attributes(q); T(pread(q, b, 100, 0)); show("text", b, 58);
    T(mq_receive(q, b, 100, NULL)); T(mq_send(q, b, 8193, 0)); T(mq_send(q, b, 8192, 2)); T(mq_send(q, (char *)1, 10, 0)); T(mq_send(99, b, 1, 0)); T(mq_send(0, b, 1, 0)); T(mq_receive(0, b, 10000, NULL));
    RECV(q); RECV(q); { ssize_t n = mq_receive(q, b, sizeof b, NULL); printf("%zd\n", n); } RECV(q); RECV(q); RECV(q); attributes(q);
    struct mq_attr set = {O_NONBLOCK, 1, 2, 3}, old; T(mq_setattr(q, &set, &old)); printf("%lx\n", old.mq_flags); attributes(q); T(fcntl(q, F_GETFL)); set.mq_flags = O_APPEND; T(mq_setattr(q, &set, NULL));
    RECV(q); T(mq_getattr(0, &old)); T(mq_getattr(77, &old)); for (int i = 0; i < 10; i++) mq_send(q, "x", 1, i); T(mq_send(q, "x", 1, 0)); T(poll(&f, 1, 0)); printf("%x\n", f.revents);
    set.mq_flags = 0; T(mq_setattr(q, &set, NULL)); struct timespec ts; clock_gettime(CLOCK_REALTIME, &ts); ts.tv_nsec += 30000000; if (ts.tv_nsec >= 1000000000) ts.tv_sec++, ts.tv_nsec -= 1000000000;
    T(mq_timedsend(q, "x", 1, 0, &ts)); ts.tv_nsec = 1000000000; T(mq_timedsend(q, "x", 1, 0, &ts)); ts.tv_nsec = 0; ts.tv_sec = -1; T(mq_timedsend(q, "x", 1, 0, &ts)); ts.tv_sec = 1; T(mq_timedsend(q, "x", 1, 0, &ts));
    T(syscall(SYS_mq_timedsend, q, "x", 1, 0, 1)); ts.tv_nsec = -1; for (int i = 0; i < 9; i++) mq_receive(q, b, sizeof b, NULL); T(mq_timedreceive(q, b, sizeof b, NULL, &ts));
    ts.tv_nsec = 5; ts.tv_sec = 5; T(mq_timedreceive(q, b, sizeof b, NULL, &ts)); T(mq_timedreceive(q, b, sizeof b, NULL, &ts));
    struct sigaction sa = {.sa_handler = on_alarm}; sigaction(SIGALRM, &sa, NULL); ualarm(30000, 0); T(mq_receive(q, b, sizeof b, NULL));
    /* one end only, another process, a name that is gone */
    T(r = mq_open("/jq", O_RDONLY | O_NONBLOCK | O_CLOEXEC)); T(fcntl(r, F_GETFD)); T(mq_send(r, "x", 1, 0)); mqd_t w; T(w = mq_open("/jq", O_WRONLY)); T(mq_receive(w, b, sizeof b, NULL)); T(read(w, b, 10));
    fflush(stdout); if (!fork()) { usleep(30000); mq_send(w, "child", 5, 7); _exit(0); } RECV(q); wait(NULL);
    for (int i = 0; i < 10; i++) mq_send(w, "f", 1, 0); fflush(stdout); if (!fork()) { usleep(30000); mq_receive(q, b, sizeof b, NULL); _exit(0); } SEND(w, "late", 9); wait(NULL); RECV(q); attributes(q);
    while (mq_receive(r, b, sizeof b, NULL) >= 0) ;
    int e = epoll_create1(0); struct epoll_event ev = {EPOLLIN}, out; T(epoll_ctl(e, EPOLL_CTL_ADD, r, &ev)); fflush(stdout); if (!fork()) { usleep(30000); mq_send(w, "p", 1, 0); _exit(0); } T(epoll_wait(e, &out, 1, 1000)); wait(NULL); RECV(r);
    /* notification */
    sa.sa_flags = SA_SIGINFO; sa.sa_sigaction = on_signal; sigaction(SIGUSR1, &sa, NULL); struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
    T(mq_notify(0, &se)); T(mq_notify(88, NULL)); se.sigev_signo = 65; T(mq_notify(q, &se)); se.sigev_signo = 0; T(mq_notify(q, &se)); T(mq_notify(q, NULL)); se.sigev_notify = 9; T(mq_notify(q, &se)); se.sigev_notify = SIGEV_SIGNAL; se.sigev_signo = SIGUSR1;
    T(mq_notify(q, &se)); T(mq_notify(q, &se)); T(pread(q, b, 100, 0)); b[44] = 0; puts(b); SEND(q, "n", 0); printf("%d %d %d\n", got_code, got_value, got_pid == getpid()); got_code = 0; SEND(q, "n", 0); printf("%d\n", got_code);
    T(mq_notify(q, &se)); SEND(q, "not empty", 0); printf("%d\n", got_code); T(mq_notify(q, NULL)); T(mq_notify(q, NULL)); se.sigev_notify = SIGEV_NONE; T(mq_notify(q, &se)); T(pread(q, b, 100, 0)); b[44] = 0; puts(b); T(mq_notify(q, NULL));
    while (mq_receive(r, b, sizeof b, NULL) >= 0) ; se.sigev_notify = SIGEV_SIGNAL; T(mq_notify(q, &se)); got_code = 0; fflush(stdout);
    if (!fork()) { T(mq_notify(q, &se)); T(mq_notify(q, NULL)); fflush(stdout); mq_send(q, "c", 1, 0); _exit(0); } while (wait(NULL) < 0 && errno == EINTR) ; printf("%d\n", got_code); RECV(q);
    fflush(stdout); T(mq_notify(q, &se)); got_code = 0; if (!fork()) { usleep(30000); mq_send(q, "c", 1, 0); _exit(0); } RECV(q); wait(NULL); printf("waiting receiver: %d\n", got_code); T(mq_notify(q, NULL));
    T(mq_unlink("/jq")); T(mq_open("/jq", O_RDWR)); SEND(q, "still", 0); RECV(r); T(mq_close(r)); T(mq_close(r)); T(mq_close(w)); T(mq_close(q)); T(mq_send(q, "x", 1, 0));
    /* limits and other users */
    struct mq_attr big = {0, 10, 8192}; struct rlimit rl = {100000, 819200}; int held = 0; setrlimit(RLIMIT_MSGQUEUE, &rl);
    for (int i = 0; i < 5; i++) { sprintf(name, "/jl%d", i); mqd_t x = mq_open(name, O_CREAT | O_RDWR, 0600, &big); printf("%d errno %d\n", x >= 0, x < 0 ? errno : 0); } for (int i = 0; i < 5; i++) { sprintf(name, "/jl%d", i); mq_unlink(name); }
    rl.rlim_cur = 819200; setrlimit(RLIMIT_MSGQUEUE, &rl);
    T(q = mq_open("/jr", O_CREAT | O_RDWR, 0640, &(struct mq_attr){0, 2, 10})); attributes(q); fflush(stdout);
    if (!fork()) { setgroups(0, NULL); setgid(1000); setuid(1000); T(mq_open("/jr", O_RDONLY)); T(mq_open("/jr", O_CREAT | O_RDWR, 0600, NULL)); T(mq_unlink("/jr")); bad = (struct mq_attr){0, 11, 10}; T(mq_open("/js", O_CREAT | O_RDWR, 0600, &bad));
        bad = (struct mq_attr){0, 10, 8193}; T(mq_open("/js", O_CREAT | O_RDWR, 0600, &bad)); T(q = mq_open("/js", O_CREAT | O_RDWR, 0600, &(struct mq_attr){0, 2, 10})); T(mq_unlink("/js")); fflush(stdout); _exit(0); }
    wait(NULL); T(mq_unlink("/jr"));
    mkdir("mq", 0755); T(mount("none", "mq", "mqueue", 0, NULL)); T(q = mq_open("/jt", O_CREAT | O_RDWR, 0600, NULL)); T(stat("mq/jt", &st)); printf("%o %ld\n", st.st_mode, (long)st.st_size); T(close(open("mq/ju", O_CREAT | O_RDWR, 0644)));
    T(r = mq_open("/ju", O_RDWR)); attributes(r); T(mkdir("mq/d", 0755)); T(symlink("a", "mq/s")); T(rename("mq/ju", "mq/jv")); T(unlink("mq/jt")); T(mq_unlink("/jt")); T(mq_unlink("/ju")); T(stat("mq", &st)); printf("%o\n", st.st_mode);
    T(umount("mq")); return 0;
}
