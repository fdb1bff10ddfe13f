/* Storms: "storms NAME COUNT". Each prints one line of what it counted, the same on every correct kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *program;
static unsigned chance = 12345;

static unsigned below(unsigned limit)
{
    chance = chance * 1103515245 + 12345;
    return (chance >> 16) % limit;
}

/* Reaps everything; how many were killed by SIGKILL. */
static int reap_all(int *others)
{
    int status, killed = 0;
    *others = 0;
    for (;;) {
        if (wait(&status) < 0) {
            if (errno == EINTR)
                continue;
            return killed;
        }
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            killed++;
        else
            ++*others;
    }
}

static void at_once(int count)
{
    int ready[2], others, made = 0;
    char byte;
    setpgid(0, 0);
    pipe(ready);
    for (; made < count; made++) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (!child) {
            write(ready[1], "r", 1);
            pause();
            _exit(1);
        }
    }
    for (int i = 0; i < made; i++)
        read(ready[0], &byte, 1);
    signal(SIGTERM, SIG_IGN); /* the children have it at its default: the whole group but this one ends */
    kill(0, SIGTERM);
    int killed = reap_all(&others);
    printf("made %d ended %d\n", made, killed + others);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static int turn, thread_count;

static void *take_turns(void *argument)
{
    int own = (int)(long)argument;
    for (int round = 0; round < 3; round++) {
        pthread_mutex_lock(&mutex);
        while (turn % thread_count != own)
            pthread_cond_wait(&turn_changed, &mutex);
        turn++;
        pthread_cond_broadcast(&turn_changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void threads(int count)
{
    pthread_t thread[1000];
    thread_count = count;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < count; i++)
        if (pthread_create(&thread[i], &attributes, take_turns, (void *)(long)i)) {
            perror("pthread_create");
            exit(1);
        }
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
    printf("turns %d\n", turn);
}

static void forks(int count)
{
    int sum = 0, status;
    struct timespec before, now;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (!child)
            _exit(i % 7);
        if (child < 0 || waitpid(child, &status, 0) != child) {
            perror("fork");
            exit(1);
        }
        sum += WEXITSTATUS(status);
        if ((i + 1) % (count / 10) == 0) {
            clock_gettime(CLOCK_MONOTONIC, &now);
            double used = (now.tv_sec - before.tv_sec) * 1e6 + (now.tv_nsec - before.tv_nsec) / 1e3;
            fprintf(stderr, "%.0f\n", used / (count / 10)); /* microseconds a fork, in this tenth */
            before = now;
        }
    }
    printf("sum %d\n", sum);
}

static void *wait_for_ever(void *argument)
{
    char byte;
    read(*(int *)argument, &byte, 1);
    return NULL;
}

static void *replace(void *argument)
{
    usleep(below(300));
    execl("/proc/self/exe", program, "sleep", "1000", NULL);
    return argument;
}

/* A child that is in the midst of something when it is killed. */
static void victim(int kind)
{
    static int ends[2];
    char byte;
    pipe(ends);
    switch (kind) {
    case 0:
        execl("/proc/self/exe", program, "execs", "1000000", NULL);
        break;
    case 1:
        for (;;)
            if (!vfork()) {
                execl("/proc/self/exe", program, "sleep", "0", NULL);
                _exit(1);
            }
    case 2: { /* threads in a read and in a futex, and one that executes another program */
        pthread_t thread;
        pthread_create(&thread, NULL, wait_for_ever, ends);
        pthread_mutex_lock(&mutex);
        if (kind == 2)
            pthread_create(&thread, NULL, replace, NULL);
        pthread_cond_wait(&turn_changed, &mutex);
        break;
    }
    case 3:
        raise(SIGSTOP);
        break;
    case 4:
        for (;;) {
            write(ends[1], &byte, 1);
            read(ends[0], &byte, 1);
        }
    case 5: {
        static char much[200000];
        write(ends[1], much, sizeof much);
        break;
    }
    case 6: {
        int fd = open("lock", O_RDWR | O_CREAT, 0600);
        flock(fd, LOCK_EX);
        break;
    }
    case 7: {
        struct pollfd wait = {ends[0], POLLIN, 0};
        poll(&wait, 1, -1);
        break;
    }
    case 8: {
        int pair[2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
        static char much[400000];
        write(pair[0], much, sizeof much);
        break;
    }
    case 9:
        for (;;) {
            char *area = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            memset(area, 1, 1 << 18);
            munmap(area, 1 << 20);
        }
    case 10: /* a tree of its own */
        for (int i = 0; i < 3; i++)
            if (!fork())
                for (;;)
                    sched_yield();
        wait(NULL);
        break;
    case 11: {
        sigset_t none;
        sigemptyset(&none);
        sigsuspend(&none);
        break;
    }
    case 12: {
        struct { long type; char text[8]; } message;
        int queue = msgget(0x5108, IPC_CREAT | 0600);
        msgrcv(queue, &message, 8, 77, 0);
        break;
    }
    default:
        for (;;)
            ;
    }
    for (;;)
        pause();
}

static void kills(int count)
{
    int made = 0, others, lock = open("lock", O_RDWR | O_CREAT, 0600);
    flock(lock, LOCK_EX);
    while (made < count) {
        pid_t group = 0, children[14];
        for (int kind = 0; kind < 14; kind++) {
            pid_t child = fork();
            if (!child) {
                setpgid(0, group);
                chance += kind + made;
                victim(kind);
            }
            if (!group)
                group = child;
            setpgid(child, group);
            children[kind] = child;
            made++;
        }
        usleep(below(4000));
        if (below(2))
            kill(-group, below(2) ? SIGSTOP : SIGCONT);
        if (below(2))
            for (int kind = 0; kind < 14; kind++)
                kill(children[kind], SIGKILL);
        kill(-group, SIGKILL);
        int killed = reap_all(&others);
        if (killed != 14 || others) {
            printf("killed %d others %d\n", killed, others);
            exit(1);
        }
    }
    msgctl(msgget(0x5108, 0600), IPC_RMID, NULL);
    unlink("lock");
    printf("killed %d\n", made);
}

static void execs(int count)
{
    if (count > 0) {
        char text[20];
        snprintf(text, sizeof text, "%d", count - 1);
        execl("/proc/self/exe", program, "execs", text, NULL);
        perror("exec");
        exit(1);
    }
    printf("executed\n");
}

/* A ring of processes around which a byte runs, and a flood through a pipe with many writers. */
static void pipes(int count)
{
    int first[2], in[2], out[2], others;
    char byte = 0;
    pipe(first);
    in[0] = first[0];
    for (int i = 0; i < count; i++) {
        pipe(out);
        if (!fork()) {
            close(first[1]);
            close(out[0]);
            while (read(in[0], &byte, 1) == 1) {
                byte++;
                if (write(out[1], &byte, 1) != 1)
                    break;
            }
            _exit(0);
        }
        close(in[0]);
        close(out[1]);
        in[0] = out[0];
    }
    for (int i = 0; i < 10; i++) {
        write(first[1], &byte, 1);
        read(in[0], &byte, 1);
    }
    close(first[1]);
    reap_all(&others);
    int flood[2];
    long bytes = 0, got;
    static char data[70000];
    pipe(flood);
    for (int i = 0; i < 20; i++)
        if (!fork()) {
            write(flood[1], data, sizeof data);
            _exit(0);
        }
    close(flood[1]);
    while ((got = read(flood[0], data, sizeof data)) > 0)
        bytes += got;
    reap_all(&others);
    printf("byte %d flood %ld\n", (unsigned char)byte, bytes);
}

static volatile sig_atomic_t standard, queued, sum;
static void count_standard(int signo) { standard += signo > 0; }
static void count_queued(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    queued++;
    sum += info->si_value.sival_int;
}

static void signals(int count)
{
    int others;
    struct sigaction action = {.sa_sigaction = count_queued, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGRTMIN, &action, NULL);
    signal(SIGUSR1, count_standard);
    pid_t own = getpid();
    for (int i = 0; i < 5; i++)
        if (!fork()) {
            for (int j = 0; j < count; j++) {
                while (sigqueue(own, SIGRTMIN, (union sigval){j}) < 0)
                    sched_yield();
                kill(own, SIGUSR1);
            }
            _exit(0);
        }
    reap_all(&others);
    printf("queued %d sum %d standard %d\n", queued, sum, standard > 0);
}

static void hangups(int count)
{
    int made = 0, hung = 0, status;
    signal(SIGHUP, SIG_DFL); /* under nohup it is ignored, and whoever is hung up on would stay */
    for (int i = 0; i < count; i++) {
        int master = posix_openpt(O_RDWR | O_NOCTTY), ready[2];
        char name[100], byte;
        grantpt(master);
        unlockpt(master);
        ptsname_r(master, name, sizeof name);
        pipe(ready);
        pid_t leader = fork();
        if (!leader) {
            setsid();
            int slave = open(name, O_RDWR);
            close(master);
            pid_t job = fork();
            if (!job) {
                setpgid(0, 0);
                if (i % 3 == 1)
                    raise(SIGSTOP);
                write(ready[1], "r", 1);
                read(slave, &byte, 1);
                _exit(0);
            }
            setpgid(job, job);
            if (i % 3 == 1) {
                waitpid(job, NULL, WUNTRACED);
                write(ready[1], "r", 1);
            }
            if (i % 3 == 2)
                tcsetpgrp(slave, job);
            for (;;)
                pause();
        }
        close(ready[1]);
        read(ready[0], &byte, 1);
        if (below(2)) {
            close(master); /* the terminal hangs up */
            master = -1;
        } else {
            kill(leader, SIGKILL); /* its session's leader dies */
        }
        waitpid(leader, &status, 0);
        hung += WIFSIGNALED(status) && (WTERMSIG(status) == SIGHUP || WTERMSIG(status) == SIGKILL);
        while (read(ready[0], &byte, 1) > 0) /* until the job is gone, too */
            ;
        close(ready[0]);
        if (master >= 0)
            close(master);
        made++;
    }
    printf("made %d hung up %d\n", made, hung);
}

static void rest(int seconds) { sleep(seconds); }

int main(int count, char **words)
{
    static const struct { const char *name; void (*run)(int); } storms[] = {
        {"at-once", at_once}, {"threads", threads}, {"forks", forks}, {"kills", kills}, {"execs", execs},
        {"pipes", pipes}, {"signals", signals}, {"hangups", hangups}, {"sleep", rest},
    };
    program = words[0];
    for (size_t i = 0; count > 2 && i < sizeof storms / sizeof *storms; i++)
        if (!strcmp(words[1], storms[i].name)) {
            storms[i].run(atoi(words[2]));
            return 0;
        }
    return 2;
}
