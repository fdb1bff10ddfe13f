/* readfile FILE first|again: microseconds of a read of 4 KB, going through FILE for the first time, or again. */
#include "timing.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 4096, PASSES = 10 };
static char buffer[PIECE];

static int pass(int fd)
{
    int reads = 0;
    check(lseek(fd, 0, SEEK_SET) == 0, "lseek");
    for (; read(fd, buffer, PIECE) == PIECE; reads++)
        ;
    return reads;
}

int main(int argc, char **argv)
{
    check(argc == 3, "usage: readfile FILE first|again");
    int fd = open(argv[1], O_RDONLY), reads = 0, again = strcmp(argv[2], "again") == 0;
    check(fd >= 0, argv[1]);
    if (again)
        pass(fd);
    double started = now_s();
    for (int i = 0; i < (again ? PASSES : 1); i++)
        reads += pass(fd);
    double took = now_s() - started;
    check(reads > 0, "the file is too short");
    printf("%f\n", took / reads * 1e6);
    return 0;
}
