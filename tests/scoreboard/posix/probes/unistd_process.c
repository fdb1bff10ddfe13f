/* <unistd.h>: processes, identities, options, the system */
#include "probe.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

static char space[256];

/* Run it in a child, and say how that ended. */
#define CHILD(statement) do { int status; fflush(stdout); pid_t child = fork(); if (!child) { statement; fflush(stdout); _exit(0); } waitpid(child, &status, 0); \
    printf("child: exit %d signal %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0); } while (0)

static void said(void) { puts("handler"); }
static void noted(int signal) { printf("signal %d\n", signal); }
static void forked(void) { puts("atfork"); }

PROBE(_Fork) { pthread_atfork(forked, forked, forked); fflush(stdout); pid_t child = _Fork(); int status; if (!child) _exit(4); waitpid(child, &status, 0); INT(WEXITSTATUS(status)); }
PROBE(_exit) { atexit(said); CHILD(printf("lost"); _exit(77)); _exit(300); }
PROBE(alarm) { signal(SIGALRM, noted); INT(alarm(100)); INT(alarm(1)); pause(); INT(errno); INT(alarm(0)); }
PROBE(confstr) { INT(confstr(_CS_PATH, space, sizeof space)); TEXT(space); INT(confstr(_CS_PATH, NULL, 0)); CALL(confstr(9999, space, 9)); INT(errno); }
PROBE(environ) { extern char **environ; int n = 0; for (char **at = environ; *at; at++) n += !strncmp(*at, "TERM=", 5); INT(n); environ = NULL; TEXT(getenv("TERM")); }
PROBE(execl) { CHILD(execl("/bin/sh", "named", "-c", "echo $0 $1; exit 3", "zero", "one", NULL)); CALL(execl("/missing", "x", NULL)); make_file("f", "x"); CALL(execl("f", "x", NULL)); CALL(execl("/", "x", NULL)); }
PROBE(execle) { char *env[] = {"A=b", NULL}; CHILD(execle("/usr/bin/env", "env", NULL, env)); }
PROBE(execlp) { CHILD(execlp("echo", "echo", "found", "in PATH", NULL)); CALL(execlp("no_such_program", "x", NULL)); }
PROBE(execv) { char *argv[] = {"sh", "-c", "echo v", NULL}; CHILD(execv("/bin/sh", argv)); CHILD(fcntl(1, F_SETFD, FD_CLOEXEC); execv("/bin/sh", argv)); }
PROBE(execve) { char *argv[] = {"x", NULL}, *env[] = {NULL}; make_file("script", "#!/bin/sh\necho $0; exit 9\n"); chmod("script", 0755); CHILD(execve("./script", argv, env)); make_file("bad", "#!/no/interpreter\n"); chmod("bad", 0755); CALL(execve("./bad", argv, env)); make_file("text", "echo hello\n"); chmod("text", 0755); CALL(execve("./text", argv, env)); symlink("loop", "loop"); CALL(execve("loop", argv, env)); }
PROBE(execvp) { char *argv[] = {"printf", "%s-", "a", "b", NULL}; CHILD(execvp("printf", argv)); make_file("text", "echo by the shell\n"); chmod("text", 0755); char *other[] = {"./text", NULL}; CHILD(execvp("./text", other)); }
PROBE(fexecve) { char *argv[] = {"sh", "-c", "echo by descriptor", NULL}, *env[] = {NULL}; int f = open("/bin/sh", O_RDONLY | O_CLOEXEC); CHILD(fexecve(f, argv, env)); CALL(fexecve(99, argv, env)); }
PROBE(fork) { int here = 1, status; fflush(stdout); pid_t child = fork(); if (!child) { here = 2; INT(getppid() != 1); fflush(stdout); _exit(here); } waitpid(child, &status, 0); INT(WEXITSTATUS(status)); INT(here); }
PROBE(fpathconf) { int p[2]; pipe(p); INT(fpathconf(p[0], _PC_PIPE_BUF)); INT(fpathconf(0, _PC_NAME_MAX) > 0); CALL(fpathconf(99, _PC_NAME_MAX)); CALL(fpathconf(0, 999)); }
PROBE(pathconf) { INT(pathconf(".", _PC_NAME_MAX)); INT(pathconf("/", _PC_PATH_MAX)); INT(pathconf(".", _PC_LINK_MAX) > 7); CALL(pathconf("missing", _PC_NAME_MAX)); INT(pathconf(".", _PC_NO_TRUNC)); INT(pathconf(".", _PC_CHOWN_RESTRICTED)); }
PROBE(sysconf) { INT(sysconf(_SC_PAGESIZE)); INT(sysconf(_SC_CLK_TCK)); INT(sysconf(_SC_VERSION)); INT(sysconf(_SC_NGROUPS_MAX)); INT(sysconf(_SC_IOV_MAX)); INT(sysconf(_SC_OPEN_MAX) > 99); INT(sysconf(_SC_NPROCESSORS_ONLN) > 0); INT(sysconf(_SC_ARG_MAX) > 99999); CALL(sysconf(9999)); }
PROBE(getegid) { INT(getegid()); CHILD(setegid(5); INT(getegid())); }
PROBE(geteuid) { INT(geteuid()); CHILD(seteuid(5); INT(geteuid()); INT(getuid())); }
PROBE(getgid) { INT(getgid()); CHILD(setgid(6); INT(getgid())); }
PROBE(getuid) { INT(getuid()); CHILD(setuid(8); INT(getuid())); }
PROBE(getentropy) { unsigned char a[32] = {0}, b[32] = {0}; CALL(getentropy(a, 32)); getentropy(b, 32); INT(memcmp(a, b, 32) != 0); static char big[300]; CALL(getentropy(big, 257)); }
PROBE(getgroups) { gid_t g[64]; CHILD(setgroups(2, (gid_t[]){3, 4}); INT(getgroups(64, g)); INT(g[0] + g[1]); CALL(getgroups(1, g)); INT(getgroups(0, NULL))); }
PROBE(gethostid) { INT(gethostid() == gethostid()); }
PROBE(gethostname) { INT(gethostname(space, sizeof space)); INT(strlen(space) > 0); CALL(gethostname(space, 1)); }
PROBE(getlogin) { INT(getlogin() == NULL || getlogin()[0]); }
PROBE(getlogin_r) { int e = getlogin_r(space, sizeof space); INT(e == 0 || e == ENXIO || e == ENOTTY || e == ENOENT); }
PROBE(getopt) { char *argv[] = {"p", "-ab", "value", "-x", "--", "-c", "rest", NULL}; int c; opterr = 0; while ((c = getopt(7, argv, "ab:c")) != -1) { printf("%c ", c); TEXT(optarg); optarg = NULL; } INT(optind); INT(optopt); }
PROBE(optarg) { char *argv[] = {"p", "-bjoined", NULL}; INT(getopt(2, argv, "b:")); TEXT(optarg); }
PROBE(opterr) { char *argv[] = {"prog", "-x", "-b", NULL}; INT(opterr); INT(getopt(3, argv, "b:")); INT(getopt(3, argv, "b:")); }
PROBE(optind) { char *argv[] = {"p", "-a", "word", NULL}; INT(optind); getopt(3, argv, "+a"); INT(optind); INT(getopt(3, argv, "+a")); INT(optind); optind = 1; INT(getopt(3, argv, "+a")); }
PROBE(optopt) { char *argv[] = {"p", "-q", "-b", NULL}; INT(getopt(3, argv, ":b:")); INT(optopt); INT(getopt(3, argv, ":b:")); INT(optopt); }
PROBE(getpgid) { INT(getpgid(0) == getpgrp()); CHILD(setpgid(0, 0); INT(getpgid(0) == getpid())); CALL(getpgid(99999999)); INT(getpgid(getppid()) > 0); }
PROBE(getpgrp) { CHILD(INT(getpgrp() == getpid()); setpgid(0, 0); INT(getpgrp() == getpid())); }
PROBE(getpid) { pid_t parent = getpid(); INT(parent > 1); CHILD(INT(getpid() != parent); INT(getppid() == parent)); }
PROBE(getppid) { pid_t self = getpid(); CHILD(INT(getppid() == self)); }
PROBE(getresgid) { gid_t r, e, s; CHILD(setresgid(1, 2, 3); CALL(getresgid(&r, &e, &s)); INT(r * 100 + e * 10 + s)); }
PROBE(getresuid) { uid_t r, e, s; CHILD(setresuid(1, 2, 3); CALL(getresuid(&r, &e, &s)); INT(r * 100 + e * 10 + s)); }
PROBE(getsid) { INT(getsid(0) == getpid()); CHILD(INT(getsid(0) == getppid()); setsid(); INT(getsid(0) == getpid())); CALL(getsid(99999999)); }
PROBE(nice) { CHILD(INT(nice(5)); INT(nice(0)); INT(nice(100)); setuid(65534); CALL(nice(-10))); }
PROBE(pause) { signal(SIGUSR1, noted); pid_t parent = getpid(); fflush(stdout); pid_t child = fork(); if (!child) { struct timespec t = {0, 50000000}; for (int i = 0; i < 20; i++) { nanosleep(&t, NULL); kill(parent, SIGUSR1); } _exit(0); } CALL(pause()); kill(child, SIGKILL); }
PROBE(setegid) { CHILD(CALL(setegid(7)); INT(getegid()); INT(getgid())); CHILD(setuid(65534); CALL(setegid(7))); }
PROBE(seteuid) { CHILD(CALL(seteuid(7)); INT(geteuid()); CALL(seteuid(0)); INT(geteuid())); CHILD(setuid(65534); CALL(seteuid(0))); }
PROBE(setgid) { CHILD(CALL(setgid(7)); INT(getgid()); INT(getegid())); CHILD(setuid(65534); CALL(setgid(7))); }
PROBE(setpgid) { CHILD(CALL(setpgid(0, 0)); CALL(setpgid(0, 99999999)); CALL(setpgid(0, -1))); CALL(setpgid(99999999, 0)); CALL(setpgid(0, 0)); }
PROBE(setregid) { CHILD(CALL(setregid(4, 5)); INT(getgid()); INT(getegid()); CALL(setregid(-1, 4))); CHILD(setuid(65534); CALL(setregid(9, 9))); }
PROBE(setreuid) { CHILD(CALL(setreuid(4, 5)); INT(getuid()); INT(geteuid()); CALL(setreuid(5, 4)); CALL(setreuid(0, -1))); }
PROBE(setresgid) { CHILD(CALL(setresgid(4, 5, 6)); CALL(setresgid(-1, 4, -1)); INT(getegid())); CHILD(setuid(65534); CALL(setresgid(9, 9, 9))); }
PROBE(setresuid) { CHILD(CALL(setresuid(4, 5, 6)); CALL(setresuid(6, 4, 5)); CALL(setresuid(0, -1, -1)); INT(geteuid())); }
PROBE(setsid) { CALL(setsid()); CHILD(INT(setsid() == getpid()); INT(getpgrp() == getpid()); CALL(setsid())); }
PROBE(setuid) { CHILD(CALL(setuid(7)); INT(geteuid()); CALL(setuid(0)); CALL(setuid(7))); }
PROBE(sleep) { INT(sleep(0)); signal(SIGALRM, noted); struct timespec t; alarm(1); INT(sleep(9) >= 7); }
PROBE(tcgetpgrp) { CALL(tcgetpgrp(0)); int m = posix_openpt(O_RDWR | O_NOCTTY); grantpt(m); unlockpt(m); CHILD(setsid(); int s = open(ptsname(m), O_RDWR); INT(tcgetpgrp(s) == getpid())); }
PROBE(tcsetpgrp) { CALL(tcsetpgrp(0, getpid())); int m = posix_openpt(O_RDWR | O_NOCTTY); grantpt(m); unlockpt(m); CHILD(setsid(); int s = open(ptsname(m), O_RDWR); CALL(tcsetpgrp(s, getpid())); CALL(tcsetpgrp(s, 99999999)); CALL(tcsetpgrp(s, -1))); }
PROBE(ttyname) { INT(ttyname(0) == NULL); INT(errno); int m = posix_openpt(O_RDWR | O_NOCTTY); grantpt(m); unlockpt(m); char *name = strdup(ptsname(m)); int s = open(name, O_RDWR | O_NOCTTY); INT(strcmp(ttyname(s), name)); }
PROBE(ttyname_r) { INT(ttyname_r(0, space, 99)); INT(ttyname_r(99, space, 99)); int m = posix_openpt(O_RDWR | O_NOCTTY); grantpt(m); unlockpt(m); int s = open(ptsname(m), O_RDWR | O_NOCTTY); INT(ttyname_r(s, space, 99)); INT(strncmp(space, "/dev/pts/", 9)); INT(ttyname_r(s, space, 3)); }
