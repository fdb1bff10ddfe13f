/* <threads.h>, <semaphore.h>, <sched.h> */
#include "probe.h"
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>

static mtx_t mutex;
static cnd_t cond;
static tss_t key;
static int ready;
static sem_t sem;
static char name[64];

static struct timespec soon(clockid_t clock, long ms) { struct timespec t; clock_gettime(clock, &t); t.tv_nsec += ms * 1000000; t.tv_sec += t.tv_nsec / 1000000000; t.tv_nsec %= 1000000000; return t; }
static int joined(int (*work)(void *), void *argument) { thrd_t t; int r = -1; thrd_create(&t, work, argument); thrd_join(t, &r); return r; }
static int doubled(void *argument) { return 2 * *(int *)argument; }
static int try_mutex(void *m) { return mtx_trylock(m) == thrd_busy; }
static int waiting(void *argument) { mtx_lock(&mutex); while (!ready) cnd_wait(&cond, &mutex); mtx_unlock(&mutex); return 5; }
static void waiters(int (*wake)(cnd_t *), int times) { thrd_t t[2]; int sum = 0, r; mtx_init(&mutex, mtx_plain); cnd_init(&cond); for (int i = 0; i < 2; i++) thrd_create(&t[i], waiting, NULL); usleep(20000); mtx_lock(&mutex); ready = 1; for (int i = 0; i < times; i++) INT(wake(&cond) == thrd_success); mtx_unlock(&mutex); for (int i = 0; i < 2; i++) { thrd_join(t[i], &r); sum += r; } INT(sum); }

static void once(void) { puts("once"); }
PROBE(call_once) { once_flag f = ONCE_FLAG_INIT; call_once(&f, once); call_once(&f, once); }
PROBE(cnd_broadcast) { waiters(cnd_broadcast, 1); }
PROBE(cnd_signal) { waiters(cnd_signal, 2); }
PROBE(cnd_wait) { waiters(cnd_broadcast, 2); INT(mtx_lock(&mutex) == thrd_success); }
PROBE(cnd_init) { INT(cnd_init(&cond) == thrd_success); INT(cnd_signal(&cond) == thrd_success); }
PROBE(cnd_destroy) { cnd_init(&cond); cnd_destroy(&cond); INT(cnd_init(&cond) == thrd_success); }
PROBE(cnd_timedwait) { struct timespec t = soon(CLOCK_REALTIME, 20); mtx_init(&mutex, mtx_plain); cnd_init(&cond); mtx_lock(&mutex); INT(cnd_timedwait(&cond, &mutex, &t) == thrd_timedout); INT(joined(try_mutex, &mutex)); }
PROBE(mtx_init) { INT(mtx_init(&mutex, mtx_plain) == thrd_success); INT(mtx_init(&mutex, mtx_timed | mtx_recursive) == thrd_success); INT(mtx_init(&mutex, 99) == thrd_success); }
PROBE(mtx_destroy) { mtx_init(&mutex, mtx_plain); mtx_destroy(&mutex); INT(mtx_init(&mutex, mtx_plain) == thrd_success); }
PROBE(mtx_lock) { mtx_init(&mutex, mtx_plain | mtx_recursive); INT(mtx_lock(&mutex) == thrd_success); INT(mtx_lock(&mutex) == thrd_success); INT(joined(try_mutex, &mutex)); }
PROBE(mtx_timedlock) { struct timespec t = soon(CLOCK_REALTIME, 20); mtx_init(&mutex, mtx_timed); INT(mtx_timedlock(&mutex, &t) == thrd_success); INT(mtx_timedlock(&mutex, &t) == thrd_timedout); }
PROBE(mtx_trylock) { mtx_init(&mutex, mtx_plain); INT(mtx_trylock(&mutex) == thrd_success); INT(mtx_trylock(&mutex) == thrd_busy); }
PROBE(mtx_unlock) { mtx_init(&mutex, mtx_plain); mtx_lock(&mutex); INT(mtx_unlock(&mutex) == thrd_success); INT(joined(try_mutex, &mutex)); }
PROBE(thrd_create) { thrd_t t; int n = 21, r; INT(thrd_create(&t, doubled, &n) == thrd_success); thrd_join(t, &r); INT(r); }
static int same(void *other) { return !!thrd_equal(thrd_current(), *(thrd_t *)other); }
PROBE(thrd_current) { thrd_t me = thrd_current(); INT(!!thrd_equal(me, thrd_current())); INT(joined(same, &me)); }
PROBE(thrd_equal) { thrd_t me = thrd_current(); INT(!!thrd_equal(me, me)); INT(joined(same, &me)); }
static int set_ready(void *argument) { __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST); return 0; }
PROBE(thrd_detach) { thrd_t t; thrd_create(&t, set_ready, NULL); INT(thrd_detach(t) == thrd_success); while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST)) thrd_yield(); INT(ready); }
static int leaving(void *argument) { thrd_exit(44); }
PROBE(thrd_exit) { INT(joined(leaving, NULL)); }
PROBE(thrd_join) { thrd_t t; int n = 3, r; thrd_create(&t, doubled, &n); INT(thrd_join(t, &r) == thrd_success); INT(r); }
static void noted(int signal) { puts("signal"); }
PROBE(thrd_sleep) { struct timespec t = {0, 10000000}, rest, bad = {0, -1}; INT(thrd_sleep(&t, NULL)); signal(SIGALRM, noted); alarm(1); t.tv_sec = 5; INT(thrd_sleep(&t, &rest)); INT(rest.tv_sec < 5); INT(thrd_sleep(&bad, NULL) < -1); }
PROBE(thrd_yield) { thrd_yield(); puts("back"); }
static void destroyed(void *value) { printf("destructor %s\n", (char *)value); }
static int keyed(void *argument) { INT(tss_get(key) == NULL); INT(tss_set(key, "value") == thrd_success); TEXT(tss_get(key)); return 0; }
PROBE(tss_create) { INT(tss_create(&key, destroyed) == thrd_success); INT(joined(keyed, NULL)); }
PROBE(tss_delete) { tss_create(&key, destroyed); tss_set(key, "x"); tss_delete(key); INT(tss_set(key, "y") == thrd_success); }
PROBE(tss_get) { tss_create(&key, NULL); tss_set(key, "main"); joined(keyed, NULL); TEXT(tss_get(key)); }
PROBE(tss_set) { tss_create(&key, destroyed); INT(joined(keyed, NULL)); INT(tss_set(key, NULL) == thrd_success); }

