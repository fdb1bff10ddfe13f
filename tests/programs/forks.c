/* Forks N children that each end with a status of their own, and reaps them all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 10, reaped = 0, sum = 0, status;
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child < 0) {
            perror("fork");
            return 1;
        }
        if (child == 0)
            _exit(i % 100);
    }
    while (wait(&status) > 0) {
        reaped++;
        sum += WEXITSTATUS(status);
    }
    printf("reaped %d sum %d left %d\n", reaped, sum, errno == ECHILD);
    return 0;
}
