/* Dies as its argument says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int zero;

static int dig(int depth)
{
    volatile char room[4096];
    room[0] = depth;
    return dig(depth + 1) + room[0];
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "wild"))
        *(volatile int *)0xdeadbeef000 = 1;
    if (!strcmp(how, "stack"))
        return dig(0);
    if (!strcmp(how, "divide"))
        return 1 / zero;
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "illegal"))
        __asm__("ud2");
    return 0;
}
