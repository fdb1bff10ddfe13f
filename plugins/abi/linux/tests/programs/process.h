/* What the process programs share: E(call) prints whether it failed and with which errno, V(call) its value. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* Where others are given a moment, a busy machine needs a longer one: test_oracle.py repeats with more. */
#ifndef SLOWER
#define SLOWER 1
#endif
#define usleep(microseconds) usleep((microseconds) * SLOWER)

#define E(call)                                                                                                \
    do {                                                                                                       \
        errno = 0;                                                                                             \
        long result_ = (long)(call);                                                                           \
        printf("%s: %s %d\n", #call, result_ < 0 ? "fails" : result_ == 0 ? "0" : "positive",                   \
               result_ < 0 ? errno : 0);                                                                       \
    } while (0)
#define V(call)                                                                                                \
    do {                                                                                                       \
        errno = 0;                                                                                             \
        long result_ = (long)(call);                                                                           \
        printf("%s: %ld %d\n", #call, result_, result_ < 0 ? errno : 0);                                       \
    } while (0)
#define S(name, ...) syscall(SYS_##name, ##__VA_ARGS__)

static char *const bad = (char *)0x10; /* never mapped */
static char buf[8192] __attribute__((unused));
