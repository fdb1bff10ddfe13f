/* What the programs of families of system calls share ("PROGRAM FAMILY", in an empty working directory).
 *
 * Made for injected faults: any call may fail, be interrupted or be the last one, and the program goes on with what
 * it has. It cleans nothing up that a kernel takes back by itself at the end of a process. It prints "done" when it
 * comes to its end. */
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

struct family {
    const char *name;
    void (*run)(void);
};

static int run_family(int count, char **words, const struct family *families)
{
    program = words[0];
    limit_life();
    for (; count > 1 && families->name; families++)
        if (!strcmp(words[1], families->name))
            families->run();
    write(1, "done\n", 5);
    return 0;
}
