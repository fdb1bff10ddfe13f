/* <sys/socket.h>, <netdb.h>, <arpa/inet.h>, <net/if.h>, <netinet/in.h> */
#include "probe.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static char space[256];
static struct sockaddr_un unix_address = {AF_UNIX, "socket"};
#define ADDRESS (struct sockaddr *)&unix_address, sizeof unix_address
static int pair[2];
static void make_pair(int type) { if (socketpair(AF_UNIX, type, 0, pair)) printf("socketpair: errno %d\n", errno); }
static int listener(void) { int s = socket(AF_UNIX, SOCK_STREAM, 0); bind(s, ADDRESS); listen(s, 5); return s; }
static int client(void) { int s = socket(AF_UNIX, SOCK_STREAM, 0); connect(s, ADDRESS); return s; }
static int inet_socket(void) { struct sockaddr_in a = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}}; int s = socket(AF_INET, SOCK_STREAM, 0); if (s < 0) { printf("AF_INET: errno %d\n", errno); exit(1); } bind(s, (struct sockaddr *)&a, sizeof a); listen(s, 5); return s; }

PROBE(socket) { INT(socket(AF_UNIX, SOCK_STREAM, 0) >= 0); INT(fcntl(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), F_GETFD)); INT(socket(AF_UNIX, SOCK_SEQPACKET, 0) >= 0); CALL(socket(AF_UNIX, 77, 0)); CALL(socket(777, SOCK_STREAM, 0)); CALL(socket(AF_UNIX, SOCK_STREAM, 99)); INT(socket(AF_INET, SOCK_STREAM, 0) >= 0); }
PROBE(socketpair) { CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)); write(pair[0], "over", 4); INT(read(pair[1], space, 99)); CALL(socketpair(AF_INET, SOCK_STREAM, 0, pair)); CALL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair)); }
PROBE(bind) { int s = socket(AF_UNIX, SOCK_STREAM, 0); CALL(bind(s, ADDRESS)); CALL(bind(s, ADDRESS)); CALL(bind(socket(AF_UNIX, SOCK_DGRAM, 0), ADDRESS)); strcpy(unix_address.sun_path, "no/where"); CALL(bind(socket(AF_UNIX, SOCK_DGRAM, 0), ADDRESS)); CALL(bind(0, ADDRESS)); CALL(bind(99, ADDRESS)); }
PROBE(listen) { int s = socket(AF_UNIX, SOCK_STREAM, 0); CALL(listen(s, 5)); bind(s, ADDRESS); CALL(listen(s, 5)); CALL(listen(socket(AF_UNIX, SOCK_DGRAM, 0), 5)); CALL(listen(0, 5)); }
PROBE(connect) { int s = socket(AF_UNIX, SOCK_STREAM, 0); CALL(connect(s, ADDRESS)); int l = listener(); CALL(connect(s, ADDRESS)); CALL(connect(s, ADDRESS)); close(l); CALL(connect(socket(AF_UNIX, SOCK_STREAM, 0), ADDRESS)); CALL(connect(socket(AF_UNIX, SOCK_DGRAM, 0), ADDRESS)); }
PROBE(accept) { int l = listener(), c = client(); struct sockaddr_un a; socklen_t n = sizeof a; int s = accept(l, (struct sockaddr *)&a, &n); INT(s >= 0); INT(n); write(c, "hi", 2); INT(read(s, space, 99)); fcntl(l, F_SETFL, O_NONBLOCK); CALL(accept(l, NULL, NULL)); CALL(accept(c, NULL, NULL)); CALL(accept(0, NULL, NULL)); }
PROBE(accept4) { int l = listener(); client(); int s = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); INT(fcntl(s, F_GETFD)); INT(!!(fcntl(s, F_GETFL) & O_NONBLOCK)); CALL(accept4(l, NULL, NULL, 77)); }
PROBE(getpeername) { struct sockaddr_un a = {0}; socklen_t n = sizeof a; listener(); int c = client(); CALL(getpeername(c, (struct sockaddr *)&a, &n)); TEXT(a.sun_path); INT(n); CALL(getpeername(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, &n)); }
PROBE(getsockname) { struct sockaddr_un a = {0}; socklen_t n = sizeof a; int l = listener(); CALL(getsockname(l, (struct sockaddr *)&a, &n)); TEXT(a.sun_path); n = sizeof a; getsockname(client(), (struct sockaddr *)&a, &n); INT(n); CALL(getsockname(0, (struct sockaddr *)&a, &n)); }
PROBE(getsockopt) { int v = -1; socklen_t n = sizeof v; make_pair(SOCK_SEQPACKET); CALL(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &v, &n)); INT(v == SOCK_SEQPACKET); CALL(getsockopt(pair[0], SOL_SOCKET, SO_ERROR, &v, &n)); INT(v); getsockopt(listener(), SOL_SOCKET, SO_ACCEPTCONN, &v, &n); INT(v); CALL(getsockopt(pair[0], SOL_SOCKET, 9999, &v, &n)); CALL(getsockopt(0, SOL_SOCKET, SO_TYPE, &v, &n)); }
PROBE(setsockopt) { struct timeval t = {0, 20000}; int one = 1; make_pair(SOCK_STREAM); CALL(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t)); CALL(read(pair[0], space, 1)); CALL(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof one)); CALL(setsockopt(pair[0], SOL_SOCKET, SO_REUSEADDR, &one, 1)); CALL(setsockopt(pair[0], SOL_SOCKET, 9999, &one, sizeof one)); CALL(setsockopt(pair[0], 9999, 1, &one, sizeof one)); }
PROBE(send) { make_pair(SOCK_STREAM); CALL(send(pair[0], "stream", 6, 0)); INT(recv(pair[1], space, 99, 0)); close(pair[1]); CALL(send(pair[0], "x", 1, MSG_NOSIGNAL)); CALL(send(0, "x", 1, 0)); CALL(send(socket(AF_UNIX, SOCK_STREAM, 0), "x", 1, MSG_NOSIGNAL)); }
PROBE(recv) { make_pair(SOCK_DGRAM); send(pair[0], "datagram", 8, 0); INT(recv(pair[1], space, 4, MSG_PEEK)); INT(recv(pair[1], space, 4, MSG_TRUNC)); CALL(recv(pair[1], space, 4, MSG_DONTWAIT)); make_pair(SOCK_STREAM); send(pair[0], "ab", 2, 0); close(pair[0]); INT(recv(pair[1], space, 9, MSG_WAITALL)); INT(recv(pair[1], space, 9, 0)); }
PROBE(sendto) { int s = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0); bind(s, ADDRESS); CALL(sendto(c, "to", 2, 0, ADDRESS)); INT(recv(s, space, 9, 0)); CALL(sendto(c, "x", 1, 0, NULL, 0)); make_pair(SOCK_STREAM); CALL(sendto(pair[0], "x", 1, 0, ADDRESS)); strcpy(unix_address.sun_path, "none"); CALL(sendto(c, "x", 1, 0, ADDRESS)); }
PROBE(recvfrom) { struct sockaddr_un from = {0}; socklen_t n = sizeof from; int s = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0); bind(s, ADDRESS); connect(c, ADDRESS); strcpy(unix_address.sun_path, "client"); bind(c, ADDRESS); send(c, "named", 5, 0); CALL(recvfrom(s, space, 99, 0, (struct sockaddr *)&from, &n)); TEXT(from.sun_path); INT(n); }
PROBE(sendmsg) { struct iovec v[2] = {{"two ", 4}, {"parts", 5}}; struct msghdr m = {.msg_iov = v, .msg_iovlen = 2}; make_pair(SOCK_STREAM); CALL(sendmsg(pair[0], &m, 0)); INT(recv(pair[1], space, 99, 0)); TEXT(space); m.msg_iovlen = 99999; CALL(sendmsg(pair[0], &m, 0)); }
PROBE(recvmsg) { char control[CMSG_SPACE(sizeof(int))] = {0}; struct iovec v = {"fd", 2}; struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control}; struct cmsghdr *c = CMSG_FIRSTHDR(&m); c->cmsg_level = SOL_SOCKET; c->cmsg_type = SCM_RIGHTS; c->cmsg_len = CMSG_LEN(sizeof(int)); make_file("f", "passed"); *(int *)CMSG_DATA(c) = open("f", O_RDONLY); make_pair(SOCK_STREAM); CALL(sendmsg(pair[0], &m, 0)); v.iov_base = space; CALL(recvmsg(pair[1], &m, MSG_CMSG_CLOEXEC)); int f = *(int *)CMSG_DATA(CMSG_FIRSTHDR(&m)); INT(fcntl(f, F_GETFD)); INT(read(f, space, 99)); TEXT(space); INT(m.msg_flags & ~MSG_CMSG_CLOEXEC); }
PROBE(shutdown) { make_pair(SOCK_STREAM); CALL(shutdown(pair[0], SHUT_WR)); INT(read(pair[1], space, 1)); signal(SIGPIPE, SIG_IGN); CALL(write(pair[0], "x", 1)); INT(write(pair[1], "back", 4)); INT(read(pair[0], space, 9)); CALL(shutdown(pair[0], 77)); CALL(shutdown(0, SHUT_RD)); CALL(shutdown(socket(AF_UNIX, SOCK_STREAM, 0), SHUT_RD)); int l = listener(); CALL(shutdown(l, SHUT_RD)); CALL(accept(l, NULL, NULL)); CALL(connect(socket(AF_UNIX, SOCK_STREAM, 0), ADDRESS)); }
PROBE(sockatmark) { int s = inet_socket(); CALL(sockatmark(s)); CALL(sockatmark(99)); }

