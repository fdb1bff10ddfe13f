/* fork: forks until it fails, and so do the children. memory: touches memory until it is killed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "fork")) {
        struct rlimit limit = {40, 40};
        setrlimit(RLIMIT_NPROC, &limit);
        if (setgid(1000) || setuid(1000))
            return 2;
        int depth = 0, children = 0;
        for (;;) {
            pid_t child = fork();
            if (child == 0) {
                depth++;
                children = 0;
                continue;
            }
            if (child < 0)
                break;
            children++;
        }
        int failed = errno;
        while (wait(NULL) > 0)
            ;
        if (depth == 0)
            printf("fork: %s\n", strerror(failed));
        return 0;
    }
    for (size_t total = 0;; total += 1 << 20) {
        char *part = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (part == MAP_FAILED) {
            printf("mmap: %s\n", strerror(errno));
            return 1;
        }
        memset(part, 1, 1 << 20);
    }
}
