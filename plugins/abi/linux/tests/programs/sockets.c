#include "oracle.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
static struct sockaddr_un un(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    return a;
}
#define A(a) (struct sockaddr *)&(a), sizeof(a)
static void events(const char *label, int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    int n = poll(&p, 1, 0);
    printf("%s poll %d %x\n", label, n, p.revents);
}
static int pass(int via, int fd) {
    char c = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {&c, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    return sendmsg(via, &m, 0);
}
static int take(int via, int *flags) {
    char buf[10], control[CMSG_SPACE(sizeof(int) * 2)] = {0};
    struct iovec v = {buf, sizeof buf};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int n = recvmsg(via, &m, MSG_CMSG_CLOEXEC), fd = -1;
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (h && h->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(h), sizeof fd);
    printf("took %d bytes, control %d, flags %x\n", n, (int)m.msg_controllen, m.msg_flags & ~MSG_CMSG_CLOEXEC);
    *flags = fd >= 0 ? fcntl(fd, F_GETFD) : -1;
    return fd;
}
int main(void) {
    char buf[300]; int s[2], flags, value; socklen_t length; struct sockaddr_un a, b;
    signal(SIGPIPE, SIG_IGN);
    T(socket(AF_UNIX, 77, 0)); T(socket(AF_UNIX, SOCK_STREAM, 5)); T(socket(999, SOCK_STREAM, 0));
    T(socket(AF_UNIX, SOCK_STREAM | 0x100000, 0));
    T(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)1));
    /* streams */
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s);
    T(fcntl(s[0], F_GETFD)); T(fcntl(s[0], F_GETFL)); events("fresh", s[0]);
    T(write(s[0], "hello", 5)); T(send(s[0], " world", 6, 0)); events("filled", s[1]);
    T(ioctl(s[1], FIONREAD, &value)); printf("%d\n", value);
    T(recv(s[1], buf, 3, MSG_PEEK)); T(recv(s[1], buf, 100, 0)); show("got", buf, 11);
    T(recv(s[1], buf, 10, MSG_DONTWAIT)); T(send(s[0], "", 0, 0)); T(recv(s[1], buf, 10, MSG_DONTWAIT));
    T(recv(s[1], buf, 10, MSG_OOB | MSG_DONTWAIT) < 0);
    T(lseek(s[0], 0, 0)); T(pread(s[0], buf, 1, 0)); T(sendto(s[0], "x", 1, 0, A(a)));
    T(shutdown(s[0], SHUT_WR)); T(write(s[0], "x", 1)); T(read(s[1], buf, 10)); events("half", s[1]);
    events("half", s[0]);
    T(write(s[1], "back", 4)); T(read(s[0], buf, 10)); T(shutdown(s[0], 7)); T(shutdown(s[1], SHUT_RDWR));
    events("over", s[0]);
    T(read(s[0], buf, 10)); T(close(s[1])); T(close(s[0]));
    socketpair(AF_UNIX, SOCK_STREAM, 0, s); write(s[0], "left", 4); T(close(s[0])); events("closed", s[1]);
    T(read(s[1], buf, 2)); T(read(s[1], buf, 10)); T(read(s[1], buf, 10)); T(write(s[1], "x", 1));
    T(send(s[1], "x", 1, MSG_NOSIGNAL)); close(s[1]);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s); write(s[0], "unread", 6); T(close(s[1])); T(read(s[0], buf, 10));
    T(read(s[0], buf, 10)); close(s[0]);
    /* datagrams, packets */
    socketpair(AF_UNIX, SOCK_DGRAM, 0, s); T(write(s[0], "one", 3)); T(write(s[0], "", 0));
    T(write(s[0], "three", 5)); T(recv(s[1], buf, 2, MSG_TRUNC)); T(recv(s[1], buf, 10, 0));
    T(recv(s[1], buf, 10, 0)); T(recv(s[1], buf, 10, MSG_DONTWAIT)); events("dgram", s[0]); close(s[1]);
    T(write(s[0], "x", 1)); close(s[0]);
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s); T(write(s[0], "packet", 6)); T(write(s[0], "next", 4));
    T(read(s[1], buf, 3)); T(read(s[1], buf, 10)); close(s[0]); T(read(s[1], buf, 10)); T(write(s[1], "x", 1));
    close(s[1]);
    /* names */
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c, d;
    T(listen(l, 5)); T(accept(l, NULL, NULL)); T(read(l, buf, 1)); T(write(l, "x", 1)); events("loose", l);
    a = un("sock"); T(connect(l, A(a))); T(bind(l, A(a))); T(bind(l, A(a))); struct stat st; stat("sock", &st);
    printf("%o\n", st.st_mode & S_IFMT);
    c = socket(AF_UNIX, SOCK_STREAM, 0); T(bind(c, A(a))); T(connect(c, A(a))); T(listen(l, 5));
    events("listening", l); T(connect(c, A(a))); T(connect(c, A(a))); events("listening", l);
    T(write(c, "early", 5)); length = sizeof b; memset(&b, 0, sizeof b);
    d = accept4(l, (struct sockaddr *)&b, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    printf("accepted %d length %d family %d\n", d >= 0, (int)length, b.sun_family);
    T(fcntl(d, F_GETFL)); T(read(d, buf, 10)); T(read(d, buf, 10)); T(accept4(l, NULL, NULL, 5));
    length = sizeof b; T(getsockname(d, (struct sockaddr *)&b, &length));
    printf("%d %s\n", (int)length, b.sun_path); length = sizeof b;
    T(getpeername(c, (struct sockaddr *)&b, &length)); printf("%d %s\n", (int)length, b.sun_path); length = 4;
    T(getsockname(l, (struct sockaddr *)&b, &length)); printf("%d\n", (int)length); length = sizeof b;
    T(getpeername(l, (struct sockaddr *)&b, &length));
    struct { int pid, uid, gid; } cred; length = sizeof cred;
    T(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &cred, &length));
    printf("%d %d %d\n", cred.pid == getpid(), cred.uid, (int)length);
    T(unlink("sock")); T(connect(socket(AF_UNIX, SOCK_STREAM, 0), A(a))); close(make("plain", ""));
    a = un("plain"); T(connect(socket(AF_UNIX, SOCK_STREAM, 0), A(a)));
    T(bind(socket(AF_UNIX, SOCK_STREAM, 0), A(a))); T(close(l)); T(write(c, "still", 5)); T(read(d, buf, 10));
    close(c); close(d);
    memset(&a, 0, sizeof a); a.sun_family = AF_UNIX; memcpy(a.sun_path, "\0abstract", 9);
    l = socket(AF_UNIX, SOCK_DGRAM, 0); T(bind(l, (struct sockaddr *)&a, 11));
    T(bind(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&a, 11)); c = socket(AF_UNIX, SOCK_DGRAM, 0);
    T(sendto(c, "dg", 2, 0, (struct sockaddr *)&a, 11)); T(sendto(c, "dg", 2, 0, (struct sockaddr *)&a, 10));
    T(send(c, "x", 1, 0)); length = sizeof b; T(recvfrom(l, buf, 10, 0, (struct sockaddr *)&b, &length));
    printf("%d\n", (int)length); T(connect(c, (struct sockaddr *)&a, 11)); T(send(c, "yy", 2, 0));
    T(recv(l, buf, 10, 0)); T(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, 11));
    T(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, 2)); T(bind(c, (struct sockaddr *)&a, 1));
    T(bind(c, (struct sockaddr *)&a, 200)); a.sun_family = 7; T(bind(c, (struct sockaddr *)&a, 11));
    T(close(l)); T(send(c, "z", 1, 0));
    /* options */
    socketpair(AF_UNIX, SOCK_STREAM, 0, s); length = 4;
    T(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &value, &length)); printf("%d\n", value);
    T(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &value, &length)); printf("%d\n", value);
    T(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &value, &length)); printf("%d\n", value);
    T(getsockopt(s[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &length)); printf("%d\n", value);
    T(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, &length));
    T(getsockopt(s[0], SOL_SOCKET, 9999, &value, &length)); T(setsockopt(s[0], SOL_SOCKET, 9999, &value, 4));
    value = 1; T(setsockopt(s[0], SOL_SOCKET, SO_REUSEADDR, &value, 4));
    T(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &value, 2)); T(setsockopt(s[0], 6, 1, &value, 4));
    struct timeval tv = {0, 30000}; T(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    T(read(s[0], buf, 1));
    T(bind(0x7777, A(a))); T(listen(open(".", O_RDONLY), 1)); T(getsockname(77, NULL, NULL));
    /* passing files */
    int file = make("passed", "content"); T(pass(s[0], file)); T(pass(s[0], 777)); close(file);
    file = take(s[1], &flags); printf("passed %d flags %d\n", file >= 0, flags); T(pread(file, buf, 20, 0));
    T(pass(s[0], file)); T(read(s[1], buf, 10)); T(pass(s[0], file)); T(write(s[0], "more", 4));
    file = take(s[1], &flags); T(read(s[1], buf, 10));
    /* blocking */
    fflush(stdout); if (!fork()) { usleep(30000); write(s[0], "late", 4); _exit(0); } T(read(s[1], buf, 10));
    wait(NULL);
    fcntl(s[0], F_SETFL, O_NONBLOCK); memset(buf, 0, sizeof buf); long total = 0, n;
    while ((n = write(s[0], buf, sizeof buf)) > 0) total += n;
    printf("full errno %d enough %d\n", errno, total > 30000); events("full", s[0]); fcntl(s[0], F_SETFL, 0);
    fflush(stdout);
    if (!fork()) { while (total > 0 && (n = read(s[1], buf, sizeof buf)) > 0) total -= n; _exit(total != 0); } T(write(s[0], "", 0));
    int status; wait(&status); printf("drained %x\n", status);
    return 0;
}
