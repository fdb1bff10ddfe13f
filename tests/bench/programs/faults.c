/* faults touch|copy: microseconds a page, of touching fresh memory in order or of writing to it after a fork. */
#include "timing.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 2048 };

static double touch(volatile char *memory)
{
    double started = now_s();
    for (long i = 0; i < PAGES; i++)
        memory[i * PAGE] = 1;
    return (now_s() - started) / PAGES * 1e6;
}

int main(int argc, char **argv)
{
    check(argc == 2, "usage: faults touch|copy");
    char *memory = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    double took = touch(memory);
    if (strcmp(argv[1], "copy") == 0) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            pause();
            _exit(0);
        }
        took = touch(memory);
        kill(child, SIGKILL);
        check(waitpid(child, &status, 0) == child, "waitpid");
    }
    printf("%f\n", took);
    return 0;
}
