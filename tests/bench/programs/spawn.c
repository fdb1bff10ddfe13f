/* spawn PROGRAM: milliseconds of fork, execve and waitpid of PROGRAM, after a few that do not count. */
#include "timing.h"
#include <sys/wait.h>
#include <unistd.h>

static void spawn(char *path)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {path, NULL}, *environment[] = {NULL};
        execve(path, arguments, environment);
        _exit(127);
    }
    check(child > 0 && waitpid(child, &status, 0) == child && status == 0, path);
}

int main(int argc, char **argv)
{
    enum { WARM = 5, ROUNDS = 60 };
    check(argc == 2, "usage: spawn PROGRAM");
    for (int i = 0; i < WARM; i++)
        spawn(argv[1]);
    double started = now_s();
    for (int i = 0; i < ROUNDS; i++)
        spawn(argv[1]);
    printf("%f\n", (now_s() - started) / ROUNDS * 1e3);
    return 0;
}
