/* The clock of the benchmarks: read inside the program, so that start-up does not count. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* Ends the program when something that must work did not. */
static inline void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}
