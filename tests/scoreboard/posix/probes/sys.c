/* <sys/mman.h>, <sys/wait.h>, <sys/resource.h>, <sys/select.h>, <poll.h>, <sys/utsname.h>, <spawn.h>, <aio.h> */
#include "probe.h"
#include <aio.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

static char space[256];
static void noted(int signal) { puts("signal"); }
static int file_with(const char *text) { make_file("f", text); return open("f", O_RDWR); }

#define CHILD(statement) do { int status; fflush(stdout); pid_t child = fork(); if (!child) { statement; fflush(stdout); _exit(0); } waitpid(child, &status, 0); \
    printf("child: exit %d signal %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0); } while (0)

PROBE(mmap) { int f = file_with("0123456789"); char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0); p[3] = 'X'; pread(f, space, 10, 0); TEXT(space); INT(p[10]); char *q = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0); q[0] = 'Y'; INT(p[0]); CALL(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, f, 0)); CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0)); CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, f, 1)); CALL(mmap(NULL, 4096, PROT_READ, 0, f, 0)); CHILD(raise(0); char *e = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, f, 0); putchar(e[5000])); INT(mmap(p, 4096, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == p); INT(p[0]); }
PROBE(munmap) { char *p = mmap(NULL, 12288, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); CALL(munmap(p + 4096, 4096)); CHILD(putchar(p[0]); putchar(p[8192])); CHILD(putchar(p[4096])); CALL(munmap(p + 1, 4096)); CALL(munmap(p, 0)); CALL(munmap(p, 12288)); }
PROBE(mprotect) { char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); *p = 1; CALL(mprotect(p, 4096, PROT_READ)); INT(*p); CHILD(*p = 2); CALL(mprotect(p, 4096, PROT_NONE)); CHILD(putchar(*p)); CALL(mprotect(p + 1, 1, PROT_READ)); munmap(p, 4096); CALL(mprotect(p, 4096, PROT_READ)); CALL(mprotect(NULL, 0, PROT_READ)); }
PROBE(msync) { int f = file_with("abc"); char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0); p[0] = 'Z'; CALL(msync(p, 4096, MS_SYNC)); CALL(msync(p, 4096, MS_ASYNC | MS_INVALIDATE)); CALL(msync(p, 4096, MS_SYNC | MS_ASYNC)); CALL(msync(p + 1, 1, MS_SYNC)); munmap(p, 4096); CALL(msync(p, 4096, MS_SYNC)); }
PROBE(mlock) { char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); CALL(mlock(p + 5, 100)); munmap(p, 8192); CALL(mlock(p, 4096)); }
PROBE(munlock) { char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); mlock(p, 8192); CALL(munlock(p, 8192)); CALL(munlock(p, 100)); munmap(p, 8192); CALL(munlock(p, 4096)); }
PROBE(mlockall) { CALL(mlockall(MCL_CURRENT)); CALL(mlockall(0)); CALL(mlockall(99)); }
PROBE(munlockall) { mlockall(MCL_FUTURE); CALL(munlockall()); }
PROBE(posix_madvise) { char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); *p = 7; INT(posix_madvise(p, 4096, POSIX_MADV_WILLNEED)); INT(posix_madvise(p, 4096, POSIX_MADV_DONTNEED)); INT(*p); INT(posix_madvise(p, 4096, 99)); INT(posix_madvise(p + 1, 1, 0)); munmap(p, 4096); INT(posix_madvise(p, 4096, POSIX_MADV_NORMAL)); }
PROBE(posix_mem_offset) { off_t o; size_t n; int f; INT(posix_mem_offset(space, 1, &o, &n, &f)); }
PROBE(posix_typed_mem_get_info) { struct posix_typed_mem_info i; INT(posix_typed_mem_get_info(0, &i)); }
PROBE(posix_typed_mem_open) { CALL(posix_typed_mem_open("/x", O_RDWR, 0)); }
static char *own_name(void) { snprintf(space, sizeof space, "/probe-%d", getpid()); return space; }
PROBE(shm_open) { int f = shm_open(own_name(), O_CREAT | O_EXCL | O_RDWR, 0600); INT(f >= 0); CALL(ftruncate(f, 4096)); INT(fcntl(f, F_GETFD)); CALL(shm_open(space, O_CREAT | O_EXCL, 0600)); char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0); CHILD(strcpy(p, "from the child")); TEXT(p); shm_unlink(space); CALL(shm_open(space, O_RDWR, 0)); CALL(shm_open("/a/b", O_RDWR | O_CREAT, 0600)); }
PROBE(shm_unlink) { close(shm_open(own_name(), O_CREAT | O_RDWR, 0600)); CALL(shm_unlink(space)); CALL(shm_unlink(space)); }

