/* Calls whose trace is the same on every Linux: what test_trace.py compares with strace. */
#include "oracle.h"
int main(void) {
    char buf[200]; int p[2]; struct stat st; struct pollfd f;
    mkdir("d", 0750);
    mkdir("d", 0750);
    int fd = open("d/file", O_CREAT|O_RDWR|O_CLOEXEC, 0644);
    write(fd, "a \"quoted\"\tline\nand \001binary\3771, longer than 32", 50);
    lseek(fd, 0, SEEK_SET);
    read(fd, buf, 10);
    read(fd, buf, 100);
    read(fd, buf, 100);
    pread(fd, buf, 5, 3);
    lseek(fd, -3, SEEK_END);
    open("d/missing", O_RDONLY);
    open("d", O_WRONLY|O_DIRECTORY|O_NONBLOCK);
    fstat(fd, &st);
    stat("d", &st);
    stat("nothing", &st);
    fstatat(AT_FDCWD, "/dev/null", &st, 0);
    access("d/file", R_OK|W_OK);
    access("d/file", F_OK);
    symlink("target", "link");
    readlink("link", buf, sizeof buf);
    dup2(fd, 20);
    fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_DUPFD, 30);
    ioctl(fd, 0x5401, buf);
    pipe(p);
    pipe2(p, O_CLOEXEC);
    f = (struct pollfd){p[0], POLLIN|POLLPRI, 0};
    poll(&f, 1, 0);
    chmod("d", 01777);
    rename("d/file", "moved");
    unlinkat(AT_FDCWD, "d", AT_REMOVEDIR);
    unlink("moved");
    close(fd);
    close(99);
    kill(getpid(), 0);
    chdir("/");
    getcwd(buf, sizeof buf);
    _exit(3);
}
