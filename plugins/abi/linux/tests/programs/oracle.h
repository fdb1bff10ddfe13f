/* What the file programs share: T(call) prints the call, its result and errno by name. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Where others are given a moment, a busy machine needs a longer one: test_oracle.py repeats with more. */
#ifndef SLOWER
#define SLOWER 1
#endif
#define usleep(microseconds) usleep((microseconds) * SLOWER)

#define T(call)                                                                                                \
    do {                                                                                                       \
        errno = 0;                                                                                             \
        long result_ = (long)(call);                                                                           \
        if (result_ < 0) printf("%s = %ld errno %d\n", #call, result_, errno);                                 \
        else printf("%s = %ld\n", #call, result_);                                                             \
    } while (0)

static inline void show(const char *label, const void *data, size_t length) {
    const unsigned char *bytes = data;
    printf("%s:", label);
    for (size_t i = 0; i < length; i++) printf(bytes[i] >= 32 && bytes[i] < 127 ? "%c" : "\\%o", bytes[i]);
    printf("\n");
}

static inline int make(const char *name, const char *content) {
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
    if (write(fd, content, strlen(content)) < 0) perror(name);
    return fd;
}
