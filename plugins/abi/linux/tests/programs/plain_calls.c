/* Calls that C libraries have stopped making, or make rarely: each by its number, with good and bad arguments. */
#include "oracle.h"
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <utime.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

#define S(name, ...) T(syscall(SYS_##name, ##__VA_ARGS__))

static void files(void) {
    struct stat status;
    struct statfs place;
    char list[256] = "";
    close(make("file", "content"));
    S(stat, "file", &status);
    printf("%ld %o\n", (long)status.st_size, status.st_mode);
    S(stat, "none", &status);
    S(stat, "file", 8);
    S(statfs, "/", &place);
    S(statfs, "none", &place);
    S(ustat, 0xffff, &place);
    stat("/proc/self", &status);
    S(ustat, status.st_dev, &place);
    S(ustat, status.st_dev, 8);
    S(mknod, "fifo", S_IFIFO | 0640, 0);
    S(mknod, "null", S_IFCHR | 0600, makedev(1, 3));
    S(mknod, "file", S_IFREG | 0600, 0);
    S(mknod, "odd", S_IFDIR | 0600, 0);
    S(faccessat, AT_FDCWD, "file", R_OK);
    S(faccessat, AT_FDCWD, "none", R_OK);
    S(faccessat, -1, "file", R_OK);
    struct timeval times[2] = {{1000, 5}, {2000, 7}};
    S(utimes, "file", times);
    stat("file", &status);
    printf("%ld.%ld %ld.%ld\n", status.st_atim.tv_sec, status.st_atim.tv_nsec, status.st_mtim.tv_sec,
           status.st_mtim.tv_nsec);
    times[1].tv_usec = 1000000;
    S(utimes, "file", times);
    times[1].tv_usec = 9;
    S(futimesat, AT_FDCWD, "file", times);
    stat("file", &status);
    printf("%ld.%ld\n", status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    S(fchmodat2, AT_FDCWD, "file", 0604, 0);
    S(fchmodat2, AT_FDCWD, "none", 0604, 0);
    S(fchmodat2, AT_FDCWD, "file", 0604, 1);
    T(symlink("file", "link"));
    S(fchmodat2, AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW);
    mkdir("folder", 0755);
    int fd = open("folder", O_RDONLY | O_DIRECTORY);
    T(syscall(SYS_getdents, fd, list, sizeof list) > 0);
    S(getdents, fd, list, sizeof list);
    S(getdents, fd, list, 4);
    S(getdents, 99, list, sizeof list);
    S(sync);
    close(fd);
}

static void attributes(void) {
    char value[64] = "";
    int fd = open("file", O_RDWR);
    S(fsetxattr, fd, "trusted.one", "first", 5, 0);
    S(lsetxattr, "link", "trusted.two", "second", 6, 0);
    S(getxattr, "file", "trusted.one", value, sizeof value);
    show("value", value, 5);
    S(getxattr, "file", "trusted.two", value, sizeof value);
    S(lgetxattr, "link", "trusted.two", value, sizeof value);
    show("value", value, 6);
    S(fgetxattr, fd, "trusted.one", value, 2);
    S(fgetxattr, fd, "trusted.one", value, 0);
    S(lgetxattr, "none", "trusted.one", value, sizeof value);
    S(lsetxattr, "file", "trusted.one", "again", 5, XATTR_CREATE);
    S(fsetxattr, fd, "trusted.three", "again", 5, XATTR_REPLACE);
    S(fremovexattr, fd, "trusted.one");
    S(fremovexattr, fd, "trusted.one");
    S(lremovexattr, "link", "trusted.two");
    S(lremovexattr, "link", "trusted.two");
    S(listxattr, "file", value, sizeof value);
    close(fd);
}

static void identity(void) {
    unsigned ids[3] = {0};
    S(setreuid, -1, 12);
    S(getresuid, &ids[0], &ids[1], &ids[2]);
    printf("%u %u %u\n", ids[0], ids[1], ids[2]);
    S(setreuid, 5, 7);
    S(setresuid, -1, 0, -1);
    S(setresuid, 3, 4, 5);
    S(getresuid, &ids[0], &ids[1], &ids[2]);
    printf("%u %u %u\n", ids[0], ids[1], ids[2]);
    S(getresuid, 8, &ids[1], &ids[2]);
    S(setresuid, 0, -1, -1);
}

static void groups(void) {
    unsigned ids[3] = {0};
    S(setregid, 6, 7);
    S(setresgid, -1, 8, 9);
    S(getresgid, &ids[0], &ids[1], &ids[2]);
    printf("%u %u %u\n", ids[0], ids[1], ids[2]);
    S(setfsgid, 5);
    S(setfsgid, -1);
    S(getresgid, &ids[0], &ids[1], 8);
    printf("%d\n", (int)syscall(SYS_getsid, 0) == getsid(0));
    printf("%d\n", (int)syscall(SYS_getpgid, 0) == getpgrp());
    S(getsid, 99999);
    S(getpgid, 99999);
    unsigned header[2] = {0x20080522, 0}, sets[6] = {0};
    S(capget, header, sets);
    sets[1] &= ~(1u << 23);
    S(capset, header, sets);
    sets[0] |= 1u << 23;
    S(capset, header, sets);
    header[0] = 5;
    S(capset, header, sets);
    printf("%x\n", header[0]);
    S(capset, 8, sets);
}

static void limits(void) {
    struct rlimit limit = {10, 20};
    S(setrlimit, RLIMIT_NOFILE, &limit);
    S(getrlimit, RLIMIT_NOFILE, &limit);
    printf("%ld %ld\n", (long)limit.rlim_cur, (long)limit.rlim_max);
    limit.rlim_cur = 30;
    S(setrlimit, RLIMIT_NOFILE, &limit);
    S(setrlimit, 99, &limit);
    S(setrlimit, RLIMIT_CORE, 8);
}

static void times_and_names(void) {
    struct itimerval timer = {0};
    struct timex clock = {0};
    struct utsname names;
    S(getitimer, ITIMER_REAL, &timer);
    S(getitimer, 9, &timer);
    T(syscall(SYS_adjtimex, &clock) >= 0);
    clock.modes = 0;
    T(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &clock) >= 0);
    S(clock_adjtime, 99, &clock);
    S(adjtimex, 8);
    S(settimeofday, 0, 0);
    uname(&names);
    S(sethostname, names.nodename, strlen(names.nodename));
    S(sethostname, names.nodename, 65);
    S(sethostname, 8, 3);
    S(setdomainname, names.domainname, strlen(names.domainname));
    S(setdomainname, names.domainname, -1);
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec setting = {.it_value = {100, 0}}, left = {0};
    int id = -1;
    S(timer_create, CLOCK_MONOTONIC, &event, &id);
    S(timer_settime, id, 0, &setting, 0);
    S(timer_gettime, id, &left);
    printf("%d\n", left.it_value.tv_sec >= 99);
    S(timer_getoverrun, id);
    S(timer_getoverrun, 77);
    S(timer_gettime, 77, &left);
    S(timer_delete, id);
}

