#include "oracle.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
static aio_context_t c;
static struct io_event ev[20];
static long submit(int n, struct iocb **l) { return syscall(SYS_io_submit, c, n, l); }
static long get(long least, long most, struct timespec *t) {
    memset(ev, 0x55, sizeof ev); long n = syscall(SYS_io_getevents, c, least, most, ev, t);
    for (int i = 0; i < n; i++) printf("  event data %llx res %lld %lld\n", (long long)ev[i].data, (long long)ev[i].res, (long long)ev[i].res2);
    return n;
}
static struct iocb request(int op, int fd, void *buf, long n, long off, long data) {
    struct iocb r = {.aio_lio_opcode = op, .aio_fildes = fd, .aio_buf = (long)buf, .aio_nbytes = n, .aio_offset = off, .aio_data = data, .aio_key = 99}; return r;
}
static void one(const char *what, struct iocb r) {
    struct iocb *l[1] = {&r}; errno = 0; long n = submit(1, l); printf("%s: %ld errno %d key %d\n", what, n, n < 0 ? errno : 0, r.aio_key); struct timespec s = {1, 0}; if (n > 0) get(1, 5, &s);
}
int main(void) {
    char b[100] = "", d[200]; struct timespec z = {0, 0}, some = {0, 20000000}, wrong = {0, 1000000000};
    T(syscall(SYS_io_setup, 0, &c)); T(syscall(SYS_io_setup, 4, NULL)); c = 5; T(syscall(SYS_io_setup, 4, &c)); c = 0; T(syscall(SYS_io_setup, 0x7fffffff, &c)); T(syscall(SYS_io_setup, 4, &c)); printf("%d\n", c != 0);
    aio_context_t good = c; c = 7; T(get(0, 1, &z)); T(submit(0, NULL)); T(syscall(SYS_io_destroy, c)); c = good;
    T(get(0, 1, &z)); T(get(1, 1, &some)); T(get(2, 1, &z)); T(get(-1, 1, &z)); T(get(0, -1, &z)); T(get(0, 1, &wrong)); T(submit(-1, NULL)); T(submit(0, NULL)); T(submit(1, NULL)); struct iocb *l[8] = {(void *)1}; T(submit(1, l));
    int fd = make("f", "0123456789"), ro = open("f", O_RDONLY), wo = open("f", O_WRONLY), p[2], dir = open(".", O_RDONLY); pipe(p);
    one("read", request(IOCB_CMD_PREAD, fd, b, 4, 2, 0x11)); puts(b); one("write", request(IOCB_CMD_PWRITE, fd, "abc", 3, 1, 0x22)); pread(fd, b, 10, 0); puts(b);
    one("past the end", request(IOCB_CMD_PREAD, fd, b, 4, 100, 1)); one("no file", request(IOCB_CMD_PREAD, 99, b, 4, 0, 1)); one("write read-only", request(IOCB_CMD_PWRITE, ro, b, 4, 0, 1)); one("read write-only", request(IOCB_CMD_PREAD, wo, b, 4, 0, 1));
    one("negative offset", request(IOCB_CMD_PREAD, fd, b, 4, -1, 1)); one("bad buffer", request(IOCB_CMD_PREAD, fd, (void *)16, 4, 0, 1)); one("bad operation", request(IOCB_CMD_NOOP, fd, b, 4, 0, 1)); one("worse operation", request(77, fd, b, 4, 0, 1)); one("directory", request(IOCB_CMD_PREAD, dir, b, 4, 0, 1));
    one("fsync", request(IOCB_CMD_FSYNC, fd, NULL, 0, 0, 3)); one("fdsync", request(IOCB_CMD_FDSYNC, fd, NULL, 0, 0, 3)); one("fsync with offset", request(IOCB_CMD_FSYNC, fd, NULL, 0, 1, 3)); one("fsync pipe", request(IOCB_CMD_FSYNC, p[1], NULL, 0, 0, 3)); one("huge", request(IOCB_CMD_PREAD, fd, b, -1, 0, 3));
    struct iovec v[2] = {{d, 3}, {d + 50, 5}}; one("readv", request(IOCB_CMD_PREADV, fd, v, 2, 0, 4)); show("v", d, 3); show("v", d + 50, 5); one("writev", request(IOCB_CMD_PWRITEV, fd, v, 2, 20, 4)); one("bad vector", request(IOCB_CMD_PREADV, fd, v, 2000, 0, 4));
    one("pipe write", request(IOCB_CMD_PWRITE, p[1], "pipe", 4, 0, 5)); one("pipe read", request(IOCB_CMD_PREAD, p[0], b, 10, 0, 5)); show("pipe", b, 4);
    struct iocb r = request(IOCB_CMD_PREAD, fd, b, 1, 0, 6); r.aio_reserved2 = 1; one("reserved", r); r.aio_reserved2 = 0; r.aio_flags = 8; one("flags", r); r.aio_flags = IOCB_FLAG_RESFD; r.aio_resfd = fd; one("no eventfd", r); r.aio_resfd = 99; one("no descriptor", r); int e = eventfd(0, EFD_NONBLOCK); r.aio_resfd = e; one("eventfd", r); uint64_t n; T(read(e, &n, 8)); printf("%llu\n", (unsigned long long)n);
    struct iocb many[8]; for (int i = 0; i < 8; i++) many[i] = request(IOCB_CMD_PREAD, i == 3 ? 99 : fd, b, 1, i, 100 + i), l[i] = &many[i];
    T(submit(3, l)); T(get(1, 2, NULL)); T(get(1, 5, NULL)); T(submit(6, l)); T(get(0, 10, &z)); T(submit(3, l + 3)); T(submit(2, l)); T(get(4, 10, &some));
    T(syscall(SYS_io_getevents, c, 0, 5, (void *)16, &z)); T(submit(1, l)); T(syscall(SYS_io_getevents, c, 1, 5, (void *)16, &z)); T(syscall(SYS_io_cancel, c, l[0], ev)); T(syscall(SYS_io_cancel, c, 0, ev)); T(syscall(SYS_io_cancel, 5, l[0], ev));
    T(get(0, 10, &z)); sigset_t m; sigemptyset(&m); struct { sigset_t *s; size_t n; } sm = {&m, 8}; T(syscall(SYS_io_pgetevents, c, 0, 5, ev, &z, &sm)); sm.n = 5; T(syscall(SYS_io_pgetevents, c, 0, 5, ev, &z, &sm)); T(syscall(SYS_io_pgetevents, c, 1, 5, ev, &some, NULL));
    fflush(stdout); if (!fork()) { T(get(0, 1, &z)); T(submit(0, NULL)); fflush(stdout); _exit(0); } wait(NULL);
    T(syscall(SYS_io_destroy, c)); T(syscall(SYS_io_destroy, c)); T(get(0, 1, &z)); return 0;
}