PROBE(wait) { int s; pid_t c = fork(); if (!c) _exit(42); INT(wait(&s) == c); INT(WIFEXITED(s)); INT(WEXITSTATUS(s)); CALL(wait(&s)); if (!(c = fork())) raise(SIGKILL); wait(&s); INT(WIFSIGNALED(s)); INT(WTERMSIG(s)); }
PROBE(waitpid) { int s; pid_t c = fork(); if (!c) { raise(SIGSTOP); _exit(3); } INT(waitpid(c, &s, WUNTRACED) == c); INT(WIFSTOPPED(s)); INT(WSTOPSIG(s)); CALL(waitpid(c, &s, WNOHANG)); kill(c, SIGCONT); waitpid(c, &s, WCONTINUED); INT(WIFCONTINUED(s)); waitpid(c, &s, 0); INT(WEXITSTATUS(s)); CALL(waitpid(c, &s, 0)); CALL(waitpid(-1, &s, 0x40)); }
PROBE(waitid) { siginfo_t i = {0}; pid_t c = fork(); if (!c) _exit(9); CALL(waitid(P_PID, c, &i, WEXITED | WNOWAIT)); INT(i.si_code); INT(i.si_status); INT(i.si_pid == c); CALL(waitid(P_ALL, 0, &i, WEXITED)); CALL(waitid(P_ALL, 0, &i, WEXITED)); CALL(waitid(P_ALL, 0, &i, 0)); CALL(waitid(99, 0, &i, WEXITED)); }

