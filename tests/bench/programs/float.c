/* Seconds of a floating-point loop: additions, multiplications and divisions that depend on each other. */
#include "timing.h"
#include <math.h>

int main(void)
{
    volatile int terms = 4000000;
    int end = terms;
    double sum = 0, sign = 1, scale = 1.0000001;
    double started = now_s();
    for (int i = 0; i < end; i++) {
        sum += sign / (2.0 * i + 1.0);
        sign = -sign;
        scale = scale * 1.0000001 - 1e-7;
    }
    double took = now_s() - started;
    printf("%.9f %.9f %f\n", 4 * sum, scale, took);
    return fabs(4 * sum - M_PI) > 1e-6;
}
