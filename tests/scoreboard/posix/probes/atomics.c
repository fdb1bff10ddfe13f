/* <stdatomic.h>, <stdarg.h>, <assert.h>, <errno.h>, <endian.h>, <inttypes.h>, <fenv.h> */
#include "probe.h"
#include <assert.h>
#include <endian.h>
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <wchar.h>

static atomic_int number = 10;
static atomic_llong big = 1LL << 40;
static atomic_flag flag = ATOMIC_FLAG_INIT;

#define EXCHANGE(name, ...) PROBE(name) { int expected = 10; INT(name(&number, &expected, 20 __VA_ARGS__)); INT(number); INT(name(&number, &expected, 30 __VA_ARGS__)); INT(expected); INT(number); }
EXCHANGE(atomic_compare_exchange_strong)
EXCHANGE(atomic_compare_exchange_strong_explicit, , memory_order_seq_cst, memory_order_relaxed)
EXCHANGE(atomic_compare_exchange_weak)
EXCHANGE(atomic_compare_exchange_weak_explicit, , memory_order_acq_rel, memory_order_acquire)
#define FETCH(name, ...) PROBE(name) { INT(name(&number, 6 __VA_ARGS__)); INT(number); INT(name(&big, 3 __VA_ARGS__)); INT(big); }
FETCH(atomic_exchange)
FETCH(atomic_exchange_explicit, , memory_order_release)
FETCH(atomic_fetch_add)
FETCH(atomic_fetch_add_explicit, , memory_order_relaxed)
FETCH(atomic_fetch_and)
FETCH(atomic_fetch_and_explicit, , memory_order_relaxed)
FETCH(atomic_fetch_or)
FETCH(atomic_fetch_or_explicit, , memory_order_acq_rel)
FETCH(atomic_fetch_sub)
FETCH(atomic_fetch_sub_explicit, , memory_order_seq_cst)
FETCH(atomic_fetch_xor)
FETCH(atomic_fetch_xor_explicit, , memory_order_acquire)
static void *adding(void *argument) { for (int i = 0; i < 5000; i++) atomic_fetch_add(&number, 1); return NULL; }
PROBE(atomic_flag_test_and_set) { INT(atomic_flag_test_and_set(&flag)); INT(atomic_flag_test_and_set(&flag)); }
PROBE(atomic_flag_test_and_set_explicit) { INT(atomic_flag_test_and_set_explicit(&flag, memory_order_acquire)); INT(atomic_flag_test_and_set_explicit(&flag, memory_order_acquire)); }
PROBE(atomic_flag_clear) { atomic_flag_test_and_set(&flag); atomic_flag_clear(&flag); INT(atomic_flag_test_and_set(&flag)); }
PROBE(atomic_flag_clear_explicit) { atomic_flag_test_and_set(&flag); atomic_flag_clear_explicit(&flag, memory_order_release); INT(atomic_flag_test_and_set(&flag)); }
PROBE(atomic_init) { atomic_long l; atomic_init(&l, 77); INT(atomic_load(&l)); }
PROBE(atomic_is_lock_free) { INT(atomic_is_lock_free(&number)); INT(atomic_is_lock_free(&big)); }
PROBE(atomic_load) { pthread_t t[3]; for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, adding, NULL); for (int i = 0; i < 3; i++) pthread_join(t[i], NULL); INT(atomic_load(&number)); }
PROBE(atomic_load_explicit) { INT(atomic_load_explicit(&big, memory_order_acquire)); }
PROBE(atomic_store) { atomic_store(&number, -5); INT(number); }
PROBE(atomic_store_explicit) { atomic_store_explicit(&big, 9, memory_order_release); INT(big); }
PROBE(atomic_signal_fence) { number = 3; atomic_signal_fence(memory_order_seq_cst); INT(number); }
PROBE(atomic_thread_fence) { number = 4; atomic_thread_fence(memory_order_seq_cst); INT(number); }
PROBE(kill_dependency) { INT(kill_dependency(41) + 1); }

static int sum(int count, ...) { va_list list, again; va_start(list, count); va_copy(again, list); int total = 0; for (int i = 0; i < count; i++) total += va_arg(list, int); for (int i = 0; i < count; i++) total += 100 * va_arg(again, int); va_end(again); va_end(list); return total; }
static double mixed(const char *types, ...) { va_list list; double total = 0; va_start(list, types); for (; *types; types++) total += *types == 'd' ? va_arg(list, double) : *types == 'L' ? (double)va_arg(list, long double) : *types == 'l' ? va_arg(list, long) : va_arg(list, int); va_end(list); return total; }
PROBE(va_arg) { REAL(mixed("idlLdidl", 1, 2.5, 3L, 4.25L, 5.0, 6, 7.5, 8L)); }
PROBE(va_copy) { INT(sum(8, 1, 2, 3, 4, 5, 6, 7, 8)); }
PROBE(va_end) { INT(sum(0)); INT(sum(1, 9)); }
PROBE(va_start) { REAL(mixed("")); REAL(mixed("ddddddddddd", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0)); }
PROBE(assert) { assert(1 + 1 == 2); puts("true passes"); fflush(stdout); dup2(1, 2); program_invocation_short_name = "probe"; assert(!"reached"); }
static void *own_errno(void *argument) { INT(errno); errno = 5; return NULL; }
PROBE(errno) { pthread_t t; errno = 33; pthread_create(&t, NULL, own_errno, NULL); pthread_join(t, NULL); INT(errno); close(-1); INT(errno); }