PROBE(getpriority) { INT(getpriority(PRIO_PROCESS, 0)); CHILD(nice(3); INT(getpriority(PRIO_PROCESS, getpid()))); CALL(getpriority(99, 0)); CALL(getpriority(PRIO_PROCESS, 99999999)); }
PROBE(setpriority) { CHILD(CALL(setpriority(PRIO_PROCESS, 0, 7)); INT(getpriority(PRIO_PROCESS, 0)); CALL(setpriority(PRIO_PROCESS, 0, 99)); INT(getpriority(PRIO_PROCESS, 0))); CALL(setpriority(99, 0, 0)); CHILD(setuid(65534); CALL(setpriority(PRIO_PROCESS, 0, -5))); }
PROBE(getrlimit) { struct rlimit l; CALL(getrlimit(RLIMIT_NOFILE, &l)); INT(l.rlim_cur <= l.rlim_max); CALL(getrlimit(99, &l)); CALL(getrlimit(RLIMIT_CORE, &l)); }
PROBE(setrlimit) { struct rlimit l = {5, 10}; CHILD(CALL(setrlimit(RLIMIT_NOFILE, &l)); dup(0); dup(0); CALL(dup(0))); l.rlim_cur = 20; CALL(setrlimit(RLIMIT_NOFILE, &l)); l.rlim_cur = l.rlim_max = 100; CHILD(signal(SIGXFSZ, noted); setrlimit(RLIMIT_FSIZE, &l); int f = open("big", O_CREAT | O_WRONLY, 0600); static char block[200]; CALL(write(f, block, 200)); CALL(write(f, block, 200))); }
PROBE(getrusage) { struct rusage u; CALL(getrusage(RUSAGE_SELF, &u)); INT(u.ru_maxrss > 0); for (volatile int i = 0; i < 3000000; i++) continue; getrusage(RUSAGE_SELF, &u); INT(u.ru_utime.tv_usec > 0); CALL(getrusage(RUSAGE_CHILDREN, &u)); INT(u.ru_utime.tv_sec); CALL(getrusage(99, &u)); }
PROBE(FD_CLR) { fd_set s; FD_ZERO(&s); FD_SET(5, &s); FD_CLR(5, &s); INT(FD_ISSET(5, &s)); }
PROBE(FD_ISSET) { fd_set s; FD_ZERO(&s); FD_SET(1023, &s); INT(!!FD_ISSET(1023, &s)); INT(!!FD_ISSET(1022, &s)); }
PROBE(FD_SET) { fd_set s; FD_ZERO(&s); FD_SET(0, &s); INT(!!FD_ISSET(0, &s)); }
PROBE(FD_ZERO) { fd_set s; memset(&s, 255, sizeof s); FD_ZERO(&s); INT(!!FD_ISSET(7, &s)); }
PROBE(select) { int p[2]; fd_set r, w; struct timeval t = {0, 10000}; pipe(p); FD_ZERO(&r); FD_ZERO(&w); FD_SET(p[0], &r); CALL(select(p[1] + 1, &r, NULL, NULL, &t)); FD_SET(p[0], &r); FD_SET(p[1], &w); CALL(select(p[1] + 1, &r, &w, NULL, NULL)); INT(!!FD_ISSET(p[0], &r)); write(p[1], "x", 1); FD_SET(p[0], &r); INT(select(p[1] + 1, &r, &w, NULL, NULL)); FD_SET(99, &r); CALL(select(100, &r, NULL, NULL, &t)); t.tv_usec = -1; CALL(select(0, NULL, NULL, NULL, &t)); CALL(select(-1, NULL, NULL, NULL, NULL)); }
PROBE(pselect) { sigset_t none, set; struct timespec t = {1, 0}; signal(SIGUSR1, noted); sigemptyset(&none); sigemptyset(&set); sigaddset(&set, SIGUSR1); sigprocmask(SIG_BLOCK, &set, NULL); raise(SIGUSR1); CALL(pselect(0, NULL, NULL, NULL, &t, &none)); t.tv_sec = 0; CALL(pselect(0, NULL, NULL, NULL, &t, NULL)); t.tv_nsec = -1; CALL(pselect(0, NULL, NULL, NULL, &t, NULL)); }
PROBE(poll) { int p[2]; pipe(p); struct pollfd f[3] = {{p[0], POLLIN}, {p[1], POLLOUT}, {99, POLLIN}}; INT(poll(f, 3, 1000)); INT(f[0].revents); INT(f[1].revents); INT(f[2].revents); close(p[1]); INT(poll(f, 1, -1)); INT(f[0].revents); f[0].fd = -1; INT(poll(f, 1, 10)); INT(f[0].revents); }
PROBE(ppoll) { sigset_t none, set; struct timespec t = {1, 0}; signal(SIGUSR1, noted); sigemptyset(&none); sigemptyset(&set); sigaddset(&set, SIGUSR1); sigprocmask(SIG_BLOCK, &set, NULL); raise(SIGUSR1); CALL(ppoll(NULL, 0, &t, &none)); struct pollfd f = {0, POLLIN}; INT(ppoll(&f, 1, &t, NULL)); }
PROBE(uname) { struct utsname u; INT(uname(&u)); TEXT(u.sysname); TEXT(u.machine); INT(strlen(u.release) > 0); INT(strlen(u.nodename) > 0); }

