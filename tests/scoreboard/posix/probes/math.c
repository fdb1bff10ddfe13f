/* <math.h>: each function in its three types, over ordinary values, zeros, infinities and not-a-number */
#include "probe.h"
#include <math.h>
#include <limits.h>

static const double ordinary[] = {0.0, -0.0, 0.5, 1.0, -1.0, 2.25, -3.75, 10.0, 1e-10, 700.5, 1e300, INFINITY, -INFINITY, NAN};
#define EACH(x) for (const double *at = ordinary, x = 0; at < ordinary + sizeof ordinary / sizeof *ordinary; at++)
#define FORMAT(type) _Generic((type)0, float: "%s(%.9g) = %.9g\n", double: "%s(%.17g) = %.17g\n", long double: "%s(%.20Lg) = %.20Lg\n")

/* A result that is not a number is printed without its sign, which no standard fixes. */
static void show(const char *name, long double x, long double result, int digits)
{
    if (isnan(result))
        printf("%s(%Lg) = nan\n", name, x);
    else
        printf("%s(%Lg) = %.*Lg\n", name, x, digits, result);
}

#define ONE_OF(name, type, digits) \
    PROBE(name) { for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++) { volatile type x = ordinary[i]; show(#name, x, name(x), digits); } }
#define ONE(name) ONE_OF(name, double, 17) ONE_OF(name##f, float, 9) ONE_OF(name##l, long double, 20)

#define TWO_OF(name, type, digits) \
    PROBE(name) { for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++) for (size_t j = 0; j < sizeof ordinary / sizeof *ordinary; j += 2) { \
        volatile type x = ordinary[i], y = ordinary[(j + i) % (sizeof ordinary / sizeof *ordinary)]; printf("%Lg: ", (long double)y); show(#name, x, name(x, y), digits); } }
#define TWO(name) TWO_OF(name, double, 17) TWO_OF(name##f, float, 9) TWO_OF(name##l, long double, 20)

/* To an integer: what lies outside its range is not asked for. */
#define WHOLE_OF(name, type) \
    PROBE(name) { static const double values[] = {0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 2.49, -7.51, 123456.5}; \
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) { volatile type x = values[i]; printf("%s(%g) = %lld\n", #name, values[i], (long long)name(x)); } }
#define WHOLE(name) WHOLE_OF(name, double) WHOLE_OF(name##f, float) WHOLE_OF(name##l, long double)

ONE(acos)
ONE(acosh)
ONE(asin)
ONE(asinh)
ONE(atan)
ONE(atanh)
ONE(cbrt)
ONE(ceil)
ONE(cos)
ONE(cosh)
ONE(erf)
ONE(erfc)
ONE(exp)
ONE(exp2)
ONE(expm1)
ONE(fabs)
ONE(floor)
ONE(lgamma)
ONE(log)
ONE(log10)
ONE(log1p)
ONE(log2)
ONE(logb)
ONE(nearbyint)
ONE(rint)
ONE(round)
ONE(sin)
ONE(sinh)
ONE(sqrt)
ONE(tan)
ONE(tanh)
ONE(tgamma)
ONE(trunc)
ONE_OF(j0, double, 17)
ONE_OF(j1, double, 17)
ONE_OF(y0, double, 17)
ONE_OF(y1, double, 17)
TWO(atan2)
TWO(copysign)
TWO(fdim)
TWO(fmax)
TWO(fmin)
TWO(fmod)
TWO(hypot)
TWO(nextafter)
TWO(nexttoward)
TWO(pow)
TWO(remainder)
WHOLE(llrint)
WHOLE(llround)
WHOLE(lrint)
WHOLE(lround)
