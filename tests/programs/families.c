/* One short life for each family of system calls: "families NAME" in an empty working directory.
 *
 * Made for injected faults: any call may fail, be interrupted or be the last one, and the program goes on with what
 * it has. It cleans nothing up that a kernel takes back by itself at the end of a process. It prints "done" when it
 * comes to its end. Every wait has a limit, unless a fault takes that away. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char *program;
/* The end of every process, whatever wait it was left in: twice, as one of them may be made to fail. */
static void limit_life(void)
{
    alarm(1);
    alarm(1);
}

static pid_t start(void)
{
    pid_t child = fork();
    if (!child)
        limit_life();
    return child;
}

static void nothing(int signo) { (void)signo; }

static void catch(int signo)
{
    struct sigaction action = {.sa_handler = nothing};
    sigaction(signo, &action, NULL);
}

static void reap(pid_t child)
{
    if (child <= 0)
        return;
    for (int i = 0; i < 5; i++)
        if (waitpid(child, NULL, 0) == child || errno == ECHILD)
            return;
    kill(child, SIGKILL);
}

static void files(void)
{
    char data[9000];
    memset(data, 'x', sizeof data);
    mkdir("d", 0755);
    int fd = open("d/a", O_RDWR | O_CREAT, 0644);
    write(fd, data, sizeof data);
    pwrite(fd, "yy", 2, 20000);
    lseek(fd, 5, SEEK_SET);
    struct iovec parts[2] = {{data, 3000}, {data + 3000, 5000}};
    readv(fd, parts, 2);
    writev(fd, parts, 2);
    ftruncate(fd, 4000);
    fallocate(fd, 0, 0, 30000);
    fsync(fd);
    struct stat status;
    fstat(fd, &status);
    setxattr("d/a", "user.one", "1", 1, 0);
    getxattr("d/a", "user.one", data, 10);
    removexattr("d/a", "user.one");
    link("d/a", "d/b");
    symlink("a", "d/c");
    readlink("d/c", data, sizeof data);
    rename("d/b", "d/e");
    chmod("d/a", 0600);
    int other = open("d/o", O_RDWR | O_CREAT | O_EXCL, 0600);
    copy_file_range(fd, &(loff_t){0}, other, NULL, 3000, 0);
    sendfile(other, fd, &(off_t){0}, 5000);
    flock(fd, LOCK_EX);
    struct flock lock = {.l_type = F_WRLCK, .l_len = 10};
    fcntl(other, F_SETLK, &lock);
    int unnamed = open("d", O_TMPFILE | O_RDWR, 0600);
    write(unnamed, "t", 1);
    int memory = memfd_create("m", MFD_ALLOW_SEALING);
    write(memory, data, 5000);
    fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK);
    int place = open("d", O_RDONLY | O_DIRECTORY);
    syscall(SYS_getdents64, place, data, sizeof data);
    openat(place, "a", O_RDONLY);
    int host = open("/etc/passwd", O_RDONLY);
    read(host, data, sizeof data);
    int kernels = open("/proc/self/maps", O_RDONLY);
    read(kernels, data, sizeof data);
    int watch = inotify_init1(IN_NONBLOCK);
    inotify_add_watch(watch, "d", IN_ALL_EVENTS);
    unlink("d/e");
    read(watch, data, sizeof data);
    unlink("d/a");
    unlink("d/c");
    unlink("d/o");
    rmdir("d");
}

static void memory(void)
{
    size_t size = 40 * 4096;
    char *private = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (private != MAP_FAILED) {
        for (size_t at = 0; at < size; at += 4096)
            private[at] = 1;
        mprotect(private + 8 * 4096, 4 * 4096, PROT_READ);
        munmap(private + 20 * 4096, 4096);
        madvise(private, 4 * 4096, MADV_DONTNEED);
        char *moved = mremap(private, 8 * 4096, 60 * 4096, MREMAP_MAYMOVE);
        if (moved != MAP_FAILED)
            moved[59 * 4096] = 1;
    }
    char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = open("m", O_RDWR | O_CREAT, 0600);
    ftruncate(fd, size);
    char *file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    int text = open("/etc/passwd", O_RDONLY);
    char *foreign = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, text, 0);
    void *heap = sbrk(100000);
    pid_t child = start();
    if (shared != MAP_FAILED)
        shared[5000] = 2;
    if (file != MAP_FAILED && copy != MAP_FAILED) {
        file[9000] = 2;
        copy[9000] = copy[13000] = 3;
        msync(file, size, MS_SYNC);
    }
    if (foreign != MAP_FAILED)
        foreign[0] = 'x';
    if (heap != (void *)-1)
        memset(heap, 1, 100000);
    if (!child)
        _exit(0);
    mincore(shared, size, (unsigned char *)program);
    int identifier = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
    char *segment = shmat(identifier, NULL, 0);
    shmctl(identifier, IPC_RMID, NULL);
    if (segment != (void *)-1) {
        segment[100] = 1;
        shmdt(segment);
    }
    char there[8];
    struct iovec local = {there, 8}, remote = {(void *)program, 8};
    process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    reap(child);
    unlink("m");
}

