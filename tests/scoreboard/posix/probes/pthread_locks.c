/* <pthread.h>: mutexes, read-write locks, barriers, spin locks */
#include "probe.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_barrier_t barrier;
static long counter;

static long joined(void *(*work)(void *), void *argument) { pthread_t t; void *r; pthread_create(&t, NULL, work, argument); pthread_join(t, &r); return (long)r; }
static struct timespec soon(clockid_t clock, long ms) { struct timespec t; clock_gettime(clock, &t); t.tv_nsec += ms * 1000000; t.tv_sec += t.tv_nsec / 1000000000; t.tv_nsec %= 1000000000; return t; }
static void *try_mutex(void *m) { return (void *)(long)pthread_mutex_trylock(m); }
static void *lock_mutex(void *m) { return (void *)(long)pthread_mutex_lock(m); }
static void *unlock_mutex(void *m) { return (void *)(long)pthread_mutex_unlock(m); }
static void *timed_mutex(void *m) { struct timespec t = soon(CLOCK_REALTIME, 20); return (void *)(long)pthread_mutex_timedlock(m, &t); }
static void *try_write(void *l) { return (void *)(long)pthread_rwlock_trywrlock(l); }
static void *try_read(void *l) { int r = pthread_rwlock_tryrdlock(l); if (!r) pthread_rwlock_unlock(l); return (void *)(long)r; }
static void *try_spin(void *s) { return (void *)(long)pthread_spin_trylock(s); }
static pthread_mutex_t made(int type, int robust, int protocol) { pthread_mutexattr_t a; pthread_mutex_t m; pthread_mutexattr_init(&a); pthread_mutexattr_settype(&a, type); pthread_mutexattr_setrobust(&a, robust); pthread_mutexattr_setprotocol(&a, protocol); pthread_mutex_init(&m, &a); return m; }
static void *counting(void *argument) { for (int i = 0; i < 2000; i++) { pthread_mutex_lock(&mutex); counter++; pthread_mutex_unlock(&mutex); if (i % 500 == 0) sched_yield(); } return NULL; }

