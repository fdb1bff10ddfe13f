/* mmap in its kinds, mprotect, mremap, madvise, brk, copy on write, and shared memory between processes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };
static sigjmp_buf escape;

static void on_fault(int signo) { siglongjmp(escape, signo); }

static int touch(volatile char *address)
{
    int signo = sigsetjmp(escape, 1);
    if (!signo)
        *address = *address;
    return signo;
}

static int execute(void *code)
{
    int signo = sigsetjmp(escape, 1);
    return signo ? -signo : ((int (*)(void))code)();
}

static void say(const char *what, long result)
{
    printf("%s: %s\n", what, result == -1 ? strerror(errno) : "ok");
}

int main(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    char *a = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 'a', 8 * PAGE);
    munmap(a + 2 * PAGE, PAGE);
    printf("hole %d beside %d %d\n", touch(a + 2 * PAGE), touch(a + PAGE), touch(a + 3 * PAGE));
    mprotect(a + 4 * PAGE, PAGE, PROT_READ);
    printf("read only %d value %c\n", touch(a + 4 * PAGE), a[4 * PAGE]);
    mprotect(a + 4 * PAGE, PAGE, PROT_NONE);
    printf("none %d\n", touch(a + 4 * PAGE));
    mprotect(a + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE);
    printf("back %d value %c\n", touch(a + 4 * PAGE), a[4 * PAGE]);
    madvise(a + 5 * PAGE, PAGE, MADV_DONTNEED);
    printf("dropped %d\n", a[5 * PAGE]);

    int fd = open("map", O_RDWR | O_CREAT, 0600);
    if (write(fd, "0123456789", 10) != 10 || ftruncate(fd, 3 * PAGE))
        return 1;
    char *shared = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *offset = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE);
    shared[0] = 'S';
    private[1] = 'P';
    shared[2 * PAGE] = 'O';
    char text[5] = "";
    pread(fd, text, 4, 0);
    printf("file %s private %.4s offset %c\n", text, private, offset[0]);
    if (ftruncate(fd, PAGE))
        return 1;
    printf("past the end %d\n", touch(shared + 2 * PAGE));
    say("mmap of a bad descriptor", (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0));
    say("mmap of length 0", (long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    say("mmap at an odd offset", (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100));
    say("munmap at an odd address", munmap(a + 1, PAGE));
    say("mprotect of a hole", mprotect(a, 4 * PAGE, PROT_READ));

    char *fixed = mmap(a, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("fixed %d zero %d\n", fixed == a, a[0]);
    char *grown = mremap(a + 3 * PAGE, PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    printf("moved keeps %c rest %d old %d\n", grown[0], grown[PAGE], touch(a + 3 * PAGE));
    grown = mremap(grown, 64 * PAGE, PAGE, 0);
    printf("shrunk %d\n", touch(grown + PAGE));

    char *common = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    own[0] = 'p';
    if (fork() == 0) {
        common[0] = 'c';
        own[0] = 'x';
        _exit(own[0] == 'x' ? 0 : 1);
    }
    wait(NULL);
    printf("after the child: common %c own %c\n", common[0], own[0]);

    unsigned char code[] = {0xb8, 7, 0, 0, 0, 0xc3};
    char *jit = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(jit, code, sizeof code);
    printf("code %d ", execute(jit));
    jit[1] = 9;
    printf("changed %d ", execute(jit));
    mprotect(jit, PAGE, PROT_READ | PROT_WRITE);
    printf("not executable %d\n", execute(jit));

    char *before = sbrk(0);
    char *area = sbrk(10 * PAGE);
    memset(area, 1, 10 * PAGE);
    printf("brk %d ", area == before);
    sbrk(-5 * PAGE);
    printf("%d\n", touch(before + 9 * PAGE));
    char *big = malloc(20 << 20);
    memset(big, 5, 20 << 20);
    printf("big %d\n", big[(20 << 20) - 1]);
    return 0;
}
