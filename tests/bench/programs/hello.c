/* The smallest program that proves start-up and output. */
#include <stdio.h>

int main(void)
{
    puts("hello");
    return 0;
}