static const char *fresh(void) { snprintf(name, sizeof name, "/probe-%d", getpid()); return name; }
PROBE(sem_init) { INT(sem_init(&sem, 0, 3)); INT(sem_trywait(&sem)); CALL(sem_init(&sem, 0, 0x80000000)); sem_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0); sem_init(shared, 1, 0); if (!fork()) { sem_post(shared); _exit(0); } INT(sem_wait(shared)); }
PROBE(sem_destroy) { sem_init(&sem, 0, 1); INT(sem_destroy(&sem)); }
PROBE(sem_getvalue) { int v; sem_init(&sem, 0, 2); INT(sem_getvalue(&sem, &v)); INT(v); sem_wait(&sem); sem_getvalue(&sem, &v); INT(v); }
PROBE(sem_post) { int v; sem_init(&sem, 0, 0); INT(sem_post(&sem)); sem_getvalue(&sem, &v); INT(v); sem_init(&sem, 0, 0x7fffffff); CALL(sem_post(&sem)); }
PROBE(sem_wait) { sem_init(&sem, 0, 1); INT(sem_wait(&sem)); struct sigaction act = {.sa_handler = noted}; sigaction(SIGALRM, &act, NULL); alarm(1); CALL(sem_wait(&sem)); }
PROBE(sem_trywait) { sem_init(&sem, 0, 1); CALL(sem_trywait(&sem)); CALL(sem_trywait(&sem)); }
PROBE(sem_timedwait) { struct timespec t = soon(CLOCK_REALTIME, 20), bad = {0, -1}; sem_init(&sem, 0, 1); CALL(sem_timedwait(&sem, &bad)); CALL(sem_timedwait(&sem, &t)); CALL(sem_timedwait(&sem, &bad)); }
PROBE(sem_clockwait) { struct timespec t = soon(CLOCK_MONOTONIC, 20); sem_init(&sem, 0, 0); CALL(sem_clockwait(&sem, CLOCK_MONOTONIC, &t)); CALL(sem_clockwait(&sem, 77, &t)); }
PROBE(sem_open) { sem_t *s = sem_open(fresh(), O_CREAT | O_EXCL, 0600, 2); INT(s != SEM_FAILED); INT(sem_open(name, O_CREAT | O_EXCL, 0600, 1) == SEM_FAILED); INT(errno); INT(sem_open(name, 0) == s); sem_unlink(name); INT(sem_open(name, 0) == SEM_FAILED); INT(errno); INT(sem_open("/a/b", O_CREAT, 0600, 1) == SEM_FAILED); INT(errno); }
PROBE(sem_close) { sem_t *s = sem_open(fresh(), O_CREAT, 0600, 0); sem_unlink(name); CALL(sem_close(s)); }
PROBE(sem_unlink) { sem_open(fresh(), O_CREAT, 0600, 0); CALL(sem_unlink(name)); CALL(sem_unlink(name)); }

PROBE(sched_get_priority_max) { INT(sched_get_priority_max(SCHED_FIFO)); INT(sched_get_priority_max(SCHED_OTHER)); CALL(sched_get_priority_max(99)); }
PROBE(sched_get_priority_min) { INT(sched_get_priority_min(SCHED_RR)); INT(sched_get_priority_min(SCHED_OTHER)); CALL(sched_get_priority_min(99)); }
PROBE(sched_getparam) { struct sched_param p = {9}; CALL(sched_getparam(0, &p)); INT(p.sched_priority); CALL(sched_getparam(99999999, &p)); CALL(sched_getparam(-1, &p)); }
PROBE(sched_getscheduler) { INT(sched_getscheduler(0)); CALL(sched_getscheduler(99999999)); CALL(sched_getscheduler(-1)); }
PROBE(sched_rr_get_interval) { struct timespec t; CALL(sched_rr_get_interval(0, &t)); INT(t.tv_sec); CALL(sched_rr_get_interval(99999999, &t)); }
PROBE(sched_setparam) { struct sched_param p = {0}; CALL(sched_setparam(0, &p)); p.sched_priority = 50; CALL(sched_setparam(0, &p)); CALL(sched_setparam(99999999, &p)); }
PROBE(sched_setscheduler) { struct sched_param p = {0}; INT(sched_setscheduler(0, SCHED_OTHER, &p)); CALL(sched_setscheduler(0, 99, &p)); p.sched_priority = 1000; CALL(sched_setscheduler(0, SCHED_RR, &p)); p.sched_priority = 5; CALL(sched_setscheduler(0, SCHED_FIFO, &p)); INT(sched_getscheduler(0)); p.sched_priority = 0; CALL(sched_setscheduler(0, SCHED_OTHER, &p)); setuid(65534); p.sched_priority = 5; CALL(sched_setscheduler(0, SCHED_FIFO, &p)); }
PROBE(sched_yield) { CALL(sched_yield()); }
