/* LOCK BT on a register: invalid on hardware, and one of the instructions whose translation aborts the emulator. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf escape;

static void on_signal(int signo) { siglongjmp(escape, signo); }

static int attempt(void)
{
    int signo = sigsetjmp(escape, 1);
    if (!signo)
        __asm__ volatile(".byte 0xf0, 0x0f, 0xa3, 0xc8");
    return signo;
}

int main(void)
{
    signal(SIGILL, on_signal);
    printf("here %d\n", attempt());
    fflush(stdout);
    if (fork() == 0) {
        printf("in the child %d\n", attempt());
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    printf("again %d\n", attempt());
    return 0;
}