#define SWAP(name, value) PROBE(name) { printf("%llx\n", (unsigned long long)name(value)); INT(name(0)); }
SWAP(be16toh, 0x1234)
SWAP(be32toh, 0x12345678)
SWAP(be64toh, 0x123456789abcdef0)
SWAP(htobe16, 0xff00)
SWAP(htobe32, 0xff000001)
SWAP(htobe64, 0xff00000000000002)
SWAP(htole16, 0x1234)
SWAP(htole32, 0x12345678)
SWAP(htole64, 0x123456789abcdef0)
SWAP(le16toh, 0xabcd)
SWAP(le32toh, 0xabcdef01)
SWAP(le64toh, 0xabcdef0123456789)

PROBE(imaxabs) { INT(imaxabs(INTMAX_MIN + 1)); }
PROBE(imaxdiv) { imaxdiv_t d = imaxdiv(-1000000000001, 10); INT(d.quot); INT(d.rem); }
PROBE(strtoimax) { char *end; INT(strtoimax("-0x7fz", &end, 0)); TEXT(end); INT(strtoimax("99999999999999999999", NULL, 10) == INTMAX_MAX); INT(errno); }
PROBE(strtoumax) { printf("%ju\n", strtoumax("18446744073709551615", NULL, 10)); printf("%ju\n", strtoumax("-2", NULL, 10)); }
PROBE(wcstoimax) { INT(wcstoimax(L"-777", NULL, 8)); INT(wcstoimax(L"-99999999999999999999", NULL, 10) == INTMAX_MIN); INT(errno); }
PROBE(wcstoumax) { printf("%ju\n", wcstoumax(L"0xffffffffffffffff", NULL, 16)); }

PROBE(feclearexcept) { INT(feclearexcept(FE_ALL_EXCEPT)); INT(fetestexcept(FE_ALL_EXCEPT)); feraiseexcept(FE_DIVBYZERO | FE_INVALID); INT(feclearexcept(FE_DIVBYZERO)); INT(fetestexcept(FE_ALL_EXCEPT) == FE_INVALID); }
PROBE(fegetenv) { fenv_t e; fesetround(FE_UPWARD); INT(fegetenv(&e)); fesetround(FE_TONEAREST); fesetenv(&e); INT(fegetround() == FE_UPWARD); }
PROBE(fegetexceptflag) { fexcept_t f; feraiseexcept(FE_OVERFLOW); INT(fegetexceptflag(&f, FE_ALL_EXCEPT)); feclearexcept(FE_ALL_EXCEPT); fesetexceptflag(&f, FE_ALL_EXCEPT); INT(!!fetestexcept(FE_OVERFLOW)); }
PROBE(fegetround) { INT(fegetround() == FE_TONEAREST); fesetround(FE_TOWARDZERO); INT(fegetround() == FE_TOWARDZERO); }
PROBE(feholdexcept) { fenv_t e; volatile double zero = 0; INT(feholdexcept(&e)); volatile double q = 1 / zero; INT(!!fetestexcept(FE_DIVBYZERO)); fesetenv(&e); INT(fetestexcept(FE_ALL_EXCEPT)); }
PROBE(feraiseexcept) { INT(feraiseexcept(FE_INVALID | FE_UNDERFLOW)); INT(fetestexcept(FE_ALL_EXCEPT) & (FE_INVALID | FE_UNDERFLOW | FE_DIVBYZERO)); }
PROBE(fesetenv) { volatile double one = 1, three = 3; fesetround(FE_DOWNWARD); feraiseexcept(FE_INEXACT); INT(fesetenv(FE_DFL_ENV)); INT(fegetround() == FE_TONEAREST); INT(fetestexcept(FE_ALL_EXCEPT)); REAL(one / three); }
PROBE(fesetexceptflag) { fexcept_t f; fegetexceptflag(&f, FE_ALL_EXCEPT); feraiseexcept(FE_DIVBYZERO); INT(fesetexceptflag(&f, FE_DIVBYZERO)); INT(fetestexcept(FE_DIVBYZERO)); }
PROBE(fesetround) { volatile double one = 1, three = 3; INT(fesetround(FE_UPWARD)); REAL(one / three); REAL(rint(0.25)); INT(fesetround(FE_DOWNWARD)); REAL(one / three); REAL(rint(-0.25)); INT(fesetround(FE_TOWARDZERO)); REAL(-one / three); INT(fesetround(0x9999) != 0); }
PROBE(fetestexcept) { volatile double one = 1, three = 3, zero = 0, big_one = 1e308; feclearexcept(FE_ALL_EXCEPT); volatile double r = one / three; INT(!!fetestexcept(FE_INEXACT)); r = one / zero; INT(!!fetestexcept(FE_DIVBYZERO)); r = zero / zero; INT(!!fetestexcept(FE_INVALID)); r = big_one * 10; INT(!!fetestexcept(FE_OVERFLOW)); }
PROBE(feupdateenv) { fenv_t e; feholdexcept(&e); feraiseexcept(FE_INVALID); INT(feupdateenv(&e)); INT(!!fetestexcept(FE_INVALID)); }
