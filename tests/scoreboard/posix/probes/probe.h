/* What a probe of an interface is made of.
 *
 * PROBE(name) { ... } is one probe: it calls the interface `name` and prints what came back, and nothing that may
 * differ between two runs (no pid, address or time of day). The program runs the probe that argv[1] names, in a folder
 * of its own, and lists its probes when it is given none. A probe begins at the start of a line, so that the
 * builder can leave it out where the C library lacks what it calls.
 */
#ifndef PROBE_H
#define PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct probe {
    const char *name;
    void (*run)(void);
};

extern const struct probe __start_probes[], __stop_probes[];

#define PROBE(name)                                                                             \
    static void probe_##name(void);                                                             \
    static const struct probe entry_##name                                                      \
        __attribute__((used, section("probes"), aligned(16))) = {#name, probe_##name};          \
    static void probe_##name(void)

/* Each prints its expression and the value: an integer, a double, a long double, a string; or a call's result and,
   where it is -1, errno. */
#define INT(expression) printf("%s = %lld\n", #expression, (long long)(expression))
#define REAL(expression) printf("%s = %.17g\n", #expression, (double)(expression))
#define LONG(expression) printf("%s = %.20Lg\n", #expression, (long double)(expression))
#define TEXT(expression) show_text(#expression, (expression))
#define WIDE(expression) show_wide(#expression, (expression))
#define CALL(expression) show_call(#expression, (errno = 0, (long long)(expression)))

static inline void show_text(const char *expression, const char *value)
{
    if (value)
        printf("%s = \"%s\"\n", expression, value);
    else
        printf("%s = null\n", expression);
}

static inline void show_wide(const char *expression, const wchar_t *value)
{
    printf("%s =", expression);
    for (; value && *value; value++)
        printf(" %x", (unsigned)*value);
    printf(value ? "\n" : " null\n");
}

static inline void show_call(const char *expression, long long result)
{
    int error = errno;

    if (result == -1)
        printf("%s = -1, errno %d\n", expression, error);
    else
        printf("%s = %lld\n", expression, result);
}

/* A file with this content in the probe's folder. */
static inline void make_file(const char *name, const char *content)
{
    FILE *file = fopen(name, "w");

    if (!file) {
        perror(name);
        exit(99);
    }
    fputs(content, file);
    fclose(file);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (const struct probe *probe = __start_probes; probe < __stop_probes; probe++) {
        if (argc < 2)
            puts(probe->name);
        else if (!strcmp(argv[1], probe->name)) {
            if ((mkdir(probe->name, 0777) && errno != EEXIST) || chdir(probe->name)) {
                perror(probe->name);
                return 99;
            }
            probe->run();
            return 0;
        }
    }
    return argc < 2 ? 0 : 98;
}

#endif
