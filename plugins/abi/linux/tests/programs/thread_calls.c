/* futex and sched_* with good and bad arguments. */
#include "process.h"

int main(void) {
    setpgid(0, 0);
    struct timespec ts = {0, 1000000};
    int f = 5;
    ts.tv_sec = 0;
    ts.tv_nsec = 1000000;
    E(S(futex, &f, 0, 4, 0, 0, 0));
    E(S(futex, &f, 0, 5, &ts, 0, 0));
    E(S(futex, &f, 128, 5, &ts, 0, 0));
    E(S(futex, (char*)&f+1, 0, 5, &ts, 0, 0));
    E(S(futex, bad, 0, 5, &ts, 0, 0));
    E(S(futex, 0xffff800000000000ul, 0, 5, &ts, 0, 0));
    E(S(futex, &f, 1, 1, 0, 0, 0));
    E(S(futex, &f, 9, 5, &ts, 0, 0));
    E(S(futex, &f, 9, 5, &ts, 0, 1));
    E(S(futex, &f, 9|256, 5, &ts, 0, 1));
    E(S(futex, &f, 1|256, 5, &ts, 0, 1));
    E(S(futex, &f, 3, -1, 0, &f, 0));
    E(S(futex, &f, 4, 1, 1, &f, 6));
    E(S(futex, &f, 4, 1, 1, &f, 5));
    E(S(futex, &f, 5, 1, 1, &f, (0<<28)|(3<<12)|3));
    V(f);
    E(S(futex, &f, 5, 1, 1, &f, (5<<28)));
    E(S(futex, &f, 10, 1, 0, 0, 0));
    E(S(futex, &f, 77, 1, 0, 0, 0));
    ts.tv_nsec = -1;
    E(S(futex, &f, 0, 5, &ts, 0, 0));
    E(S(futex, &f, 0, 5, bad, 0, 0));
    struct sched_param sp = {0};
    E(S(sched_setscheduler, 0, 0, &sp));
    sp.sched_priority = 5;
    E(S(sched_setscheduler, 0, 0, &sp));
    E(S(sched_setscheduler, 0, 99, &sp));
    E(S(sched_setscheduler, -1, 0, &sp));
    E(S(sched_setscheduler, 999999, 0, &sp));
    E(S(sched_setscheduler, 0, 0, 0));
    V(S(sched_getscheduler, 0));
    E(S(sched_getscheduler, -1));
    E(S(sched_getparam, 0, &sp));
    E(S(sched_getparam, 0, 0));
    V(S(sched_get_priority_max, 1));
    V(S(sched_get_priority_min, 2));
    V(S(sched_get_priority_max, 0));
    E(S(sched_get_priority_max, 77));
    E(S(sched_rr_get_interval, 0, &ts));
    E(S(sched_rr_get_interval, -1, &ts));
    E(S(sched_getaffinity, 0, 3, buf));
    memset(buf, 0, 128);
    E(S(sched_setaffinity, 0, 128, buf));
    E(S(sched_getaffinity, 0, 128, bad));
    E(S(sched_yield));
    E(S(sched_setattr, 0, 0, 0));
    E(S(sched_getattr, 0, buf, 40, 0));
    E(S(sched_getattr, 0, buf, 48, 0));
    return 0;
}
