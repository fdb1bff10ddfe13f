/* Families of system calls by which processes talk: sockets, terminals, events, queues; see families.h. */
#include "families.h"

static void send_descriptors(int socket, int *fds, int count)
{
    char control[CMSG_SPACE(4 * sizeof(int))] = {0};
    struct iovec part = {"hello", 5};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    sendmsg(socket, &message, MSG_NOSIGNAL);
}

static void receive_descriptors(int socket)
{
    char control[CMSG_SPACE(4 * sizeof(int))], data[16];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    message.msg_controllen = sizeof control;
    recvmsg(socket, &message, MSG_DONTWAIT);
}

static void sockets(void)
{
    int pair[2] = {-1, -1}, other[2] = {-1, -1}, ends[2] = {-1, -1};
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, other);
    pipe(ends);
    int on = 1;
    setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    send_descriptors(pair[0], ends, 2);
    send_descriptors(pair[0], other, 1);
    receive_descriptors(pair[1]);
    send_descriptors(other[0], ends, 1); /* never received */
    send_descriptors(pair[1], &pair[0], 1);
    receive_descriptors(pair[0]);
    struct sockaddr_un name = {AF_UNIX, "s"}, hidden = {AF_UNIX, "\0hidden"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), datagrams = socket(AF_UNIX, SOCK_DGRAM, 0);
    bind(server, (struct sockaddr *)&name, sizeof name);
    bind(datagrams, (struct sockaddr *)&hidden, sizeof(sa_family_t) + 7);
    listen(server, 2);
    pid_t child = start();
    if (!child) {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        connect(client, (struct sockaddr *)&name, sizeof name);
        char much[300000];
        memset(much, 1, sizeof much);
        signal(SIGPIPE, SIG_IGN);
        write(client, much, sizeof much);
        sendto(other[1], much, 100, 0, (struct sockaddr *)&hidden, sizeof(sa_family_t) + 7);
        _exit(0);
    }
    struct pollfd wait = {server, POLLIN, 0};
    poll(&wait, 1, 100);
    fcntl(server, F_SETFL, O_NONBLOCK);
    int accepted = accept4(server, NULL, NULL, SOCK_NONBLOCK);
    char data[100000];
    for (int i = 0; i < 5; i++) {
        struct pollfd some = {accepted, POLLIN, 0};
        poll(&some, 1, 20);
        read(accepted, data, sizeof data);
    }
    recv(datagrams, data, sizeof data, MSG_DONTWAIT);
    shutdown(accepted, SHUT_RDWR);
    close(accepted);
    reap(child);
    unlink("s");
}

static void terminals(void)
{
    catch(SIGHUP);
    char name[100];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    int slave = ptsname_r(master, name, sizeof name) ? -1 : open(name, O_RDWR | O_NOCTTY);
    struct termios modes;
    tcgetattr(slave, &modes);
    modes.c_lflag &= ~ECHO;
    tcsetattr(slave, TCSANOW, &modes);
    write(master, "line\n", 5);
    struct pollfd wait = {slave, POLLIN, 0};
    poll(&wait, 1, 20);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    read(slave, name, sizeof name);
    pid_t child = start();
    if (!child) {
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        fcntl(slave, F_SETFL, 0);
        tcsetpgrp(slave, getpid());
        close(master);
        read(slave, name, sizeof name); /* until the hang-up */
        _exit(0);
    }
    usleep(1000);
    struct winsize size = {10, 20, 0, 0};
    ioctl(master, TIOCSWINSZ, &size);
    write(master, "\003", 1);
    close(master);
    reap(child);
}

static void events(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int poller = epoll_create1(0), counter = eventfd(0, EFD_NONBLOCK), ends[2] = {-1, -1};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), signals = signalfd(-1, &set, SFD_NONBLOCK);
    pipe2(ends, O_NONBLOCK);
    int watched[] = {counter, timer, signals, ends[0]};
    for (int i = 0; i < 4; i++) {
        struct epoll_event event = {.events = i & 1 ? EPOLLIN | EPOLLET : EPOLLIN, .data.fd = watched[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, watched[i], &event);
    }
    struct itimerspec soon = {{0, 1000000}, {0, 1000000}};
    timerfd_settime(timer, 0, &soon, NULL);
    sigqueue(getpid(), SIGRTMIN, (union sigval){7});
    kill(getpid(), SIGUSR1);
    write(counter, &(long){3}, 8);
    write(ends[1], "x", 1);
    char data[1000];
    for (int i = 0; i < 6; i++) {
        struct epoll_event found[4];
        int count = epoll_wait(poller, found, 4, 10);
        for (int j = 0; j < count; j++)
            read(found[j].data.fd, data, sizeof data);
    }
    timer_t posix;
    struct sigevent notify = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    if (!timer_create(CLOCK_MONOTONIC, &notify, &posix))
        timer_settime(posix, 0, &soon, NULL);
    struct timespec limit = {0, 50000000};
    sigtimedwait(&set, NULL, &limit);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {1, 0}}, NULL);
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(0, &readable);
    select(1, &readable, NULL, NULL, &(struct timeval){0, 1000});
    struct pollfd many[2] = {{ends[0], POLLIN, 0}, {counter, POLLIN, 0}};
    ppoll(many, 2, &(struct timespec){0, 1000000}, &set);
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void queues(void)
{
    int set = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600), queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    pid_t child = start();
    if (!child) {
        struct sembuf take = {0, -1, SEM_UNDO};
        semtimedop(set, &take, 1, &(struct timespec){0, 100000000});
        struct { long type; char text[10]; } message;
        msgrcv(queue, &message, 10, 1, 0);
        _exit(0);
    }
    struct sembuf give = {0, 1, SEM_UNDO};
    semop(set, &give, 1);
    struct { long type; char text[10]; } message = {1, "hello"};
    msgsnd(queue, &message, 10, 0);
    usleep(2000);
    semctl(set, 0, IPC_RMID);
    msgctl(queue, IPC_RMID, NULL);
    reap(child);
    mkfifo("f", 0600);
    child = start();
    if (!child) {
        int fd = open("f", O_WRONLY);
        write(fd, "x", 1);
        _exit(0);
    }
    int fd = open("f", O_RDONLY | O_NONBLOCK);
    struct pollfd wait = {fd, POLLIN, 0};
    poll(&wait, 1, 100);
    reap(child);
    unlink("f");
    int ends[2] = {-1, -1}, more[2] = {-1, -1};
    pipe(ends);
    pipe2(more, O_NONBLOCK);
    fcntl(ends[1], F_SETPIPE_SZ, 131072);
    write(ends[1], "abc", 3);
    tee(ends[0], more[1], 3, SPLICE_F_NONBLOCK);
    splice(ends[0], NULL, more[1], NULL, 3, SPLICE_F_NONBLOCK);
}

int main(int count, char **words)
{
    static const struct family families[] = {
        {"sockets", sockets}, {"terminals", terminals}, {"events", events}, {"queues", queues}, {0}};
    return run_family(count, words, families);
}