static void *sleeper(void *argument)
{
    struct timespec time = {0, 20000000};
    nanosleep(&time, NULL);
    return argument;
}

static void *reader(void *argument)
{
    char byte;
    read(*(int *)argument, &byte, 1);
    return NULL;
}

static void *exiter(void *argument)
{
    execl("/proc/self/exe", program, "nothing", NULL);
    return argument;
}

static void threads(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    static int ends[2];
    pthread_t thread[4];
    pipe(ends);
    int made = 0;
    for (int i = 0; i < 3; i++)
        made += !pthread_create(&thread[made], NULL, i ? sleeper : reader, ends);
    pthread_mutex_lock(&mutex);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 5000000;
    if (limit.tv_nsec >= 1000000000)
        limit.tv_nsec -= 1000000000, limit.tv_sec++;
    pthread_cond_timedwait(&condition, &mutex, &limit);
    pthread_mutex_unlock(&mutex);
    write(ends[1], "x", 1);
    for (int i = 0; i < made; i++)
        pthread_join(thread[i], NULL);
    pid_t child = start();
    if (!child) { /* an exec from a thread, with others in a sleep and in a read */
        for (int i = 0; i < 3; i++)
            pthread_create(&thread[i], NULL, i == 2 ? exiter : i ? sleeper : reader, ends);
        pause();
        _exit(1);
    }
    reap(child);
}

static void processes(void)
{
    catch(SIGCHLD);
    for (int i = 0; i < 3; i++) {
        pid_t child = i == 1 ? vfork() : start();
        if (!child) {
            if (i == 0)
                setsid();
            if (i == 2)
                kill(getpid(), SIGKILL);
            execl("/proc/self/exe", program, "nothing", NULL);
            _exit(1);
        }
        setpgid(child, child);
        reap(child);
    }
    pid_t child;
    char *words[] = {(char *)program, "nothing", NULL};
    if (!posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, NULL))
        reap(child);
    int out[2] = {-1, -1};
    pipe2(out, O_CLOEXEC);
    child = start();
    if (!child) { /* an orphan's parent */
        if (!start()) {
            usleep(1000);
            write(out[1], "x", 1);
            _exit(0);
        }
        _exit(0);
    }
    reap(child);
    struct pollfd wait = {out[0], POLLIN, 0};
    poll(&wait, 1, 100);
    child = start();
    if (!child) {
        raise(SIGSTOP);
        _exit(0);
    }
    if (child > 0) {
        waitpid(child, NULL, WUNTRACED);
        kill(child, SIGCONT);
        int pidfd = syscall(SYS_pidfd_open, child, 0);
        struct pollfd ended = {pidfd, POLLIN, 0};
        poll(&ended, 1, 100);
    }
    reap(child);
    static int pidfd;
    child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
    if (!child)
        _exit(0);
    reap(child);
    char *none[] = {NULL};
    execve("/nonexistent", words, none);
    execve("/etc/passwd", words, none);
    execl("/proc/self/exe", program, "nothing", NULL);
}

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

static void places(void)
{
    mkdir("p", 0700);
    if (!mount("none", "p", "tmpfs", 0, NULL)) {
        int fd = open("p/file", O_RDWR | O_CREAT, 0600);
        write(fd, "x", 1);
        umount2("p", MNT_DETACH);
        close(fd);
    }
    mount("/etc", "p", NULL, MS_BIND, NULL);
    umount("p");
    pid_t child = start();
    if (!child) {
        setuid(1000);
        chdir("/");
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
        open("/etc/passwd", O_RDONLY);
        _exit(0);
    }
    reap(child);
    child = start();
    if (!child) {
        chroot("p");
        chdir("/");
        open("/etc/passwd", O_RDONLY);
        _exit(0);
    }
    reap(child);
    rmdir("p");
}

int main(int count, char **words)
{
    static const struct { const char *name; void (*run)(void); } families[] = {
        {"files", files}, {"memory", memory}, {"threads", threads}, {"processes", processes}, {"sockets", sockets},
        {"terminals", terminals}, {"events", events}, {"queues", queues}, {"places", places},
    };
    program = words[0];
    limit_life();
    for (size_t i = 0; count > 1 && i < sizeof families / sizeof *families; i++)
        if (!strcmp(words[1], families[i].name))
            families[i].run();
    write(1, "done\n", 5);
    return 0;
}
