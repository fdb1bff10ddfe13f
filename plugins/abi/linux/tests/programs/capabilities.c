#include "oracle.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>

typedef struct __user_cap_data_struct Data;

static int get(Data d[2]) {
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    return syscall(SYS_capget, &h, d);
}

static int set(unsigned long long p, unsigned long long e, unsigned long long i) {
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    Data d[2] = {{e, p, i}, {e >> 32, p >> 32, i >> 32}};
    return syscall(SYS_capset, &h, d);
}

static void state(const char *what) {
    Data d[2]; char line[200];
    get(d);
    printf("%s: p %x%08x e %x%08x i %x%08x keep %d bits %x\n", what, d[1].permitted, d[0].permitted, d[1].effective,
           d[0].effective, d[1].inheritable, d[0].inheritable, prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS));
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f)) if (!strncmp(line, "Cap", 3)) fputs(line, stdout);
    fclose(f);
}

#define FULL 0x1fffeffffffull /* without SYS_RESOURCE, which a container may lack */
#define BIT(c) (1ull << (c))
#define IN_CHILD(what)                                                                                         \
    fflush(stdout);                                                                                            \
    if (!fork()) { printf("-- %s\n", #what); what(); fflush(stdout); _exit(0); }                               \
    wait(NULL)

static void changing_users(void) {
    T(setresuid(-1, 1000, -1)); state("seteuid"); T(sethostname("x", 1)); T(setresuid(-1, 0, -1)); state("back");
    T(setresuid(1000, 1000, 1000)); state("gone"); T(setuid(0)); T(set(1, 0, 0));
}

static void keeping(void) {
    T(prctl(PR_SET_KEEPCAPS, 1)); T(prctl(PR_SET_KEEPCAPS, 2)); T(setgroups(0, NULL)); T(setresgid(5, 5, 5));
    T(setresuid(1000, 1000, 1000)); state("kept"); T(setuid(77));
    T(set(BIT(CAP_SETUID) | BIT(CAP_AUDIT_WRITE), BIT(CAP_SETUID), 0)); state("few"); T(setgid(9)); T(sethostname("x", 1));
    T(set(FULL, 0, 0)); T(setresuid(77, 77, 77)); state("another"); T(prctl(PR_SET_SECUREBITS, 0)); T(getuid());
}

static void giving_up(void) {
    T(set(FULL & ~BIT(CAP_SETUID), FULL & ~BIT(CAP_SETUID), BIT(CAP_CHOWN))); state("without"); T(setuid(5)); T(setuid(0));
    T(set(FULL, 0, 0)); T(set(1, 2, 0)); T(set(0, 0, FULL)); state("inheritable"); T(set(0, 0, 0)); state("none");
    T(set(0, 0, 1)); T(sethostname("x", 1)); T(setgroups(0, NULL)); T(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
}

static void bounding(void) {
    T(prctl(PR_CAPBSET_READ, CAP_CHOWN)); T(prctl(PR_CAPBSET_DROP, CAP_CHOWN)); T(prctl(PR_CAPBSET_READ, CAP_CHOWN));
    T(prctl(PR_CAPBSET_READ, 41)); T(prctl(PR_CAPBSET_DROP, 99)); T(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME)); fflush(stdout);
    execl("/bin/grep", "grep", "Cap", "/proc/self/status", NULL);
}

static void ambient(void) {
    T(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_TIME, 0, 0)); T(set(FULL, FULL, BIT(CAP_SYS_TIME)));
    T(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_TIME, 0, 0)); T(prctl(PR_CAP_AMBIENT, 9, 0, 0, 0));
    T(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SYS_TIME, 0, 0)); T(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 50, 0, 0));
    state("raised"); T(prctl(PR_SET_KEEPCAPS, 1)); T(setresuid(1000, 1000, 1000)); state("user");
    T(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_TIME, 0, 0)); T(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
    fflush(stdout); execl("/bin/grep", "grep", "Cap", "/proc/self/status", NULL);
}

static void user_program(void) {
    T(setresuid(1000, 1000, 1000)); fflush(stdout); execl("/bin/grep", "grep", "Cap", "/proc/self/status", NULL);
}

static void no_root(void) {
    T(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP)); T(prctl(PR_SET_SECUREBITS, 0));
    T(prctl(PR_SET_SECUREBITS, 0x1000)); T(setresuid(1000, 1000, 1000)); state("no fixup"); fflush(stdout);
    execl("/bin/grep", "grep", "Cap", "/proc/self/status", NULL);
}

int main(void) {
    T(prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE)); T(set(FULL, FULL, 0)); state("start");
    IN_CHILD(changing_users); IN_CHILD(keeping); IN_CHILD(giving_up); IN_CHILD(bounding); IN_CHILD(ambient);
    IN_CHILD(user_program); IN_CHILD(no_root);
    return 0;
}
