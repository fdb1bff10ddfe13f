/* Seconds of fib(32) by recursion: calls, returns and the stack. */
#include "timing.h"

static __attribute__((noinline)) unsigned fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(void)
{
    volatile unsigned n = 32;
    double started = now_s();
    unsigned result = fib(n);
    double took = now_s() - started;
    printf("%u %f\n", result, took);
    return result != 2178309;
}