PROBE(htonl) { printf("%x\n", htonl(0x12345678)); }
PROBE(htons) { printf("%x\n", htons(0x1234)); }
PROBE(ntohl) { printf("%x\n", ntohl(0x12345678)); INT(ntohl(htonl(99))); }
PROBE(ntohs) { printf("%x\n", ntohs(0x1234)); INT(ntohs(htons(99))); }
PROBE(inet_addr) { printf("%x\n", ntohl(inet_addr("10.1.2.3"))); printf("%x\n", inet_addr("300.1.1.1")); printf("%x\n", ntohl(inet_addr("0x7f.1"))); }
PROBE(inet_ntoa) { TEXT(inet_ntoa((struct in_addr){htonl(0xc0a80001)})); }
PROBE(inet_ntop) { struct in6_addr a = {{{0x20, 1, 0xd, 0xb8, [15] = 1}}}; TEXT(inet_ntop(AF_INET6, &a, space, 99)); INT(inet_ntop(AF_INET6, &a, space, 3) == NULL); INT(errno); INT(inet_ntop(99, &a, space, 99) == NULL); INT(errno); }
PROBE(inet_pton) { struct in6_addr a; INT(inet_pton(AF_INET6, "::ffff:1.2.3.4", &a)); INT(a.s6_addr[12]); INT(inet_pton(AF_INET, "1.2.3", &a)); CALL(inet_pton(99, "x", &a)); }
PROBE(in6addr_any) { TEXT(inet_ntop(AF_INET6, &in6addr_any, space, 99)); INT(IN6_IS_ADDR_UNSPECIFIED(&in6addr_any)); }
PROBE(in6addr_loopback) { TEXT(inet_ntop(AF_INET6, &in6addr_loopback, space, 99)); INT(IN6_IS_ADDR_LOOPBACK(&in6addr_loopback)); }
PROBE(if_nametoindex) { INT(if_nametoindex("lo")); INT(if_nametoindex("nonsense9")); INT(errno); }
PROBE(if_indextoname) { TEXT(if_indextoname(1, space)); INT(if_indextoname(99999, space) == NULL); INT(errno); }
PROBE(if_nameindex) { struct if_nameindex *n = if_nameindex(); TEXT(n ? n->if_name : NULL); INT(n ? n->if_index : 0); }
PROBE(if_freenameindex) { struct if_nameindex *n = if_nameindex(); INT(n != NULL); if (n) if_freenameindex(n); }

