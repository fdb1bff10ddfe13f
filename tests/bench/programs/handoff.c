/* Microseconds to hand a turn from one thread to another with a futex: a store, FUTEX_WAKE, and FUTEX_WAIT. */
#include "timing.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TURNS = 4000 };

static atomic_int turn;

static void take_turns(int mine)
{
    for (int next = mine; next < TURNS; next += 2) {
        for (int seen; (seen = atomic_load(&turn)) != next;)
            syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        atomic_store(&turn, next + 1);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *other(void *unused)
{
    take_turns(1);
    return unused;
}

int main(void)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, other, NULL) == 0, "pthread_create");
    double started = now_s();
    take_turns(0);
    check(pthread_join(thread, NULL) == 0, "pthread_join");
    printf("%f\n", (now_s() - started) / TURNS * 1e6);
    return 0;
}
