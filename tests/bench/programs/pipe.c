/* pipe: microseconds to pass 8 KB through a pipe, from a second program (pipe write COUNT) that writes to it. */
#include "timing.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 8192, WARM = 20, ROUNDS = 3000 };
static char buffer[PIECE];

static void transfer(int count, int writing)
{
    for (long left = (long)count * PIECE; left > 0;) {
        long done = writing ? write(1, buffer, PIECE) : read(0, buffer, PIECE);
        check(done > 0, "transfer");
        left -= done;
    }
}

int main(int argc, char **argv)
{
    int ends[2], status;
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        transfer(atoi(argv[2]), 1);
        return 0;
    }
    check(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        char count[16];
        snprintf(count, sizeof count, "%d", WARM + ROUNDS);
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execl(argv[0], argv[0], "write", count, NULL);
        _exit(127);
    }
    dup2(ends[0], 0);
    close(ends[0]);
    close(ends[1]);
    transfer(WARM, 0);
    double started = now_s();
    transfer(ROUNDS, 0);
    double took = now_s() - started;
    check(waitpid(child, &status, 0) == child && status == 0, "the writer");
    printf("%f\n", took / ROUNDS * 1e6);
    return 0;
}
