/* <pthread.h>: threads, mutexes, conditions, keys */
#include "probe.h"
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <limits.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static int ready;

static void *doubled(void *argument) { return (void *)(2 * (long)argument); }
static long joined(void *(*work)(void *), void *argument) { pthread_t t; void *r; pthread_create(&t, NULL, work, argument); pthread_join(t, &r); return (long)r; }
static struct timespec soon(clockid_t clock, long ms) { struct timespec t; clock_gettime(clock, &t); t.tv_nsec += ms * 1000000; t.tv_sec += t.tv_nsec / 1000000000; t.tv_nsec %= 1000000000; return t; }
static void *try_mutex(void *m) { int r = pthread_mutex_trylock(m); if (!r) pthread_mutex_unlock(m); return (void *)(long)r; }

static void before(void) { puts("prepare"); }
static void parent(void) { int status; wait(&status); puts("parent"); }
static void child(void) { puts("child"); fflush(stdout); }
PROBE(pthread_atfork) { INT(pthread_atfork(before, parent, child)); fflush(stdout); if (!fork()) _exit(0); }
PROBE(pthread_attr_init) { pthread_attr_t a; int v; INT(pthread_attr_init(&a)); pthread_attr_getdetachstate(&a, &v); INT(v == PTHREAD_CREATE_JOINABLE); }
PROBE(pthread_attr_destroy) { pthread_attr_t a; pthread_attr_init(&a); INT(pthread_attr_destroy(&a)); }
PROBE(pthread_attr_setdetachstate) { pthread_attr_t a; pthread_t t; pthread_attr_init(&a); INT(pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED)); INT(pthread_create(&t, &a, doubled, NULL)); INT(pthread_attr_setdetachstate(&a, 77)); }
PROBE(pthread_attr_getdetachstate) { pthread_attr_t a; int v; pthread_attr_init(&a); pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED); INT(pthread_attr_getdetachstate(&a, &v)); INT(v == PTHREAD_CREATE_DETACHED); }
PROBE(pthread_attr_setguardsize) { pthread_attr_t a; pthread_t t; pthread_attr_init(&a); INT(pthread_attr_setguardsize(&a, 65536)); INT(pthread_create(&t, &a, doubled, NULL)); pthread_join(t, NULL); }
PROBE(pthread_attr_getguardsize) { pthread_attr_t a; size_t v; pthread_attr_init(&a); INT(pthread_attr_getguardsize(&a, &v)); INT(v); pthread_attr_setguardsize(&a, 5000); pthread_attr_getguardsize(&a, &v); INT(v); }
PROBE(pthread_attr_setinheritsched) { pthread_attr_t a; pthread_attr_init(&a); INT(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED)); INT(pthread_attr_setinheritsched(&a, 99)); }
PROBE(pthread_attr_getinheritsched) { pthread_attr_t a; int v; pthread_attr_init(&a); INT(pthread_attr_getinheritsched(&a, &v)); INT(v == PTHREAD_INHERIT_SCHED); }
PROBE(pthread_attr_setschedparam) { pthread_attr_t a; struct sched_param p = {0}; pthread_attr_init(&a); INT(pthread_attr_setschedparam(&a, &p)); p.sched_priority = 1000; INT(pthread_attr_setschedparam(&a, &p)); }
PROBE(pthread_attr_getschedparam) { pthread_attr_t a; struct sched_param p = {7}; pthread_attr_init(&a); INT(pthread_attr_getschedparam(&a, &p)); INT(p.sched_priority); }
PROBE(pthread_attr_setschedpolicy) { pthread_attr_t a; pthread_attr_init(&a); INT(pthread_attr_setschedpolicy(&a, SCHED_RR)); INT(pthread_attr_setschedpolicy(&a, 99)); }
PROBE(pthread_attr_getschedpolicy) { pthread_attr_t a; int v; pthread_attr_init(&a); pthread_attr_setschedpolicy(&a, SCHED_FIFO); INT(pthread_attr_getschedpolicy(&a, &v)); INT(v == SCHED_FIFO); }
PROBE(pthread_attr_setscope) { pthread_attr_t a; pthread_attr_init(&a); INT(pthread_attr_setscope(&a, PTHREAD_SCOPE_SYSTEM)); INT(pthread_attr_setscope(&a, PTHREAD_SCOPE_PROCESS)); INT(pthread_attr_setscope(&a, 99)); }
PROBE(pthread_attr_getscope) { pthread_attr_t a; int v; pthread_attr_init(&a); INT(pthread_attr_getscope(&a, &v)); INT(v == PTHREAD_SCOPE_SYSTEM); }
static void *address(void *argument) { int here; return (void *)(long)((char *)&here >= (char *)argument && (char *)&here < (char *)argument + 262144); }
PROBE(pthread_attr_setstack) { static char memory[262144] __attribute__((aligned(4096))); pthread_attr_t a; pthread_t t; void *r; pthread_attr_init(&a); INT(pthread_attr_setstack(&a, memory, sizeof memory)); pthread_create(&t, &a, address, memory); pthread_join(t, &r); INT(r); INT(pthread_attr_setstack(&a, memory, 10)); }
PROBE(pthread_attr_getstack) { static char memory[262144]; pthread_attr_t a; void *p; size_t n; pthread_attr_init(&a); pthread_attr_setstack(&a, memory, sizeof memory); INT(pthread_attr_getstack(&a, &p, &n)); INT(p == memory); INT(n); }
static void *big_frame(void *argument) { volatile char block[900000]; memset((void *)block, 1, sizeof block); return (void *)(long)block[5]; }
PROBE(pthread_attr_setstacksize) { pthread_attr_t a; pthread_t t; void *r; pthread_attr_init(&a); INT(pthread_attr_setstacksize(&a, 1 << 20)); pthread_create(&t, &a, big_frame, NULL); pthread_join(t, &r); INT(r); INT(pthread_attr_setstacksize(&a, 10)); }
PROBE(pthread_attr_getstacksize) { pthread_attr_t a; size_t v; pthread_attr_init(&a); INT(pthread_attr_getstacksize(&a, &v)); INT(v > 65536); pthread_attr_setstacksize(&a, 99 * 4096); pthread_attr_getstacksize(&a, &v); INT(v); }
static void *forever(void *argument) { for (;;) { struct timespec t = {1, 0}; nanosleep(&t, NULL); } }
PROBE(pthread_cancel) { pthread_t t; void *r; pthread_create(&t, NULL, forever, NULL); INT(pthread_cancel(t)); pthread_join(t, &r); INT(r == PTHREAD_CANCELED); }
static void cleanup(void *argument) { printf("cleanup %s\n", (char *)argument); }
static void *cleaning(void *argument) { pthread_cleanup_push(cleanup, "one"); pthread_cleanup_push(cleanup, "two"); pthread_exit((void *)5); pthread_cleanup_pop(0); pthread_cleanup_pop(0); return NULL; }
PROBE(pthread_cleanup_push) { INT(joined(cleaning, NULL)); }
static void *popping(void *argument) { pthread_cleanup_push(cleanup, "run"); pthread_cleanup_pop(1); pthread_cleanup_push(cleanup, "not run"); pthread_cleanup_pop(0); return NULL; }
PROBE(pthread_cleanup_pop) { INT(joined(popping, NULL)); }
static void *waiting(void *argument) { pthread_mutex_lock(&mutex); while (!ready) pthread_cond_wait(&cond, &mutex); pthread_mutex_unlock(&mutex); return (void *)1; }
static void three_waiters(int (*wake)(pthread_cond_t *), int times) { pthread_t t[3]; long sum = 0; for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, waiting, NULL); usleep(20000); pthread_mutex_lock(&mutex); ready = 1; for (int i = 0; i < times; i++) INT(wake(&cond)); pthread_mutex_unlock(&mutex); for (int i = 0; i < 3; i++) { void *r; pthread_join(t[i], &r); sum += (long)r; } INT(sum); }
PROBE(pthread_cond_broadcast) { three_waiters(pthread_cond_broadcast, 1); }
PROBE(pthread_cond_signal) { three_waiters(pthread_cond_signal, 3); }
PROBE(pthread_cond_wait) { pthread_t t; pthread_create(&t, NULL, waiting, NULL); pthread_mutex_lock(&mutex); ready = 1; pthread_cond_signal(&cond); pthread_mutex_unlock(&mutex); void *r; pthread_join(t, &r); INT(r); }
PROBE(pthread_cond_timedwait) { struct timespec t = soon(CLOCK_REALTIME, 20), bad = {0, -1}; pthread_mutex_lock(&mutex); INT(pthread_cond_timedwait(&cond, &mutex, &t)); INT(joined(try_mutex, &mutex)); INT(pthread_cond_timedwait(&cond, &mutex, &bad)); }
PROBE(pthread_cond_clockwait) { struct timespec t = soon(CLOCK_MONOTONIC, 20); pthread_mutex_lock(&mutex); INT(pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &t)); INT(pthread_cond_clockwait(&cond, &mutex, 77, &t)); }
PROBE(pthread_cond_init) { pthread_cond_t c; INT(pthread_cond_init(&c, NULL)); INT(pthread_cond_signal(&c)); }
PROBE(pthread_cond_destroy) { pthread_cond_t c; pthread_cond_init(&c, NULL); INT(pthread_cond_destroy(&c)); INT(pthread_cond_init(&c, NULL)); }
PROBE(pthread_condattr_init) { pthread_condattr_t a; int v; INT(pthread_condattr_init(&a)); pthread_condattr_getpshared(&a, &v); INT(v == PTHREAD_PROCESS_PRIVATE); }
PROBE(pthread_condattr_destroy) { pthread_condattr_t a; pthread_condattr_init(&a); INT(pthread_condattr_destroy(&a)); }
PROBE(pthread_condattr_setclock) { pthread_condattr_t a; pthread_cond_t c; struct timespec t = soon(CLOCK_MONOTONIC, 20); pthread_condattr_init(&a); INT(pthread_condattr_setclock(&a, CLOCK_MONOTONIC)); pthread_cond_init(&c, &a); pthread_mutex_lock(&mutex); INT(pthread_cond_timedwait(&c, &mutex, &t)); INT(pthread_condattr_setclock(&a, CLOCK_PROCESS_CPUTIME_ID)); }
PROBE(pthread_condattr_getclock) { pthread_condattr_t a; clockid_t c; pthread_condattr_init(&a); INT(pthread_condattr_getclock(&a, &c)); INT(c); pthread_condattr_setclock(&a, CLOCK_MONOTONIC); pthread_condattr_getclock(&a, &c); INT(c); }
PROBE(pthread_condattr_setpshared) { pthread_condattr_t a; pthread_condattr_init(&a); INT(pthread_condattr_setpshared(&a, PTHREAD_PROCESS_SHARED)); INT(pthread_condattr_setpshared(&a, 99)); }
PROBE(pthread_condattr_getpshared) { pthread_condattr_t a; int v; pthread_condattr_init(&a); pthread_condattr_setpshared(&a, PTHREAD_PROCESS_SHARED); INT(pthread_condattr_getpshared(&a, &v)); INT(v); }
PROBE(pthread_create) { pthread_t t[20]; long sum = 0; for (long i = 0; i < 20; i++) INT(pthread_create(&t[i], NULL, doubled, (void *)i)); for (int i = 0; i < 20; i++) { void *r; pthread_join(t[i], &r); sum += (long)r; } INT(sum); }
static void *set_ready(void *argument) { __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST); return NULL; }
PROBE(pthread_detach) { pthread_t t; pthread_create(&t, NULL, set_ready, NULL); INT(pthread_detach(t)); while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST)) usleep(1000); INT(ready); }
static void *same(void *other) { return (void *)(long)!!pthread_equal(pthread_self(), *(pthread_t *)other); }
PROBE(pthread_equal) { pthread_t self = pthread_self(); INT(!!pthread_equal(self, pthread_self())); INT(joined(same, &self)); }
static void *exiting(void *argument) { pthread_exit((void *)33); }
PROBE(pthread_exit) { INT(joined(exiting, NULL)); pthread_exit(NULL); }
PROBE(pthread_getcpuclockid) { clockid_t c; struct timespec t; INT(pthread_getcpuclockid(pthread_self(), &c)); INT(clock_gettime(c, &t)); INT(t.tv_sec); }
PROBE(pthread_getschedparam) { int policy; struct sched_param p; INT(pthread_getschedparam(pthread_self(), &policy, &p)); INT(policy); INT(p.sched_priority); }
PROBE(pthread_setschedparam) { struct sched_param p = {0}; INT(pthread_setschedparam(pthread_self(), SCHED_OTHER, &p)); p.sched_priority = 99999; INT(pthread_setschedparam(pthread_self(), SCHED_FIFO, &p)); INT(pthread_setschedparam(pthread_self(), 99, &p)); }
PROBE(pthread_setschedprio) { INT(pthread_setschedprio(pthread_self(), 0)); INT(pthread_setschedprio(pthread_self(), 99)); }
PROBE(pthread_join) { pthread_t t; void *r; pthread_create(&t, NULL, doubled, (void *)21); INT(pthread_join(t, &r)); INT(r); INT(pthread_join(pthread_self(), NULL)); }
static void destroyed(void *value) { printf("destructor %s\n", (char *)value); }
static void *with_key(void *argument) { INT(pthread_getspecific(key) == NULL); INT(pthread_setspecific(key, "mine")); TEXT(pthread_getspecific(key)); return NULL; }
PROBE(pthread_key_create) { INT(pthread_key_create(&key, destroyed)); INT(joined(with_key, NULL)); }
PROBE(pthread_key_delete) { pthread_key_create(&key, destroyed); pthread_setspecific(key, "x"); INT(pthread_key_delete(key)); INT(pthread_setspecific(key, "y")); }
PROBE(pthread_getspecific) { pthread_key_create(&key, NULL); INT(pthread_getspecific(key) == NULL); pthread_setspecific(key, "main"); joined(with_key, NULL); TEXT(pthread_getspecific(key)); }
PROBE(pthread_setspecific) { pthread_key_create(&key, destroyed); INT(joined(with_key, NULL)); INT(pthread_setspecific(999, NULL)); }
static void once(void) { puts("once"); }
PROBE(pthread_once) { pthread_once_t o = PTHREAD_ONCE_INIT; INT(pthread_once(&o, once)); INT(pthread_once(&o, once)); }
PROBE(pthread_self) { INT(pthread_self() == pthread_self()); }
static void *uncancelled(void *argument) { int old; INT(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old)); INT(old == PTHREAD_CANCEL_ENABLE); pthread_cancel(pthread_self()); pthread_testcancel(); INT(pthread_setcancelstate(99, &old)); pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL); pthread_testcancel(); return NULL; }
PROBE(pthread_setcancelstate) { INT(joined(uncancelled, NULL)); }
static void *spinning(void *argument) { int old; INT(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old)); INT(old == PTHREAD_CANCEL_DEFERRED); __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST); for (volatile int i = 0;; i++) continue; }
PROBE(pthread_setcanceltype) { pthread_t t; void *r; pthread_create(&t, NULL, spinning, NULL); while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST)) usleep(1000); pthread_cancel(t); pthread_join(t, &r); INT(r == PTHREAD_CANCELED); INT(pthread_setcanceltype(77, NULL)); }
static void *testing(void *argument) { pthread_testcancel(); puts("still here"); pthread_cancel(pthread_self()); pthread_testcancel(); puts("never"); return NULL; }
PROBE(pthread_testcancel) { INT(joined(testing, NULL)); }
