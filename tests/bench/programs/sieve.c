/* Seconds of a sieve of Eratosthenes over 4 M bytes: stores far apart, and the first touch of each page. */
#include "timing.h"
#include <string.h>

enum { SIZE = 4 << 20 };
static unsigned char composite[SIZE];

int main(void)
{
    volatile unsigned size = SIZE;
    unsigned end = size, primes = 0;
    double started = now_s();
    memset(composite, 0, end);
    for (unsigned i = 2; i < end; i++) {
        if (composite[i])
            continue;
        primes++;
        for (unsigned long j = (unsigned long)i * i; j < end; j += i)
            composite[j] = 1;
    }
    double took = now_s() - started;
    printf("%u %f\n", primes, took);
    return primes != 295947;
}