extern char **environ;
static pid_t spawn(char *command, posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr) { char *argv[] = {"sh", "-c", command, NULL}; pid_t child = -1; int status = -1; fflush(stdout); int error = posix_spawn(&child, "/bin/sh", actions, attr, argv, environ); if (child > 0) waitpid(child, &status, 0); INT(error); INT(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)); return child; }
static posix_spawn_file_actions_t actions; static posix_spawnattr_t attr;
PROBE(posix_spawn) { spawn("echo spawned; exit 6", NULL, NULL); pid_t c; char *argv[] = {"x", NULL}; INT(posix_spawn(&c, "/missing", NULL, NULL, argv, environ)); make_file("f", ""); INT(posix_spawn(&c, "./f", NULL, NULL, argv, environ)); }
PROBE(posix_spawnp) { pid_t c; char *argv[] = {"echo", "found", NULL}, *env[] = {NULL}; fflush(stdout); int error = posix_spawnp(&c, "echo", NULL, NULL, argv, env); waitpid(c, NULL, 0); INT(error); INT(posix_spawnp(&c, "no_such_program", NULL, NULL, argv, env)); }
PROBE(posix_spawn_file_actions_init) { INT(posix_spawn_file_actions_init(&actions)); spawn("echo none", &actions, NULL); }
PROBE(posix_spawn_file_actions_destroy) { posix_spawn_file_actions_init(&actions); posix_spawn_file_actions_addclose(&actions, 5); INT(posix_spawn_file_actions_destroy(&actions)); }
PROBE(posix_spawn_file_actions_addopen) { make_file("in", "from a file\n"); posix_spawn_file_actions_init(&actions); INT(posix_spawn_file_actions_addopen(&actions, 0, "in", O_RDONLY, 0)); spawn("cat", &actions, NULL); posix_spawn_file_actions_addopen(&actions, 7, "missing", O_RDONLY, 0); spawn("cat", &actions, NULL); INT(posix_spawn_file_actions_addopen(&actions, -1, "in", 0, 0)); }
PROBE(posix_spawn_file_actions_addclose) { posix_spawn_file_actions_init(&actions); INT(posix_spawn_file_actions_addclose(&actions, 0)); spawn("cat 2>/dev/null", &actions, NULL); INT(posix_spawn_file_actions_addclose(&actions, -1)); }
PROBE(posix_spawn_file_actions_adddup2) { posix_spawn_file_actions_init(&actions); INT(posix_spawn_file_actions_adddup2(&actions, 1, 8)); spawn("echo to eight >&8", &actions, NULL); INT(posix_spawn_file_actions_adddup2(&actions, 1, -1)); }
PROBE(posix_spawn_file_actions_addchdir) { posix_spawn_file_actions_init(&actions); INT(posix_spawn_file_actions_addchdir(&actions, "/usr")); spawn("pwd", &actions, NULL); }
PROBE(posix_spawn_file_actions_addfchdir) { posix_spawn_file_actions_init(&actions); INT(posix_spawn_file_actions_addfchdir(&actions, open("/usr", O_RDONLY))); spawn("pwd", &actions, NULL); }
PROBE(posix_spawnattr_init) { short f = 1; INT(posix_spawnattr_init(&attr)); posix_spawnattr_getflags(&attr, &f); INT(f); spawn("exit 2", NULL, &attr); }
PROBE(posix_spawnattr_destroy) { posix_spawnattr_init(&attr); INT(posix_spawnattr_destroy(&attr)); }
PROBE(posix_spawnattr_getflags) { short f; posix_spawnattr_init(&attr); posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP); INT(posix_spawnattr_getflags(&attr, &f)); INT(f == POSIX_SPAWN_SETPGROUP); }
PROBE(posix_spawnattr_setflags) { posix_spawnattr_init(&attr); INT(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID)); spawn("exit 4", NULL, &attr); INT(posix_spawnattr_setflags(&attr, 0x4000)); }
PROBE(posix_spawnattr_getpgroup) { pid_t g = 9; posix_spawnattr_init(&attr); INT(posix_spawnattr_getpgroup(&attr, &g)); INT(g); }
PROBE(posix_spawnattr_setpgroup) { posix_spawnattr_init(&attr); INT(posix_spawnattr_setpgroup(&attr, 0)); posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP); char *argv[] = {"cat", NULL}; int p[2]; pid_t c; pipe2(p, O_CLOEXEC); posix_spawn_file_actions_init(&actions); posix_spawn_file_actions_adddup2(&actions, p[0], 0); posix_spawnp(&c, "cat", &actions, &attr, argv, environ); INT(getpgid(c) == c); }
PROBE(posix_spawnattr_getsigdefault) { sigset_t s; posix_spawnattr_init(&attr); INT(posix_spawnattr_getsigdefault(&attr, &s)); INT(sigismember(&s, SIGINT)); }
PROBE(posix_spawnattr_setsigdefault) { sigset_t s; sigemptyset(&s); sigaddset(&s, SIGTERM); signal(SIGTERM, SIG_IGN); posix_spawnattr_init(&attr); spawn("kill $$", NULL, &attr); INT(posix_spawnattr_setsigdefault(&attr, &s)); posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF); spawn("kill $$", NULL, &attr); }
PROBE(posix_spawnattr_getsigmask) { sigset_t s; posix_spawnattr_init(&attr); INT(posix_spawnattr_getsigmask(&attr, &s)); INT(sigismember(&s, SIGINT)); }
PROBE(posix_spawnattr_setsigmask) { sigset_t s; sigemptyset(&s); sigaddset(&s, SIGUSR1); posix_spawnattr_init(&attr); INT(posix_spawnattr_setsigmask(&attr, &s)); posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK); spawn("grep SigBlk /proc/self/status; kill -USR1 $$; echo alive", NULL, &attr); }
PROBE(posix_spawnattr_getschedparam) { struct sched_param p = {3}; posix_spawnattr_init(&attr); INT(posix_spawnattr_getschedparam(&attr, &p)); INT(p.sched_priority); }
PROBE(posix_spawnattr_setschedparam) { struct sched_param p = {0}; posix_spawnattr_init(&attr); INT(posix_spawnattr_setschedparam(&attr, &p)); posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSCHEDPARAM); spawn("exit 5", NULL, &attr); }
PROBE(posix_spawnattr_getschedpolicy) { int p = 9; posix_spawnattr_init(&attr); INT(posix_spawnattr_getschedpolicy(&attr, &p)); INT(p); }
PROBE(posix_spawnattr_setschedpolicy) { posix_spawnattr_init(&attr); INT(posix_spawnattr_setschedpolicy(&attr, SCHED_OTHER)); posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSCHEDULER); spawn("exit 8", NULL, &attr); INT(posix_spawnattr_setschedpolicy(&attr, 99)); }

