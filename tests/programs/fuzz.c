/* Makes every system call COUNT times with arguments that are random, extreme, or pointers to scratch memory.

   Usage: fuzz SEED COUNT FIRST LAST. Each number runs in a child of its own with an alarm, so that what blocks or
   dies costs no more than that child. Calls that reach other processes are made without privilege. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state;
static char *scratch;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t argument(void)
{
    static const uint64_t extremes[] = {
        0, 1, 2, 3, 7, 8, 0x7f, 0xff, 0x1000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
        0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffffffe, 0x7fffffffe000, 0x7ffffffff000, 0x800000000000,
        0xffff800000000000, 0xfffffffffffff000, 4095, 4097, -100,
    };
    switch (next() % 6) {
    case 0: return extremes[next() % (sizeof extremes / sizeof *extremes)];
    case 1: return next() % 64;
    case 2: return (uint64_t)scratch + next() % 8192;
    case 3: return (uint64_t)scratch + 16384 - next() % 64; /* runs into the end of the mapping */
    case 4: return next();
    default: return 1ull << next() % 64;
    }
}

static int is_left_out(long number)
{
    return number == SYS_exit || number == SYS_exit_group || number == SYS_rt_sigreturn || number == SYS_fork ||
           number == SYS_vfork || number == SYS_clone || number == 435 /* clone3 */ || number == SYS_pause;
}

static int needs_care(long number)
{
    return number == SYS_kill || number == SYS_tkill || number == SYS_tgkill || number == SYS_rt_sigqueueinfo ||
           number == SYS_rt_tgsigqueueinfo || number == SYS_reboot || number == 424 /* pidfd_send_signal */ ||
           number == SYS_umount2 || number == SYS_mount || number == SYS_pivot_root || number == SYS_chroot ||
           number == SYS_setpriority || number == SYS_prlimit64;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int count = atoi(argv[2]);
    long made = 0, died = 0;
    for (long number = atol(argv[3]); number <= atol(argv[4]); number++) {
        if (is_left_out(number))
            continue;
        pid_t child = fork();
        if (child == 0) {
            state = 88172645463325252ull ^ (uint64_t)atoll(argv[1]) * 7919 ^ (uint64_t)number << 32;
            struct rlimit none = {0, 0}, small = {256 << 20, 256 << 20};
            setrlimit(RLIMIT_CORE, &none);
            setrlimit(RLIMIT_AS, &small);
            scratch = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            for (int i = 0; i < 16384; i++)
                scratch[i] = (char)next();
            strcpy(scratch + 64, "/tmp");
            if (needs_care(number) && (setgid(1000) || setuid(1000)))
                _exit(3);
            alarm(2);
            for (int i = 0; i < count; i++)
                syscall(number, argument(), argument(), argument(), argument(), argument(), argument());
            _exit(0);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child)
            return 1;
        made += count;
        died += WIFSIGNALED(status) && WTERMSIG(status) != SIGALRM;
    }
    printf("%ld calls, %ld children killed by a signal\n", made, died);
    return 0;
}
