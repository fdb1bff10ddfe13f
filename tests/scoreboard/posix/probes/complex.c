/* <complex.h> */
#include "probe.h"
#include <complex.h>
#include <math.h>

static const double parts[][2] = {{0, 0}, {1, 0}, {-1, 0}, {0.5, -0.25}, {-2, 3}, {0, 1}, {1e-3, 40}, {INFINITY, 1}};
#define EACH(i) for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)

static void show(const char *name, long double real, long double imaginary, int digits)
{
    char texts[2][64];
    long double values[2] = {real, imaginary};

    for (int i = 0; i < 2; i++)
        if (isnan(values[i]))
            strcpy(texts[i], "nan");
        else
            snprintf(texts[i], sizeof texts[i], "%.*Lg", digits, values[i]);
    printf("%s: %s %s\n", name, texts[0], texts[1]);
}

#define ONE_OF(name, type, digits) PROBE(name) { EACH(i) { volatile type complex z = CMPLX(parts[i][0], parts[i][1]); long double complex r = name(z); show(#name, creall(r), cimagl(r), digits); } }
#define ONE(name) ONE_OF(name, double, 17) ONE_OF(name##f, float, 9) ONE_OF(name##l, long double, 20)
#define POWER(name, type, digits) PROBE(name) { EACH(i) { volatile type complex z = CMPLX(parts[i][0], parts[i][1]), w = CMPLX(1.5, -0.5); long double complex r = name(z, w); show(#name, creall(r), cimagl(r), digits); } }

ONE(cabs)
ONE(cacos)
ONE(cacosh)
ONE(carg)
ONE(casin)
ONE(casinh)
ONE(catan)
ONE(catanh)
ONE(ccos)
ONE(ccosh)
ONE(cexp)
ONE(cimag)
ONE(clog)
ONE(conj)
ONE(cproj)
ONE(creal)
ONE(csin)
ONE(csinh)
ONE(csqrt)
ONE(ctan)
ONE(ctanh)
POWER(cpow, double, 17)
POWER(cpowf, float, 9)
POWER(cpowl, long double, 20)
PROBE(CMPLX) { double complex z = CMPLX(-0.0, INFINITY); INT(!!signbit(creal(z))); INT(isinf(cimag(z)) != 0); REAL(cimag(CMPLX(1, 2))); }
PROBE(CMPLXF) { float complex z = CMPLXF(1.5f, -0.0f); REAL(crealf(z)); INT(!!signbit(cimagf(z))); }
PROBE(CMPLXL) { long double complex z = CMPLXL(2.5L, 3.5L); LONG(creall(z)); LONG(cimagl(z)); }
