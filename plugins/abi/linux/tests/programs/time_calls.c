/* Clocks and timers with good and bad arguments. */
#include "process.h"

int main(void) {
    setpgid(0, 0);
    struct timespec ts = {0, 0};
    E(S(clock_gettime, 77, &ts));
    E(S(clock_gettime, -5, &ts));
    E(S(clock_gettime, 0, bad));
    E(S(clock_gettime, 2, &ts));
    E(S(clock_gettime, 3, &ts));
    E(S(clock_gettime, 11, &ts));
    E(S(clock_gettime, 10, &ts));
    E(S(clock_getres, 1, &ts));
    V(ts.tv_nsec);
    E(S(clock_getres, 6, &ts));
    E(S(clock_getres, 1, 0));
    E(S(clock_settime, 1, &ts));
    ts.tv_sec = 0;
    ts.tv_nsec = 1;
    E(S(clock_nanosleep, 4, 0, &ts, 0));
    E(S(clock_nanosleep, 3, 0, &ts, 0));
    E(S(clock_nanosleep, 77, 0, &ts, 0));
    E(S(clock_nanosleep, 0, 0, &ts, 0));
    E(S(clock_nanosleep, 1, 1, &ts, 0));
    ts.tv_nsec = 2000000000;
    E(S(nanosleep, &ts, 0));
    E(S(nanosleep, bad, 0));
    E(S(gettimeofday, bad, 0));
    E(S(gettimeofday, 0, 0));
    E(S(time, bad));
    E(S(time, 0));
    struct itimerval iv = {{0, 0}, {0, 2000000}};
    E(S(setitimer, 0, &iv, 0));
    E(S(setitimer, 9, &iv, 0));
    E(S(getitimer, 9, &iv));
    E(S(getitimer, 0, bad));
    E(S(setitimer, 0, 0, &iv));
    timer_t t;
    E(S(timer_create, 77, 0, &t));
    E(S(timer_create, 0, 0, bad));
    E(S(timer_settime, 77, 0, buf, 0));
    E(S(timer_settime, 0, 0, 0, 0));
    E(S(timer_gettime, 77, buf));
    E(S(timer_delete, 77));
    E(S(timer_getoverrun, 77));
    E(S(adjtimex, bad));
    struct iovec lv = {buf, 16}, rv = {buf+100, 16};
    V(S(process_vm_readv, getpid(), &lv, 1, &rv, 1, 0));
    E(S(process_vm_readv, 999999, &lv, 1, &rv, 1, 0));
    E(S(process_vm_readv, getpid(), &lv, 1, &rv, 1, 1));
    rv.iov_base = bad;
    E(S(process_vm_readv, getpid(), &lv, 1, &rv, 1, 0));
    return 0;
}
