/* <math.h>: functions with several results or other arguments, and the macros */
#include "probe.h"
#include <math.h>
#include <float.h>

#define PRINT(value) printf("%s = %.20Lg\n", #value, (long double)(value))
#define THREE_TYPES(macro, name) macro(name, double) macro(name##f, float) macro(name##l, long double)

#define FMA(name, type) PROBE(name) { volatile type x = 1.5, y = 2.25, z = -3.375; PRINT(name(x, y, z)); x = 1 + 0x1p-20; PRINT(name(x, x, -1)); PRINT(name(INFINITY, y, z)); }
THREE_TYPES(FMA, fma)
#define FREXP(name, type) PROBE(name) { int e; PRINT(name((type)96.0, &e)); INT(e); PRINT(name((type)-0.1875, &e)); INT(e); PRINT(name((type)0, &e)); INT(e); }
THREE_TYPES(FREXP, frexp)
#define ILOGB(name, type) PROBE(name) { INT(name((type)1)); INT(name((type)0.1)); INT(name((type)1e30)); INT(name((type)0) == FP_ILOGB0); INT(name((type)NAN) == FP_ILOGBNAN); }
THREE_TYPES(ILOGB, ilogb)
#define LDEXP(name, type) PROBE(name) { PRINT(name((type)0.75, 5)); PRINT(name((type)1, -2000)); PRINT(name((type)-3, 2)); errno = 0; INT(isinf(name((type)1, 99999))); INT(errno == ERANGE); }
THREE_TYPES(LDEXP, ldexp)
THREE_TYPES(LDEXP, scalbn)
THREE_TYPES(LDEXP, scalbln)
#define MODF(name, type) PROBE(name) { type whole; PRINT(name((type)3.25, &whole)); PRINT(whole); PRINT(name((type)-0.5, &whole)); PRINT(whole); PRINT(name((type)INFINITY, &whole)); PRINT(whole); }
THREE_TYPES(MODF, modf)
#define NOT_A_NUMBER(name, type) PROBE(name) { INT(isnan(name(""))); INT(isnan(name("1"))); INT(name("0x123") != name("0x123")); }
THREE_TYPES(NOT_A_NUMBER, nan)
#define REMQUO(name, type) PROBE(name) { int q; PRINT(name((type)29, (type)3, &q)); INT(q & 7); PRINT(name((type)-7.5, (type)2, &q)); INT(q < 0); PRINT(name((type)5, (type)INFINITY, &q)); }
THREE_TYPES(REMQUO, remquo)

#define KIND(name) PROBE(name) { INT(!!name(0.0)); INT(!!name(-1.5f)); INT(!!name(1.0L)); INT(!!name(INFINITY)); INT(!!name(-NAN)); INT(!!name(DBL_MIN / 2)); INT(!!name(-0.0)); }
KIND(isfinite)
KIND(isinf)
KIND(isnan)
KIND(isnormal)
PROBE(signbit) { INT(!!signbit(-0.0)); INT(!!signbit(0.0)); INT(!!signbit(-1.0f)); INT(!!signbit(-INFINITY)); INT(!!signbit(2.0L)); }
PROBE(fpclassify) { INT(fpclassify(0.0) == FP_ZERO); INT(fpclassify(1.0f) == FP_NORMAL); INT(fpclassify(DBL_MIN / 4) == FP_SUBNORMAL); INT(fpclassify(NAN) == FP_NAN); INT(fpclassify(-INFINITY) == FP_INFINITE); INT(fpclassify(LDBL_MIN / 2) == FP_SUBNORMAL); }
#define COMPARE(name) PROBE(name) { volatile double a = 1, b = 2, n = NAN; INT(name(a, b)); INT(name(b, a)); INT(name(a, a)); INT(name(a, n)); INT(name(INFINITY, b)); }
COMPARE(isgreater)
COMPARE(isgreaterequal)
COMPARE(isless)
COMPARE(islessequal)
COMPARE(islessgreater)
COMPARE(isunordered)
PROBE(jn) { for (int n = -1; n < 4; n++) REAL(jn(n, 2.5)); }
PROBE(yn) { for (int n = 0; n < 4; n++) REAL(yn(n, 2.5)); REAL(yn(1, 0.0)); }
PROBE(signgam) { REAL(lgamma(-0.5)); INT(signgam); REAL(lgamma(2.5)); INT(signgam); REAL(lgamma(-1.5)); INT(signgam); }