static void waiting(void) {
    struct timeval timeout = {0, 1000};
    fd_set readable;
    int ends[2];
    pipe(ends);
    FD_ZERO(&readable);
    FD_SET(ends[0], &readable);
    S(select, ends[0] + 1, &readable, 0, 0, &timeout);
    write(ends[1], "x", 1);
    FD_SET(ends[0], &readable);
    S(select, ends[0] + 1, &readable, 0, 0, &timeout);
    S(select, -1, 0, 0, 0, &timeout);
    FD_SET(40, &readable);
    S(select, 41, &readable, 0, 0, &timeout);
    int set = syscall(SYS_epoll_create, 1);
    printf("%d\n", set > 2);
    S(epoll_create, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 5};
    T(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
    unsigned long mask = 0;
    S(epoll_pwait, set, &event, 1, 0, &mask, 8);
    S(epoll_pwait, set, &event, 1, 0, &mask, 4);
    S(epoll_pwait, set, &event, 0, 0, 0, 8);
    mask = 1UL << (SIGUSR1 - 1);
    sigprocmask(SIG_BLOCK, (sigset_t *)&mask, 0);
    int notices = syscall(SYS_signalfd, -1, &mask, 8);
    printf("%d\n", notices > 2);
    S(signalfd, -1, &mask, 7);
    kill(getpid(), SIGUSR1);
    char buffer[128];
    S(read, notices, buffer, sizeof buffer);
    int counter = syscall(SYS_eventfd, 3);
    S(read, counter, buffer, 8);
    printf("%d\n", buffer[0]);
    S(eventfd, 0, 0);
}

static void copies(void) {
    int ends[2], pair[2];
    struct iovec parts[2] = {{"ab", 2}, {"cde", 3}};
    char one[8] = "", two[8] = "";
    pipe(ends);
    S(vmsplice, ends[1], parts, 2, 0);
    S(read, ends[0], one, 8);
    show("pipe", one, 5);
    S(vmsplice, 0, parts, 2, 0);
    S(vmsplice, 0, parts, 0, 0);
    S(vmsplice, ends[1], 8, 2, 0);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    struct iovec out[2] = {{"one", 3}, {"three", 5}}, in[2] = {{one, 8}, {two, 8}};
    struct mmsghdr sent[2] = {{{.msg_iov = out, .msg_iovlen = 1}}, {{.msg_iov = out + 1, .msg_iovlen = 1}}};
    struct mmsghdr got[2] = {{{.msg_iov = in, .msg_iovlen = 1}}, {{.msg_iov = in + 1, .msg_iovlen = 1}}};
    S(sendmmsg, pair[0], sent, 2, 0);
    printf("%u %u\n", sent[0].msg_len, sent[1].msg_len);
    S(recvmmsg, pair[1], got, 2, 0, 0);
    printf("%u %u\n", got[0].msg_len, got[1].msg_len);
    show("second", two, 5);
    S(recvmmsg, pair[1], got, 2, MSG_DONTWAIT, 0);
    S(sendmmsg, 99, sent, 2, 0);
    struct sockaddr_un name = {AF_UNIX, "listener"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    T(bind(server, (void *)&name, sizeof name));
    T(listen(server, 1));
    T(connect(client, (void *)&name, sizeof name));
    T(syscall(SYS_accept, server, 0, 0) > 0);
    S(accept, client, 0, 0);
    S(accept, 99, 0, 0);
    char word[8] = "before";
    struct iovec here = {"after!", 6}, there = {word, 6};
    S(process_vm_writev, getpid(), &here, 1, &there, 1, 0);
    show("word", word, 6);
    S(process_vm_writev, 99999, &here, 1, &there, 1, 0);
    there.iov_base = (void *)8;
    S(process_vm_writev, getpid(), &here, 1, &there, 1, 0);
}

static void semaphores(void) {
    int id = semget(IPC_PRIVATE, 2, 0600);
    struct sembuf operations[2] = {{0, 3, 0}, {0, -1, IPC_NOWAIT}};
    S(semop, id, operations, 2);
    T(semctl(id, 0, GETVAL));
    operations[0].sem_op = -5;
    operations[0].sem_flg = IPC_NOWAIT;
    S(semop, id, operations, 1);
    S(semop, id, operations, 0);
    operations[0].sem_num = 9;
    S(semop, id, operations, 1);
    T(semctl(id, 0, IPC_RMID));
}

static void scheduling_and_memory(void) {
    int mode = -1;
    unsigned long mask[16] = {1};
    struct sched_param parameter = {0};
    S(sched_setparam, 0, &parameter);
    parameter.sched_priority = 5;
    S(sched_setparam, 0, &parameter);
    S(sched_setparam, 99999, &parameter);
    S(sched_setaffinity, 0, sizeof mask, mask);
    mask[0] = 0;
    S(sched_setaffinity, 0, sizeof mask, mask);
    char attributes[48] = {48};
    S(sched_setattr, 0, attributes, 0);
    S(sched_setattr, 0, attributes, 1);
    S(sched_setattr, 99999, attributes, 0);
    void *head = 0;
    size_t length = 0;
    S(get_robust_list, 0, &head, &length);
    printf("%zu\n", length);
    S(get_robust_list, 99999, &head, &length);
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    S(mlock2, page, 4096, 0);
    S(mlock2, page, 4096, 1);
    S(mlock2, page, 4096, 2);
    T(syscall(SYS_mlock2, 0x10000000000, 4096, 0));
    S(pkey_mprotect, page, 4096, PROT_READ, -1);
    S(pkey_mprotect, page + 1, 4096, PROT_READ, -1);
    S(get_mempolicy, &mode, 0, 0, 0, 0);
    printf("%d\n", mode);
    S(set_mempolicy, 0, 0, 0);
    S(set_mempolicy, 99, 0, 0);
    S(mbind, page, 8192, 0, 0, 0, 0);
    S(mbind, page + 1, 8192, 0, 0, 0, 0);
    T(syscall(SYS_syslog, 10, 0, 0) > 0);
    S(syslog, 99, 0, 0);
}

static void other_processes(void) {
    int self = syscall(SYS_pidfd_open, getpid(), 0), ends[2];
    pipe(ends);
    int copy = syscall(SYS_pidfd_getfd, self, ends[1], 0);
    printf("%d %d\n", copy > ends[1], (int)write(copy, "x", 1));
    S(pidfd_getfd, self, 99, 0);
    S(pidfd_getfd, self, 0, 1);
    S(pidfd_getfd, ends[0], 0, 0);
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec range = {page, 8192};
    S(process_madvise, self, &range, 1, MADV_COLD, 0);
    S(process_madvise, self, &range, 1, MADV_COLD, 1);
    S(process_madvise, ends[0], &range, 1, MADV_COLD, 0);
}

static void in_a_child(void (*work)(void)) {
    fflush(stdout);
    int status = 0;
    pid_t child = fork();
    if (!child) {
        work();
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    if (status) printf("ended with %x\n", status);
}

static void executed(void) {
    char *words[] = {"program", "again", 0}, *none[] = {0};
    S(execve, "/nowhere", words, none);
    S(execveat, AT_FDCWD, "/nowhere", words, none, 0);
    int fd = open("/proc/self/exe", O_PATH);
    S(execveat, fd, "", words, none, 0x1);
    S(execveat, fd, "", words, none, AT_EMPTY_PATH);
}

int main(int argc, char **argv) {
    if (argc > 1) return printf("%s\n", argv[1]) < 0;
    void (*all[])(void) = {files, attributes, identity, groups, limits, times_and_names, waiting, copies, semaphores,
                           scheduling_and_memory, other_processes, executed};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) in_a_child(all[i]);
    return 0;
}