PROBE(pthread_mutex_init) { pthread_mutex_t m; INT(pthread_mutex_init(&m, NULL)); INT(pthread_mutex_lock(&m)); }
PROBE(pthread_mutex_destroy) { pthread_mutex_t m; pthread_mutex_init(&m, NULL); INT(pthread_mutex_destroy(&m)); pthread_mutex_init(&m, NULL); pthread_mutex_lock(&m); INT(pthread_mutex_destroy(&m)); }
PROBE(pthread_mutex_lock) { pthread_t t[4]; for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, counting, NULL); for (int i = 0; i < 4; i++) pthread_join(t[i], NULL); INT(counter); pthread_mutex_t m = made(PTHREAD_MUTEX_ERRORCHECK, 0, 0); INT(pthread_mutex_lock(&m)); INT(pthread_mutex_lock(&m)); }
PROBE(pthread_mutex_trylock) { INT(pthread_mutex_trylock(&mutex)); INT(pthread_mutex_trylock(&mutex)); INT(joined(try_mutex, &mutex)); pthread_mutex_unlock(&mutex); INT(joined(try_mutex, &mutex)); }
PROBE(pthread_mutex_unlock) { pthread_mutex_lock(&mutex); INT(pthread_mutex_unlock(&mutex)); pthread_mutex_t m = made(PTHREAD_MUTEX_ERRORCHECK, 0, 0); INT(pthread_mutex_unlock(&m)); pthread_mutex_lock(&m); INT(joined(unlock_mutex, &m)); }
PROBE(pthread_mutex_timedlock) { INT(joined(timed_mutex, &mutex)); INT(joined(timed_mutex, &mutex)); struct timespec bad = {0, -1}; INT(pthread_mutex_timedlock(&mutex, &bad)); pthread_mutex_t pi = made(0, 0, PTHREAD_PRIO_INHERIT); pthread_mutex_lock(&pi); INT(joined(timed_mutex, &pi)); }
static void *clock_mutex(void *m) { struct timespec t = soon(CLOCK_MONOTONIC, 20); return (void *)(long)pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &t); }
PROBE(pthread_mutex_clocklock) { pthread_mutex_lock(&mutex); INT(joined(clock_mutex, &mutex)); pthread_mutex_unlock(&mutex); INT(joined(clock_mutex, &mutex)); }
PROBE(pthread_mutex_consistent) { pthread_mutex_t m = made(0, PTHREAD_MUTEX_ROBUST, 0); INT(joined(lock_mutex, &m)); INT(pthread_mutex_lock(&m)); INT(pthread_mutex_consistent(&m)); INT(pthread_mutex_unlock(&m)); INT(pthread_mutex_lock(&m)); INT(pthread_mutex_consistent(&m)); }
PROBE(pthread_mutex_getprioceiling) { int c = 0; pthread_mutex_t m = made(0, 0, PTHREAD_PRIO_PROTECT); INT(pthread_mutex_getprioceiling(&m, &c)); INT(c); INT(pthread_mutex_getprioceiling(&mutex, &c)); }
PROBE(pthread_mutex_setprioceiling) { int old; INT(pthread_mutex_setprioceiling(&mutex, 5, &old)); pthread_mutex_t m = made(0, 0, PTHREAD_PRIO_PROTECT); INT(pthread_mutex_setprioceiling(&m, 1000, &old)); }
PROBE(pthread_mutexattr_init) { pthread_mutexattr_t a; int v; INT(pthread_mutexattr_init(&a)); pthread_mutexattr_gettype(&a, &v); INT(v == PTHREAD_MUTEX_DEFAULT); }
PROBE(pthread_mutexattr_destroy) { pthread_mutexattr_t a; pthread_mutexattr_init(&a); INT(pthread_mutexattr_destroy(&a)); }
PROBE(pthread_mutexattr_getprioceiling) { pthread_mutexattr_t a; int v; pthread_mutexattr_init(&a); INT(pthread_mutexattr_getprioceiling(&a, &v)); INT(v); }
PROBE(pthread_mutexattr_setprioceiling) { pthread_mutexattr_t a; int v; pthread_mutexattr_init(&a); INT(pthread_mutexattr_setprioceiling(&a, 9)); pthread_mutexattr_getprioceiling(&a, &v); INT(v); INT(pthread_mutexattr_setprioceiling(&a, 1000)); }
PROBE(pthread_mutexattr_getprotocol) { pthread_mutexattr_t a; int v; pthread_mutexattr_init(&a); INT(pthread_mutexattr_getprotocol(&a, &v)); INT(v == PTHREAD_PRIO_NONE); }
PROBE(pthread_mutexattr_setprotocol) { pthread_mutexattr_t a; pthread_mutexattr_init(&a); INT(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT)); pthread_mutex_t m; pthread_mutex_init(&m, &a); INT(pthread_mutex_lock(&m)); INT(joined(try_mutex, &m)); INT(pthread_mutex_unlock(&m)); INT(pthread_mutexattr_setprotocol(&a, 99)); }
PROBE(pthread_mutexattr_getpshared) { pthread_mutexattr_t a; int v; pthread_mutexattr_init(&a); INT(pthread_mutexattr_getpshared(&a, &v)); INT(v); }
PROBE(pthread_mutexattr_setpshared) { pthread_mutexattr_t a; pthread_mutexattr_init(&a); INT(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED)); pthread_mutex_t *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); pthread_mutex_init(m, &a); pthread_mutex_lock(m); int status; if (!fork()) { int r = pthread_mutex_trylock(m); _exit(r); } wait(&status); INT(WEXITSTATUS(status)); }
PROBE(pthread_mutexattr_getrobust) { pthread_mutexattr_t a; int v; pthread_mutexattr_init(&a); INT(pthread_mutexattr_getrobust(&a, &v)); INT(v == PTHREAD_MUTEX_STALLED); }
PROBE(pthread_mutexattr_setrobust) { pthread_mutexattr_t a; pthread_mutexattr_init(&a); INT(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST)); INT(pthread_mutexattr_setrobust(&a, 99)); pthread_mutex_t m; pthread_mutex_init(&m, &a); joined(lock_mutex, &m); INT(pthread_mutex_trylock(&m)); INT(pthread_mutex_unlock(&m)); INT(pthread_mutex_lock(&m)); }
PROBE(pthread_mutexattr_gettype) { pthread_mutexattr_t a; int v; pthread_mutexattr_init(&a); pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE); INT(pthread_mutexattr_gettype(&a, &v)); INT(v == PTHREAD_MUTEX_RECURSIVE); }
PROBE(pthread_mutexattr_settype) { pthread_mutexattr_t a; pthread_mutexattr_init(&a); INT(pthread_mutexattr_settype(&a, 99)); pthread_mutex_t m = made(PTHREAD_MUTEX_RECURSIVE, 0, 0); INT(pthread_mutex_lock(&m)); INT(pthread_mutex_lock(&m)); INT(pthread_mutex_unlock(&m)); INT(joined(try_mutex, &m)); INT(pthread_mutex_unlock(&m)); INT(pthread_mutex_unlock(&m)); }
PROBE(pthread_rwlock_init) { pthread_rwlock_t l; INT(pthread_rwlock_init(&l, NULL)); INT(joined(try_read, &l)); }
PROBE(pthread_rwlock_destroy) { pthread_rwlock_t l; pthread_rwlock_init(&l, NULL); INT(pthread_rwlock_destroy(&l)); }
PROBE(pthread_rwlock_rdlock) { INT(pthread_rwlock_rdlock(&lock)); INT(pthread_rwlock_rdlock(&lock)); INT(joined(try_read, &lock)); INT(joined(try_write, &lock)); pthread_rwlock_unlock(&lock); pthread_rwlock_unlock(&lock); pthread_rwlock_wrlock(&lock); INT(pthread_rwlock_rdlock(&lock)); }
PROBE(pthread_rwlock_wrlock) { INT(pthread_rwlock_wrlock(&lock)); INT(joined(try_read, &lock)); INT(joined(try_write, &lock)); INT(pthread_rwlock_wrlock(&lock)); }
PROBE(pthread_rwlock_tryrdlock) { INT(pthread_rwlock_tryrdlock(&lock)); pthread_rwlock_unlock(&lock); joined(try_write, &lock); INT(pthread_rwlock_tryrdlock(&lock)); }
PROBE(pthread_rwlock_trywrlock) { INT(pthread_rwlock_trywrlock(&lock)); INT(pthread_rwlock_trywrlock(&lock)); pthread_rwlock_unlock(&lock); pthread_rwlock_rdlock(&lock); INT(joined(try_write, &lock)); }
PROBE(pthread_rwlock_timedrdlock) { struct timespec t = soon(CLOCK_REALTIME, 20); joined(try_write, &lock); INT(pthread_rwlock_timedrdlock(&lock, &t)); }
PROBE(pthread_rwlock_timedwrlock) { struct timespec t = soon(CLOCK_REALTIME, 20), bad = {0, -1}; joined(try_write, &lock); INT(pthread_rwlock_timedwrlock(&lock, &t)); INT(pthread_rwlock_timedwrlock(&lock, &bad)); }
PROBE(pthread_rwlock_clockrdlock) { struct timespec t = soon(CLOCK_MONOTONIC, 20); INT(pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &t)); pthread_rwlock_unlock(&lock); joined(try_write, &lock); INT(pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &t)); }
PROBE(pthread_rwlock_clockwrlock) { struct timespec t = soon(CLOCK_MONOTONIC, 20); joined(try_write, &lock); INT(pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &t)); INT(pthread_rwlock_clockwrlock(&lock, 99, &t)); }
PROBE(pthread_rwlock_unlock) { pthread_rwlock_rdlock(&lock); INT(pthread_rwlock_unlock(&lock)); INT(joined(try_write, &lock)); }
PROBE(pthread_rwlockattr_init) { pthread_rwlockattr_t a; pthread_rwlock_t l; INT(pthread_rwlockattr_init(&a)); INT(pthread_rwlock_init(&l, &a)); }
PROBE(pthread_rwlockattr_destroy) { pthread_rwlockattr_t a; pthread_rwlockattr_init(&a); INT(pthread_rwlockattr_destroy(&a)); }
PROBE(pthread_rwlockattr_getpshared) { pthread_rwlockattr_t a; int v; pthread_rwlockattr_init(&a); INT(pthread_rwlockattr_getpshared(&a, &v)); INT(v); }
PROBE(pthread_rwlockattr_setpshared) { pthread_rwlockattr_t a; int v; pthread_rwlockattr_init(&a); INT(pthread_rwlockattr_setpshared(&a, PTHREAD_PROCESS_SHARED)); pthread_rwlockattr_getpshared(&a, &v); INT(v); INT(pthread_rwlockattr_setpshared(&a, 99)); }
static void *meeting(void *argument) { int r = pthread_barrier_wait(&barrier); return (void *)(long)(r == PTHREAD_BARRIER_SERIAL_THREAD); }
PROBE(pthread_barrier_wait) { pthread_t t[3]; long serial = 0; pthread_barrier_init(&barrier, NULL, 3); for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, meeting, NULL); for (int i = 0; i < 3; i++) { void *r; pthread_join(t[i], &r); serial += (long)r; } INT(serial); }
PROBE(pthread_barrier_init) { INT(pthread_barrier_init(&barrier, NULL, 1)); INT(pthread_barrier_wait(&barrier)); INT(pthread_barrier_init(&barrier, NULL, 0)); }
PROBE(pthread_barrier_destroy) { pthread_barrier_init(&barrier, NULL, 1); INT(pthread_barrier_wait(&barrier)); INT(pthread_barrier_destroy(&barrier)); }
PROBE(pthread_barrierattr_init) { pthread_barrierattr_t a; INT(pthread_barrierattr_init(&a)); INT(pthread_barrier_init(&barrier, &a, 2)); }
PROBE(pthread_barrierattr_destroy) { pthread_barrierattr_t a; pthread_barrierattr_init(&a); INT(pthread_barrierattr_destroy(&a)); }
PROBE(pthread_barrierattr_getpshared) { pthread_barrierattr_t a; int v; pthread_barrierattr_init(&a); INT(pthread_barrierattr_getpshared(&a, &v)); INT(v); }
PROBE(pthread_barrierattr_setpshared) { pthread_barrierattr_t a; pthread_barrier_t *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); pthread_barrierattr_init(&a); INT(pthread_barrierattr_setpshared(&a, PTHREAD_PROCESS_SHARED)); pthread_barrier_init(b, &a, 2); int status; if (!fork()) { pthread_barrier_wait(b); _exit(0); } pthread_barrier_wait(b); wait(&status); INT(status); INT(pthread_barrierattr_setpshared(&a, 99)); }
static void *spinning(void *argument) { for (int i = 0; i < 500; i++) { pthread_spin_lock(&spin); counter++; pthread_spin_unlock(&spin); } return NULL; }
PROBE(pthread_spin_init) { INT(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE)); INT(pthread_spin_lock(&spin)); }
PROBE(pthread_spin_destroy) { pthread_spin_init(&spin, 0); INT(pthread_spin_destroy(&spin)); }
PROBE(pthread_spin_lock) { pthread_spin_init(&spin, 0); INT(pthread_spin_lock(&spin)); pthread_spin_unlock(&spin); pthread_t t[2]; for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, spinning, NULL); for (int i = 0; i < 2; i++) pthread_join(t[i], NULL); INT(counter); }
PROBE(pthread_spin_trylock) { pthread_spin_init(&spin, 0); INT(pthread_spin_trylock(&spin)); INT(joined(try_spin, &spin)); }
PROBE(pthread_spin_unlock) { pthread_spin_init(&spin, 0); pthread_spin_lock(&spin); INT(pthread_spin_unlock(&spin)); INT(joined(try_spin, &spin)); }
