/* Microseconds of a round trip of one byte between two processes over two pipes: four calls, two switches. */
#include "timing.h"
#include <sys/wait.h>
#include <unistd.h>

enum { WARM = 20, ROUNDS = 2000 };

static void pass(int from, int to)
{
    char byte;
    check(read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1, "pass");
}

int main(void)
{
    int there[2], back[2], status;
    check(pipe(there) == 0 && pipe(back) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < WARM + ROUNDS; i++)
            pass(there[0], back[1]);
        return 0;
    }
    check(write(there[1], "x", 1) == 1, "write");
    for (int i = 0; i < WARM; i++)
        pass(back[0], there[1]);
    double started = now_s();
    for (int i = 0; i < ROUNDS - 1; i++)
        pass(back[0], there[1]);
    double took = now_s() - started;
    check(waitpid(child, &status, 0) == child && status == 0, "the other side");
    printf("%f\n", took / ROUNDS * 1e6);
    return 0;
}
