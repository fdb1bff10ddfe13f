/* Arguments, environment, auxiliary vector and exit status. */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("%d=%s\n", i, argv[i]);
    printf("%s %d\n", getenv("HOME"), argc);
    printf("page %lu uid %lu clk %lu random %d base %d execfn %d platform %s secure %lu\n", getauxval(AT_PAGESZ),
           getauxval(AT_UID), getauxval(AT_CLKTCK), getauxval(AT_RANDOM) != 0, getauxval(AT_BASE) != 0,
           strcmp((char *)getauxval(AT_EXECFN), argv[0]) == 0, (char *)getauxval(AT_PLATFORM),
           getauxval(AT_SECURE));
    printf("aligned %d\n", ((unsigned long)argv & 7) == 0);
    fprintf(stderr, "to stderr\n");
    return 42;
}
