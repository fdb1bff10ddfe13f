/* Threads: mutexes, conditions, thread-local storage, robust mutexes, read-write locks, cancellation. */
#include "process.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, robust;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int total, turn;
static __thread int own;

static void *count(void *argument) {
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&lock);
        total++;
        own++;
        pthread_mutex_unlock(&lock);
    }
    return (void *)((long)argument * own);
}

static void *alternate(void *argument) {
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&lock);
        while (turn != (long)argument) pthread_cond_wait(&turned, &lock);
        turn = !turn;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *die_holding(void *argument) {
    pthread_mutex_lock(&robust);
    return NULL;
}

static pthread_mutex_t inheriting;

static void *count_inheriting(void *argument) {
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&inheriting);
        int before = total;
        sched_yield();
        total = before + 1;
        pthread_mutex_unlock(&inheriting);
    }
    return NULL;
}

static void priorities(void) {
    pthread_t threads[5];
    pthread_mutexattr_t attributes;
    struct timespec soon;
    pthread_mutexattr_init(&attributes);
    V(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    V(pthread_mutex_init(&inheriting, &attributes));
    total = 0;
    for (int i = 0; i < 5; i++) pthread_create(&threads[i], NULL, count_inheriting, NULL);
    for (int i = 0; i < 5; i++) pthread_join(threads[i], NULL);
    printf("under inheritance %d\n", total);
    V(pthread_mutex_lock(&inheriting));
    V(pthread_mutex_lock(&inheriting));
    V(pthread_mutex_trylock(&inheriting));
    V(pthread_mutex_unlock(&inheriting));
    V(pthread_mutex_unlock(&inheriting));
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    pthread_create(&threads[0], NULL, die_holding, NULL);
    pthread_join(threads[0], NULL);
    V(pthread_mutex_lock(&robust));
    V(pthread_mutex_consistent(&robust));
    V(pthread_mutex_unlock(&robust));
}

static void *sleep_for_ever(void *argument) {
    for (;;) pause();
}

int main(void) {
    pthread_t threads[20];
    void *result;
    long sum = 0;
    for (long i = 0; i < 20; i++) V(pthread_create(&threads[i], NULL, count, (void *)i));
    for (int i = 0; i < 20; i++) {
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("total %d sum %ld\n", total, sum);
    for (long i = 0; i < 2; i++) pthread_create(&threads[i], NULL, alternate, (void *)i);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) soon = (struct timespec){soon.tv_sec + 1, soon.tv_nsec - 1000000000};
    pthread_mutex_lock(&lock);
    V(pthread_cond_timedwait(&turned, &lock, &soon));
    pthread_mutex_unlock(&lock);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    pthread_create(&threads[0], NULL, die_holding, NULL);
    pthread_join(threads[0], NULL);
    V(pthread_mutex_lock(&robust));
    V(pthread_mutex_consistent(&robust));
    V(pthread_mutex_unlock(&robust));
    priorities();
    pthread_rwlock_t both = PTHREAD_RWLOCK_INITIALIZER;
    V(pthread_rwlock_rdlock(&both));
    V(pthread_rwlock_unlock(&both));
    V(pthread_rwlock_wrlock(&both));
    pthread_create(&threads[0], NULL, sleep_for_ever, NULL);
    usleep(1000);
    V(pthread_cancel(threads[0]));
    pthread_join(threads[0], &result);
    printf("cancelled %d\n", result == PTHREAD_CANCELED);
    return 0;
}
