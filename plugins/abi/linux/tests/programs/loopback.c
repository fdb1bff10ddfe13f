/* What one end of a TCP connection inside of the system does, the other end sees at once: no waiting in here. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define T(call) do { errno = 0; long r_ = (call); printf("%s: %ld %s\n", #call, r_, r_ < 0 ? strerror(errno) : ""); } while (0)
static struct sockaddr_in name; static socklen_t length; static char b[100];
static int server(void) { int l = socket(AF_INET, SOCK_STREAM, 0); name = (struct sockaddr_in){AF_INET, 0, {htonl(INADDR_LOOPBACK)}}; length = sizeof name; bind(l, (void *)&name, length); getsockname(l, (void *)&name, &length); listen(l, 5); return l; }
static void peek(int s) { struct pollfd p = {s, POLLIN | POLLOUT | POLLRDHUP}; poll(&p, 1, 0); struct tcp_info info; length = sizeof info; getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &length); printf("poll %x state %d\n", p.revents, info.tcpi_state); }

int main(void) {
    for (int data = 0; data < 2; data++) for (int first = 0; first < 4; first++) {
        printf("-- reset, data %d first %d\n", data, first); int l = server(), c = socket(AF_INET, SOCK_STREAM, 0); T(connect(c, (void *)&name, sizeof name)); int s = accept4(l, 0, 0, SOCK_NONBLOCK);
        struct linger none = {1, 0}; setsockopt(c, SOL_SOCKET, SO_LINGER, &none, sizeof none); if (data) send(c, "hello", 5, 0); close(c); peek(s);
        if (first == 1) T(send(s, "x", 1, MSG_NOSIGNAL)); if (first == 2) { int e; socklen_t z = 4; getsockopt(s, SOL_SOCKET, SO_ERROR, &e, &z); printf("error %s\n", strerror(e)); } if (first == 3) T(shutdown(s, SHUT_WR));
        length = sizeof name; T(getpeername(s, (void *)&name, &length)); T(getsockname(s, (void *)&name, &length));
        T(recv(s, b, 2, 0)); T(recv(s, b, 100, 0)); T(recv(s, b, 100, 0)); T(recv(s, b, 100, 0)); T(send(s, "x", 1, MSG_NOSIGNAL)); T(send(s, "x", 1, MSG_NOSIGNAL)); T(shutdown(s, SHUT_WR)); peek(s); close(s); close(l);
    }
    printf("-- in order\n"); int l = server(), c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); T(connect(c, (void *)&name, sizeof name)); peek(c); int s = accept4(l, 0, 0, SOCK_NONBLOCK); T(connect(c, (void *)&name, sizeof name)); T(connect(c, (void *)&name, sizeof name));
    T(send(c, "hello", 5, 0)); T(recv(s, b, 2, 0)); T(send(s, "answer", 6, 0)); T(recv(c, b, 100, 0)); T(recv(c, b, 100, 0)); T(shutdown(c, SHUT_WR)); peek(s); T(recv(s, b, 100, 0)); T(recv(s, b, 100, 0)); T(getpeername(s, (void *)&name, &length)); T(shutdown(s, SHUT_WR)); T(getpeername(s, (void *)&name, &length)); T(getpeername(c, (void *)&name, &length)); peek(c); peek(s); T(recv(c, b, 9, 0)); T(send(s, b, 1, MSG_NOSIGNAL)); T(shutdown(s, SHUT_RD));
    printf("-- nobody listens\n"); struct sockaddr_in nobody = {AF_INET, htons(1), {htonl(INADDR_LOOPBACK)}};
    for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) { s = socket(AF_INET, SOCK_STREAM | flags, 0); T(connect(s, (void *)&nobody, sizeof nobody)); peek(s); T(connect(s, (void *)&nobody, sizeof nobody)); T(getpeername(s, (void *)&name, &length)); T(recv(s, b, 9, 0)); T(send(s, b, 1, MSG_NOSIGNAL)); T(shutdown(s, SHUT_WR)); peek(s); T(listen(s, 1)); close(s); }
    printf("-- datagrams\n"); int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0); name.sin_port = 0; T(bind(v, (void *)&name, sizeof name)); length = sizeof name; getsockname(v, (void *)&name, &length); T(connect(u, (void *)&name, sizeof name)); T(send(u, "x", 1, 0)); T(recv(v, b, 9, 0)); T(recv(v, b, 9, 0)); close(v); T(send(u, "x", 1, 0)); T(send(u, "x", 1, 0)); T(send(u, "x", 1, 0));
    return 0;
}