static struct addrinfo *resolved(const char *host, const char *service, int flags) { struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = flags}, *list = NULL; INT(getaddrinfo(host, service, &hints, &list)); return list; }
PROBE(getaddrinfo) { struct addrinfo *a = resolved("127.0.0.1", "80", AI_NUMERICHOST); struct sockaddr_in *i = (void *)a->ai_addr; TEXT(inet_ntoa(i->sin_addr)); INT(ntohs(i->sin_port)); a = resolved("localhost", "http", 0); if (a) TEXT(inet_ntoa(((struct sockaddr_in *)(void *)a->ai_addr)->sin_addr)); resolved("name", NULL, AI_NUMERICHOST); resolved("127.0.0.1", "no-such-service", 0); }
PROBE(freeaddrinfo) { struct addrinfo *a = resolved("10.0.0.1", "1", AI_NUMERICHOST); freeaddrinfo(a); puts("freed"); }
PROBE(gai_strerror) { TEXT(gai_strerror(EAI_NONAME)); TEXT(gai_strerror(0)); TEXT(gai_strerror(9999)); }
PROBE(getnameinfo) { struct sockaddr_in a = {AF_INET, htons(22), {htonl(0x7f000001)}}; char service[32]; INT(getnameinfo((void *)&a, sizeof a, space, 99, service, 32, NI_NUMERICHOST)); TEXT(space); TEXT(service); INT(getnameinfo((void *)&a, sizeof a, space, 3, NULL, 0, NI_NUMERICHOST)); INT(getnameinfo((void *)&a, 3, space, 99, NULL, 0, 0)); }
PROBE(gethostent) { sethostent(0); struct hostent *h = gethostent(); TEXT(h ? h->h_name : NULL); INT(h ? h->h_length : 0); }
PROBE(sethostent) { sethostent(1); struct hostent *h = gethostent(); char *first = h ? strdup(h->h_name) : NULL; sethostent(1); h = gethostent(); INT(h && !strcmp(h->h_name, first)); }
PROBE(endhostent) { gethostent(); endhostent(); INT(gethostent() != NULL); }
PROBE(getnetent) { setnetent(0); struct netent *n = getnetent(); TEXT(n ? n->n_name : NULL); }
PROBE(setnetent) { setnetent(1); struct netent *a = getnetent(); setnetent(1); struct netent *b = getnetent(); INT(!a == !b); }
PROBE(endnetent) { getnetent(); endnetent(); INT(getnetent() != NULL); }
PROBE(getnetbyname) { struct netent *n = getnetbyname("loopback"); TEXT(n ? n->n_name : NULL); INT(n ? n->n_net : 0); INT(getnetbyname("no-such-net") == NULL); }
PROBE(getnetbyaddr) { struct netent *n = getnetbyaddr(0x7f000000, AF_INET); TEXT(n ? n->n_name : NULL); }
PROBE(getprotoent) { setprotoent(0); struct protoent *p = getprotoent(); TEXT(p ? p->p_name : NULL); p = getprotoent(); TEXT(p ? p->p_name : NULL); }
PROBE(setprotoent) { struct protoent *p = getprotoent(); setprotoent(0); p = getprotoent(); INT(p ? p->p_proto : -1); }
PROBE(endprotoent) { getprotoent(); getprotoent(); endprotoent(); struct protoent *p = getprotoent(); TEXT(p ? p->p_name : NULL); }
PROBE(getprotobyname) { struct protoent *p = getprotobyname("tcp"); INT(p ? p->p_proto : -1); INT(getprotobyname("nonsense") == NULL); }
PROBE(getprotobynumber) { struct protoent *p = getprotobynumber(17); TEXT(p ? p->p_name : NULL); INT(getprotobynumber(254) == NULL); }
PROBE(getservent) { setservent(0); struct servent *s = getservent(); TEXT(s ? s->s_name : NULL); INT(s ? ntohs(s->s_port) : 0); }
PROBE(setservent) { getservent(); setservent(0); struct servent *s = getservent(); TEXT(s ? s->s_name : NULL); }
PROBE(endservent) { getservent(); getservent(); endservent(); struct servent *s = getservent(); TEXT(s ? s->s_name : NULL); }
PROBE(getservbyname) { struct servent *s = getservbyname("ssh", "tcp"); INT(s ? ntohs(s->s_port) : 0); INT(getservbyname("ssh", "nonsense") == NULL); }
PROBE(getservbyport) { struct servent *s = getservbyport(htons(53), "udp"); TEXT(s ? s->s_name : NULL); INT(getservbyport(htons(65001), NULL) == NULL); }
