/* <time.h>, <sys/time.h>, <sys/times.h> */
#include "probe.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

static char space[256];
static struct tm moment = {.tm_year = 124, .tm_mon = 5, .tm_mday = 14, .tm_hour = 13, .tm_min = 5, .tm_sec = 9, .tm_wday = 5, .tm_yday = 165};

#define SHOW_TM(t) printf("%d-%d-%d %d:%d:%d w%d y%d dst%d\n", (t)->tm_year, (t)->tm_mon, (t)->tm_mday, (t)->tm_hour, (t)->tm_min, (t)->tm_sec, (t)->tm_wday, (t)->tm_yday, (t)->tm_isdst)
#define TIMEOUT(ms) {0, (ms) * 1000000L}

static void noted(int signal) { printf("signal %d\n", signal); }
static long long now(clockid_t clock) { struct timespec t; clock_gettime(clock, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }

PROBE(asctime) { TEXT(asctime(&moment)); }
PROBE(asctime_r) { TEXT(asctime_r(&moment, space)); }
PROBE(clock) { clock_t before = clock(); for (volatile int i = 0; i < 3000000; i++) continue; INT(clock() > before); INT(CLOCKS_PER_SEC); }
PROBE(clock_getcpuclockid) { clockid_t c; INT(clock_getcpuclockid(0, &c)); INT(now(c) > 0); INT(clock_getcpuclockid(99999999, &c)); }
PROBE(clock_getres) { struct timespec t; CALL(clock_getres(CLOCK_REALTIME, &t)); INT(t.tv_sec); INT(t.tv_nsec); CALL(clock_getres(CLOCK_MONOTONIC, NULL)); CALL(clock_getres(77, &t)); }
PROBE(clock_gettime) { struct timespec t; CALL(clock_gettime(CLOCK_REALTIME, &t)); INT(t.tv_sec > 1700000000); INT(now(CLOCK_MONOTONIC) <= now(CLOCK_MONOTONIC)); CALL(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t)); CALL(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t)); CALL(clock_gettime(77, &t)); }
PROBE(clock_nanosleep) { struct timespec t = TIMEOUT(20), bad = {0, 1000000000}; long long before = now(CLOCK_MONOTONIC); INT(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL)); INT(now(CLOCK_MONOTONIC) - before >= 20000000); INT(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL)); INT(clock_nanosleep(CLOCK_REALTIME, 0, &bad, NULL)); INT(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL)); INT(clock_nanosleep(77, 0, &t, NULL)); }
PROBE(clock_settime) { struct timespec t = {0, -1}; CALL(clock_settime(CLOCK_REALTIME, &t)); CALL(clock_settime(CLOCK_MONOTONIC, &t)); CALL(clock_settime(77, &t)); t.tv_nsec = 0; setuid(65534); CALL(clock_settime(CLOCK_REALTIME, &t)); }
PROBE(ctime) { time_t t = 1718370309; TEXT(ctime(&t)); }
PROBE(ctime_r) { time_t t = -1; TEXT(ctime_r(&t, space)); }
PROBE(daylight) { setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1); tzset(); INT(daylight); setenv("TZ", "UTC0", 1); tzset(); INT(daylight); }
PROBE(difftime) { REAL(difftime(1000000000, 1)); REAL(difftime(1, 5)); }
PROBE(getdate) { make_file("masks", "%Y-%m-%d %H:%M:%S\n%d %B %Y\n"); setenv("DATEMSK", "masks", 1); struct tm *t = getdate("2024-06-14 13:05:09"); INT(t != NULL); if (t) SHOW_TM(t); t = getdate("14 June 2024"); INT(t && t->tm_mon == 5); }
PROBE(getdate_err) { unsetenv("DATEMSK"); INT(getdate("x") == NULL); INT(getdate_err); setenv("DATEMSK", "missing", 1); getdate("x"); INT(getdate_err); make_file("masks", "%Y\n"); setenv("DATEMSK", "masks", 1); getdate("zz"); INT(getdate_err); }
PROBE(gmtime) { time_t t = 1718370309; SHOW_TM(gmtime(&t)); t = -86400LL * 365 * 200; SHOW_TM(gmtime(&t)); t = (time_t)1 << 60; INT(gmtime(&t) == NULL); INT(errno); }
PROBE(gmtime_r) { time_t t = 951782400; struct tm r; SHOW_TM(gmtime_r(&t, &r)); }
PROBE(localtime) { setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1); time_t t = 1718370309; SHOW_TM(localtime(&t)); t = 1700000000; SHOW_TM(localtime(&t)); }
PROBE(localtime_r) { setenv("TZ", "IST-5:30", 1); tzset(); time_t t = 0; struct tm r; SHOW_TM(localtime_r(&t, &r)); INT(r.tm_gmtoff); TEXT(r.tm_zone); }
PROBE(mktime) { struct tm t = {.tm_year = 124, .tm_mon = 13, .tm_mday = -3, .tm_hour = 25, .tm_isdst = -1}; INT(mktime(&t)); SHOW_TM(&t); setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1); struct tm u = {.tm_year = 124, .tm_mon = 6, .tm_mday = 1, .tm_isdst = -1}; INT(mktime(&u)); INT(u.tm_isdst); }
PROBE(nanosleep) { struct timespec t = TIMEOUT(20), bad = {-1, 0}, rest; long long before = now(CLOCK_MONOTONIC); CALL(nanosleep(&t, NULL)); INT(now(CLOCK_MONOTONIC) - before >= 20000000); CALL(nanosleep(&bad, NULL)); signal(SIGALRM, noted); struct timespec long_time = {5, 0}; alarm(1); CALL(nanosleep(&long_time, &rest)); INT(rest.tv_sec < 5 && rest.tv_sec > 0); }
PROBE(strftime) { INT(strftime(space, 256, "%a %A %b %B %c %C %d %D %e %F %g %G %h %H %I %j %m %M %n %p %r %R %S %t %T %u %U %V %w %W %x %X %y %Y %z %Z %%", &moment)); TEXT(space); INT(strftime(space, 4, "%Y", &moment)); }
PROBE(strftime_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(strftime_l(space, 256, "%A|%x|%+4Y|%s", &moment, l)); TEXT(space); }
PROBE(strptime) { struct tm t = {0}; TEXT(strptime("Fri 14 Jun 2024 01:05:09 PM rest", "%a %d %b %Y %I:%M:%S %p", &t)); SHOW_TM(&t); INT(strptime("99", "%H", &t) == NULL); TEXT(strptime("2024-06-14T13:05", "%FT%R", &t)); }
PROBE(time) { time_t t; INT(time(&t) == t); INT(t > 1700000000); }
PROBE(timer_create) { timer_t t; struct sigevent e = {.sigev_notify = SIGEV_NONE}; CALL(timer_create(CLOCK_MONOTONIC, &e, &t)); CALL(timer_create(CLOCK_REALTIME, NULL, &t)); CALL(timer_create(77, NULL, &t)); e.sigev_notify = 99; CALL(timer_create(CLOCK_REALTIME, &e, &t)); }
PROBE(timer_delete) { timer_t t; timer_create(CLOCK_MONOTONIC, NULL, &t); CALL(timer_delete(t)); struct itimerspec i; CALL(timer_gettime(t, &i)); }
PROBE(timer_getoverrun) { sigset_t set; timer_t t; struct itimerspec i = {{0, 1000000}, {0, 1000000}}; struct timespec wait = TIMEOUT(50); sigemptyset(&set); sigaddset(&set, SIGALRM); sigprocmask(SIG_BLOCK, &set, NULL); timer_create(CLOCK_MONOTONIC, NULL, &t); timer_settime(t, 0, &i, NULL); nanosleep(&wait, NULL); siginfo_t info; INT(sigwaitinfo(&set, &info)); INT(timer_getoverrun(t) > 5); INT(info.si_code == SI_TIMER); INT(info.si_overrun > 5); }
PROBE(timer_gettime) { timer_t t; struct itimerspec i = {{0, 0}, {100, 0}}; timer_create(CLOCK_MONOTONIC, NULL, &t); CALL(timer_gettime(t, &i)); INT(i.it_value.tv_sec); i.it_value.tv_sec = 100; i.it_interval.tv_sec = 7; timer_settime(t, 0, &i, NULL); CALL(timer_gettime(t, &i)); INT(i.it_value.tv_sec >= 98); INT(i.it_interval.tv_sec); }
PROBE(timer_settime) { signal(SIGUSR1, noted); timer_t t; struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1}; struct itimerspec i = {{0, 0}, {0, 20000000}}, old; struct timespec wait = {2, 0}; timer_create(CLOCK_REALTIME, &e, &t); CALL(timer_settime(t, 0, &i, &old)); INT(old.it_value.tv_sec); CALL(nanosleep(&wait, NULL)); i.it_value.tv_nsec = -1; CALL(timer_settime(t, 0, &i, NULL)); }
PROBE(timespec_get) { struct timespec t; INT(timespec_get(&t, TIME_UTC)); INT(t.tv_sec > 1700000000); INT(timespec_get(&t, 99)); }
PROBE(timezone) { setenv("TZ", "EST5EDT", 1); tzset(); INT(timezone); setenv("TZ", "ABC-3:30", 1); tzset(); INT(timezone); }
PROBE(tzname) { setenv("TZ", "<-03>3", 1); tzset(); TEXT(tzname[0]); setenv("TZ", "EST5EDT", 1); tzset(); TEXT(tzname[0]); TEXT(tzname[1]); }
PROBE(tzset) { setenv("TZ", "Europe/Berlin", 1); tzset(); time_t t = 1718370309; INT(localtime(&t)->tm_hour); setenv("TZ", "nonsense/zone", 1); tzset(); INT(localtime(&t)->tm_hour); }
PROBE(utimes) { struct stat s; struct timeval t[2] = {{1000, 5}, {2000, 7}}; make_file("f", ""); CALL(utimes("f", t)); stat("f", &s); INT(s.st_atim.tv_sec); INT(s.st_mtim.tv_nsec); CALL(utimes("f", NULL)); stat("f", &s); INT(s.st_mtime > 1700000000); CALL(utimes("missing", t)); t[0].tv_usec = 2000000; CALL(utimes("f", t)); }
PROBE(times) { struct tms t; INT(times(&t) != -1); for (volatile int i = 0; i < 30000000; i++) continue; times(&t); INT(t.tms_utime > 0); INT(t.tms_cutime); }