static struct aiocb block = {.aio_buf = space};
static int finished(void) { const struct aiocb *list[] = {&block}; while (aio_error(&block) == EINPROGRESS) aio_suspend(list, 1, NULL); return aio_error(&block); }
PROBE(aio_read) { block.aio_fildes = file_with("asynchronous"); block.aio_nbytes = 5; block.aio_offset = 2; CALL(aio_read(&block)); INT(finished()); INT(aio_return(&block)); TEXT(space); block.aio_fildes = 99; aio_read(&block); INT(finished()); }
PROBE(aio_write) { block.aio_fildes = file_with(""); strcpy(space, "written"); block.aio_nbytes = 7; CALL(aio_write(&block)); INT(finished()); INT(aio_return(&block)); INT(lseek(block.aio_fildes, 0, SEEK_END)); }
PROBE(aio_error) { block.aio_fildes = open("f", O_CREAT | O_WRONLY, 0600); block.aio_nbytes = 1; aio_read(&block); INT(finished()); INT(aio_error(&block)); }
PROBE(aio_return) { block.aio_fildes = file_with("xy"); block.aio_nbytes = 99; aio_read(&block); finished(); INT(aio_return(&block)); }
PROBE(aio_fsync) { block.aio_fildes = file_with("x"); CALL(aio_fsync(O_SYNC, &block)); INT(finished()); CALL(aio_fsync(77, &block)); }
PROBE(aio_suspend) { int p[2]; pipe(p); block.aio_fildes = p[0]; block.aio_nbytes = 1; const struct aiocb *list[] = {NULL, &block}; struct timespec t = {0, 10000000}; aio_read(&block); CALL(aio_suspend(list, 2, &t)); write(p[1], "x", 1); CALL(aio_suspend(list, 2, NULL)); INT(aio_return(&block)); }
PROBE(aio_cancel) { block.aio_fildes = file_with("x"); block.aio_nbytes = 1; aio_read(&block); finished(); INT(aio_cancel(block.aio_fildes, &block) == AIO_ALLDONE); CALL(aio_cancel(99, NULL)); }
PROBE(lio_listio) { struct aiocb *list[] = {&block, NULL}; block.aio_fildes = file_with("listed"); block.aio_nbytes = 6; block.aio_lio_opcode = LIO_READ; CALL(lio_listio(LIO_WAIT, list, 2, NULL)); INT(aio_return(&block)); TEXT(space); CALL(lio_listio(99, list, 2, NULL)); }
