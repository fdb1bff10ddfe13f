/* getppid CALLS: microseconds of the cheapest system call. */
#include "timing.h"
#include <unistd.h>

int main(int argc, char **argv)
{
    check(argc == 2, "usage: getppid CALLS");
    int calls = atoi(argv[1]);
    double started = now_s();
    for (int i = 0; i < calls; i++)
        getppid();
    printf("%f\n", (now_s() - started) / calls * 1e6);
    return 0;
}
