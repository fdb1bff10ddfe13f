#include "oracle.h"
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
int main(void) {
    char buf[8192]; int p[2], fd = make("a", "content"), n;
    T(fcntl(fd, F_GETFL)); T(fcntl(fd, F_GETFD)); T(fcntl(fd, F_SETFD, FD_CLOEXEC)); T(fcntl(fd, F_GETFD));
    T(fcntl(fd, F_SETFD, 0)); T(fcntl(fd, F_SETFL, O_APPEND|O_NONBLOCK)); T(fcntl(fd, F_GETFL));
    T(fcntl(fd, F_SETFL, 0)); T(fcntl(fd, F_GETFL));
    T(fcntl(77, F_GETFL)); T(fcntl(fd, 9999)); T(fcntl(fd, F_DUPFD, 20)); T(fcntl(fd, F_DUPFD_CLOEXEC, 20));
    T(fcntl(21, F_GETFD)); T(fcntl(fd, F_DUPFD, -1)); T(fcntl(fd, F_DUPFD, 100000000));
    T(dup(fd)); T(dup(77)); T(dup2(fd, 30)); T(dup2(fd, fd)); T(dup2(77, 31)); T(dup2(77, 77)); T(dup2(fd, -1));
    T(dup2(fd, 100000000)); T(dup3(fd, 31, O_CLOEXEC)); T(fcntl(31, F_GETFD)); T(dup3(fd, fd, 0));
    T(dup3(fd, 32, 1));
    T(lseek(30, 3, SEEK_SET)); T(lseek(fd, 0, SEEK_CUR));
    T(close(30)); T(close(30)); T(syscall(SYS_close_range, 20, 31, 0)); T(fcntl(20, F_GETFD));
    T(syscall(SYS_close_range, 5, 3, 0)); T(syscall(SYS_close_range, 3, 3, 99));
    T(syscall(SYS_close_range, 3, ~0U, 4)); T(fcntl(fd, F_GETFD));
    T(pipe2(p, O_CLOEXEC|O_NONBLOCK)); T(fcntl(p[0], F_GETFL)); T(fcntl(p[1], F_GETFL));
    T(fcntl(p[0], F_GETFD)); T(pipe2(p, 1)); T(pipe((int *)1));
    T(read(p[0], buf, 10)); T(write(p[1], "abc", 3)); T(read(p[0], buf, 10)); T(lseek(p[0], 0, SEEK_SET));
    T(pread(p[0], buf, 1, 0)); T(write(p[0], "x", 1)); T(read(p[1], buf, 1)); T(ftruncate(p[1], 0));
    T(fsync(p[1]));
    T(fcntl(p[0], F_GETPIPE_SZ)); T(fcntl(p[0], F_SETPIPE_SZ, 5000)); T(fcntl(p[0], F_SETPIPE_SZ, 0));
    T(fcntl(p[1], F_GETPIPE_SZ)); T(fcntl(fd, F_GETPIPE_SZ)); T(fcntl(p[0], F_SETPIPE_SZ, 65536));
    memset(buf, 'x', sizeof buf);
    for (n = 0; write(p[1], buf, sizeof buf) > 0; n++);
    printf("filled %d errno %d\n", n, errno);
    T(write(p[1], buf, 1));
    T(read(p[0], buf, 4096)); T(write(p[1], buf, 8192)); T(read(p[0], buf, 8192)); T(write(p[1], buf, 4096));
    struct stat st; T(fstat(p[0], &st));
    printf("mode %o nlink %d size %ld blksize %ld\n", st.st_mode, (int)st.st_nlink, (long)st.st_size, (long)st.st_blksize);
    signal(SIGPIPE, SIG_IGN); T(close(p[0])); T(write(p[1], "x", 1)); T(write(p[1], "x", 0)); T(close(p[1]));
    T(pipe(p)); T(write(p[1], "tail", 4)); T(close(p[1])); T(read(p[0], buf, 10)); T(read(p[0], buf, 10));
    T(close(p[0]));
    if (!fork()) { signal(SIGPIPE, SIG_DFL); pipe(p); close(p[0]); write(p[1], "x", 1); _exit(0); } int status;
    wait(&status); printf("status %x\n", status);
    /* owner, signals */
    T(fcntl(fd, F_GETOWN)); T(fcntl(fd, F_SETOWN, 0)); T(fcntl(fd, F_GETSIG)); T(fcntl(fd, F_SETSIG, 10));
    T(fcntl(fd, F_GETSIG)); T(fcntl(fd, F_SETSIG, 100)); T(fcntl(fd, F_GETLEASE));
    /* record locks */
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    T(fcntl(fd, F_SETLK, &l)); l.l_type = F_RDLCK; T(fcntl(fd, F_GETLK, &l)); printf("type %d\n", l.l_type);
    l = (struct flock){.l_type = F_UNLCK, .l_start = 12, .l_len = 3}; T(fcntl(fd, F_SETLK, &l)); fflush(stdout);
    pid_t me = getpid();
    if (!fork()) {
        int f2 = open("a", O_RDWR);
        for (int s = 9; s < 21; s++) { l = (struct flock){.l_type = F_RDLCK, .l_start = s, .l_len = 1}; T(fcntl(f2, F_GETLK, &l)); printf("%d: type %d start %ld len %ld mine %d\n", s, l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid == me); }
        l = (struct flock){.l_type = F_WRLCK, .l_start = 0, .l_len = 0}; T(fcntl(f2, F_SETLK, &l)); l.l_len = 5;
        T(fcntl(f2, F_SETLK, &l)); l.l_start = -1; T(fcntl(f2, F_SETLK, &l)); l.l_whence = 9;
        T(fcntl(f2, F_SETLK, &l)); l.l_type = 7; T(fcntl(f2, F_SETLK, &l)); T(fcntl(f2, F_SETLK, (void *)1));
        int ro = open("a", O_RDONLY); l = (struct flock){.l_type = F_WRLCK}; T(fcntl(ro, F_SETLK, &l));
        l = (struct flock){.l_type = F_WRLCK, .l_start = 30, .l_pid = 5}; T(fcntl(f2, F_OFD_SETLK, &l));
        l.l_pid = 0; T(fcntl(f2, F_OFD_SETLK, &l)); l = (struct flock){.l_type = F_WRLCK, .l_start = 30};
        T(fcntl(ro, F_OFD_GETLK, &l)); printf("%d %d\n", l.l_type, l.l_pid);
        fflush(stdout); _exit(0); }
    wait(NULL);
    /* flock */
    int g = open("a", O_RDONLY); T(flock(fd, LOCK_EX)); T(flock(g, LOCK_EX|LOCK_NB));
    T(flock(g, LOCK_SH|LOCK_NB)); T(flock(fd, LOCK_SH)); T(flock(g, LOCK_SH|LOCK_NB)); T(flock(fd, LOCK_UN));
    T(flock(g, LOCK_EX|LOCK_NB)); T(flock(fd, 16)); T(flock(fd, LOCK_MAND|1)); T(flock(77, LOCK_EX)); T(close(g));
    /* waiting lock */
    l = (struct flock){.l_type = F_WRLCK, .l_start = 0, .l_len = 1}; T(fcntl(fd, F_SETLK, &l)); fflush(stdout);
    if (!fork()) { int f2 = open("a", O_RDWR); l = (struct flock){.l_type = F_WRLCK, .l_len = 1}; T(fcntl(f2, F_SETLKW, &l)); fflush(stdout); _exit(0); }
    usleep(50000); printf("unlocking\n"); fflush(stdout); l.l_type = F_UNLCK; T(fcntl(fd, F_SETLK, &l));
    wait(NULL);
    /* memfd */
    int m = memfd_create("name", MFD_ALLOW_SEALING|MFD_CLOEXEC); T(fcntl(m, F_GETFD)); T(fcntl(m, F_GET_SEALS));
    T(write(m, "0123456789", 10)); T(fcntl(m, F_ADD_SEALS, F_SEAL_GROW|F_SEAL_SHRINK)); T(write(m, "x", 1));
    T(ftruncate(m, 5)); T(ftruncate(m, 50)); T(pwrite(m, "ab", 2, 0)); T(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
    T(pwrite(m, "ab", 2, 0)); T(fcntl(m, F_GET_SEALS)); T(fcntl(m, F_ADD_SEALS, F_SEAL_SEAL));
    T(fcntl(m, F_ADD_SEALS, 1)); T(fcntl(fd, F_GET_SEALS)); T(fstat(m, &st));
    printf("%o %d %ld\n", st.st_mode, (int)st.st_nlink, (long)st.st_size);
    T(syscall(SYS_memfd_create, "x", 0x100));
    snprintf(buf, sizeof buf, "/proc/self/fd/%d", m); n = readlink(buf, buf + 100, 200);
    show("link", buf + 100, n > 0 ? n : 0);
    struct rlimit r = {8, 4096}; T(setrlimit(RLIMIT_NOFILE, &r)); T(open("a", O_RDONLY));
    T(open("a", O_RDONLY)); T(open("a", O_RDONLY)); T(open("a", O_RDONLY)); T(pipe(p)); T(dup(fd));
    T(dup2(fd, 8)); T(dup2(fd, 7));
    fflush(stdout);
    r = (struct rlimit){10, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    int limited[6];
    limited[0] = setrlimit(RLIMIT_FSIZE, &r);
    limited[1] = pwrite(fd, "0123456789abc", 13, 5);
    limited[2] = pwrite(fd, "x", 1, 10);
    limited[3] = errno;
    limited[4] = ftruncate(fd, 11);
    limited[5] = ftruncate(fd, 9);
    r.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &r);
    for (n = 0; n < 6; n++) printf("limited %d\n", limited[n]);
    return 0;
}
