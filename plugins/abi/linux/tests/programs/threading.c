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
