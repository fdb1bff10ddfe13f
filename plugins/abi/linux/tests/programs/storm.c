/* Many processes: forks, execs, kills, shared memory, exec and exit with threads. It executes itself. */
#include "process.h"

enum { FORKS = 200, FEWER = 50, THREADS = 10 };
static int status;

static void *spin(void *argument) {
    for (;;) usleep(100);
}

static void start_threads(void) {
    pthread_t thread;
    for (int i = 0; i < THREADS; i++) pthread_create(&thread, NULL, spin, NULL);
    usleep(1000);
}

static int ended_with(pid_t child, int code) {
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == code;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        printf("executed as %s\n", argv[1]);
        return 3;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    int good = 0;
    for (int i = 0; i < FORKS; i++)
        if (!fork()) _exit(i & 127);
    while (wait(&status) > 0) good += WIFEXITED(status);
    printf("reaped %d\n", good);
    good = 0;
    for (int i = 0; i < FEWER; i++) {
        pid_t child = vfork();
        if (!child) {
            close(1);
            execl(argv[0], argv[0], "quietly", NULL);
            _exit(1);
        }
        good += ended_with(child, 3);
    }
    printf("executed %d\n", good);
    good = 0;
    for (int i = 0; i < FEWER; i++) {
        pid_t child = fork();
        if (!child)
            for (;;) pause();
        usleep(100);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        good += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }
    printf("killed %d\n", good);
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 10; i++)
        if (!fork()) {
            __sync_fetch_and_add(shared, i);
            _exit(0);
        }
    while (wait(NULL) > 0) {
    }
    printf("shared %d\n", *shared);
    pid_t child = fork();
    if (!child) {
        start_threads();
        execl(argv[0], argv[0], "one of many threads", NULL);
    }
    printf("%d\n", ended_with(child, 3));
    child = fork();
    if (!child) {
        start_threads();
        exit(9);
    }
    printf("%d\n", ended_with(child, 9));
    signal(SIGCHLD, SIG_IGN);
    child = fork();
    if (!child) _exit(1);
    V(waitpid(child, &status, 0));
    return 0;
}
