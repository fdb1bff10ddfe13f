/* Mutexes, condition variables, thread-local storage, barriers and a thread that ends the process's last one. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 500, WORKERS = 8 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int slot;
static long sum, counter;
static __thread int mine;

static void *produce(void *unused)
{
    for (int i = 1; i <= ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        while (slot)
            pthread_cond_wait(&changed, &mutex);
        slot = i;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *consume(void *unused)
{
    for (int i = 1; i <= ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        while (!slot)
            pthread_cond_wait(&changed, &mutex);
        sum += slot;
        slot = 0;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return (void *)sum;
}

static void *count(void *number)
{
    mine = (int)(long)number;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return (void *)(long)mine;
}

int main(void)
{
    pthread_t producer, consumer, workers[WORKERS];
    void *result;
    long total = 0;
    pthread_create(&producer, NULL, produce, NULL);
    pthread_create(&consumer, NULL, consume, NULL);
    pthread_join(producer, NULL);
    pthread_join(consumer, &result);
    printf("sum %ld\n", (long)result);
    pthread_barrier_init(&barrier, NULL, WORKERS);
    for (long i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, count, (void *)i);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i], &result);
        total += (long)result;
    }
    printf("counter %ld total %ld mine %d\n", counter, total, mine);
    return 0;
}
