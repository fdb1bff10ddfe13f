/* <sys/ipc.h>, <sys/msg.h>, <sys/sem.h>, <sys/shm.h>, <mqueue.h>, <syslog.h>, <utmpx.h> */
#include "probe.h"
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <utmpx.h>

static char space[256];
static struct { long type; char text[64]; } message;
static struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 64};
static mqd_t queue(int flags) { snprintf(space, sizeof space, "/probe-%d", getpid()); mqd_t q = mq_open(space, O_CREAT | O_RDWR | flags, 0600, &attributes); if (q == -1) printf("mq_open: errno %d\n", errno); mq_unlink(space); return q; }
static struct timespec soon(long ms) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); t.tv_nsec += ms * 1000000; t.tv_sec += t.tv_nsec / 1000000000; t.tv_nsec %= 1000000000; return t; }

PROBE(ftok) { struct stat s; make_file("f", ""); stat("f", &s); INT(ftok("f", 'x') == ftok("f", 'x')); INT(ftok("f", 'x') != ftok("f", 'y')); INT((ftok("f", 'A') >> 24) & 255); CALL(ftok("missing", 1)); }
PROBE(msgget) { int q = msgget(IPC_PRIVATE, 0600); INT(q >= 0); INT(msgget(IPC_PRIVATE, 0600) != q); CALL(msgget(0x7ffffff1, 0)); msgctl(q, IPC_RMID, NULL); }
PROBE(msgsnd) { int q = msgget(IPC_PRIVATE, 0600); message.type = 3; CALL(msgsnd(q, &message, 5, 0)); message.type = 0; CALL(msgsnd(q, &message, 5, 0)); message.type = 1; CALL(msgsnd(q, &message, 1 << 20, IPC_NOWAIT)); int n = 0; static struct { long type; char text[4096]; } big = {1}; while (!msgsnd(q, &big, 4096, IPC_NOWAIT)) n++; INT(n); INT(errno); msgctl(q, IPC_RMID, NULL); CALL(msgsnd(q, &message, 1, 0)); }
PROBE(msgrcv) { int q = msgget(IPC_PRIVATE, 0600); for (int i = 1; i < 5; i++) { message.type = i; sprintf(message.text, "type %d", i); msgsnd(q, &message, 10, 0); } CALL(msgrcv(q, &message, 64, 3, 0)); TEXT(message.text); CALL(msgrcv(q, &message, 64, -2, 0)); INT(message.type); CALL(msgrcv(q, &message, 3, 0, 0)); CALL(msgrcv(q, &message, 3, 0, MSG_NOERROR)); CALL(msgrcv(q, &message, 64, 99, IPC_NOWAIT)); msgctl(q, IPC_RMID, NULL); }
PROBE(msgctl) { struct msqid_ds d; int q = msgget(IPC_PRIVATE, 0640); message.type = 1; msgsnd(q, &message, 7, 0); CALL(msgctl(q, IPC_STAT, &d)); INT(d.msg_qnum); INT(d.msg_perm.mode); INT(d.msg_lspid == getpid()); d.msg_perm.mode = 0600; CALL(msgctl(q, IPC_SET, &d)); CALL(msgctl(q, 999, &d)); CALL(msgctl(q, IPC_RMID, NULL)); CALL(msgctl(q, IPC_RMID, NULL)); }
PROBE(semget) { int s = semget(IPC_PRIVATE, 3, 0600); INT(s >= 0); CALL(semget(IPC_PRIVATE, 0, 0600)); CALL(semget(IPC_PRIVATE, -1, 0600)); CALL(semget(0x7ffffff2, 1, 0)); semctl(s, 0, IPC_RMID); }
PROBE(semop) { int s = semget(IPC_PRIVATE, 2, 0600); struct sembuf up = {0, 2, 0}, down = {0, -1, IPC_NOWAIT}, zero = {0, 0, IPC_NOWAIT}, bad = {9, 1, 0}, undo = {1, 5, SEM_UNDO}; CALL(semop(s, &up, 1)); CALL(semop(s, &down, 1)); CALL(semop(s, &zero, 1)); CALL(semop(s, &down, 1)); CALL(semop(s, &down, 1)); CALL(semop(s, &bad, 1)); if (!fork()) { semop(s, &undo, 1); _exit(0); } wait(NULL); INT(semctl(s, 1, GETVAL)); semctl(s, 0, IPC_RMID); CALL(semop(s, &up, 1)); }
PROBE(semctl) { int s = semget(IPC_PRIVATE, 2, 0600); unsigned short v[2] = {7, 8}; CALL(semctl(s, 0, SETALL, v)); INT(semctl(s, 1, GETVAL)); CALL(semctl(s, 0, SETVAL, 5)); v[0] = 0; semctl(s, 0, GETALL, v); INT(v[0]); INT(semctl(s, 0, GETNCNT)); CALL(semctl(s, 0, SETVAL, 99999)); CALL(semctl(s, 9, GETVAL)); struct semid_ds d; CALL(semctl(s, 0, IPC_STAT, &d)); INT(d.sem_nsems); CALL(semctl(s, 0, IPC_RMID)); CALL(semctl(s, 0, IPC_RMID)); }
PROBE(shmget) { int s = shmget(IPC_PRIVATE, 5000, 0600); INT(s >= 0); CALL(shmget(IPC_PRIVATE, 0, 0600)); CALL(shmget(0x7ffffff3, 1, 0)); shmctl(s, IPC_RMID, NULL); }
PROBE(shmat) { int s = shmget(IPC_PRIVATE, 5000, 0600); char *p = shmat(s, NULL, 0), *q = shmat(s, NULL, SHM_RDONLY); strcpy(p, "shared"); TEXT(q); if (!fork()) { strcpy(p, "by the child"); _exit(0); } wait(NULL); TEXT(q); shmctl(s, IPC_RMID, NULL); INT((long)shmat(99999999, NULL, 0)); INT(errno); CALL(shmat(s, (void *)1, 0)); }
PROBE(shmdt) { int s = shmget(IPC_PRIVATE, 4096, 0600); char *p = shmat(s, NULL, 0); shmctl(s, IPC_RMID, NULL); CALL(shmdt(p)); CALL(shmdt(p)); CALL(shmat(s, NULL, 0)); }
PROBE(shmctl) { struct shmid_ds d; int s = shmget(IPC_PRIVATE, 5000, 0640); shmat(s, NULL, 0); CALL(shmctl(s, IPC_STAT, &d)); INT(d.shm_segsz); INT(d.shm_nattch); INT(d.shm_perm.mode & 0777); CALL(shmctl(s, 999, &d)); CALL(shmctl(s, IPC_RMID, NULL)); CALL(shmctl(s, IPC_STAT, &d)); INT(!!(d.shm_perm.mode & SHM_DEST)); }

PROBE(mq_open) { INT(queue(O_EXCL) != -1); CALL(mq_open("/missing-queue", O_RDONLY)); CALL(mq_open("noslash", O_RDONLY)); attributes.mq_maxmsg = -1; INT(queue(0)); }
PROBE(mq_close) { mqd_t q = queue(0); CALL(mq_close(q)); CALL(mq_close(q)); }
PROBE(mq_send) { mqd_t q = queue(O_NONBLOCK); CALL(mq_send(q, "a message", 9, 5)); CALL(mq_send(q, space, 65, 0)); CALL(mq_send(q, "x", 1, 99999)); mq_send(q, "2", 1, 0); mq_send(q, "3", 1, 0); mq_send(q, "4", 1, 0); CALL(mq_send(q, "5", 1, 0)); }
PROBE(mq_receive) { unsigned priority; mqd_t q = queue(O_NONBLOCK); mq_send(q, "low", 4, 1); mq_send(q, "high", 5, 9); CALL(mq_receive(q, space, 64, &priority)); TEXT(space); INT(priority); CALL(mq_receive(q, space, 3, NULL)); CALL(mq_receive(q, space, 64, NULL)); CALL(mq_receive(q, space, 64, NULL)); }
PROBE(mq_getattr) { struct mq_attr a; mqd_t q = queue(O_NONBLOCK); mq_send(q, "x", 1, 0); CALL(mq_getattr(q, &a)); INT(a.mq_maxmsg); INT(a.mq_msgsize); INT(a.mq_curmsgs); INT(a.mq_flags == O_NONBLOCK); }
PROBE(mq_setattr) { struct mq_attr a = {.mq_flags = O_NONBLOCK}, old; mqd_t q = queue(0); CALL(mq_setattr(q, &a, &old)); INT(old.mq_flags); CALL(mq_receive(q, space, 64, NULL)); a.mq_flags = 1; CALL(mq_setattr(q, &a, NULL)); }
static void noted(int signal) { puts("notified"); }
PROBE(mq_notify) { struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1}; signal(SIGUSR1, noted); mqd_t q = queue(0); CALL(mq_notify(q, &e)); CALL(mq_notify(q, &e)); mq_send(q, "x", 1, 0); CALL(mq_notify(q, NULL)); }
PROBE(mq_timedreceive) { struct timespec t = soon(20), bad = {0, -1}; mqd_t q = queue(0); CALL(mq_timedreceive(q, space, 64, NULL, &t)); CALL(mq_timedreceive(q, space, 64, NULL, &bad)); }
PROBE(mq_timedsend) { struct timespec t = soon(20); attributes.mq_maxmsg = 1; mqd_t q = queue(0); CALL(mq_timedsend(q, "x", 1, 0, &t)); CALL(mq_timedsend(q, "y", 1, 0, &t)); }
PROBE(mq_unlink) { mqd_t q = mq_open("/probe-unlink", O_CREAT | O_RDWR, 0600, NULL); CALL(mq_unlink("/probe-unlink")); CALL(mq_unlink("/probe-unlink")); CALL(mq_send(q, "still", 5, 0)); }

PROBE(openlog) { openlog("probe", LOG_PERROR, LOG_USER); syslog(LOG_ERR, "%s %d", "message", 5); }
PROBE(syslog) { openlog("name", LOG_PERROR, LOG_DAEMON); errno = ENOENT; syslog(LOG_WARNING, "%m"); }
PROBE(closelog) { openlog("x", LOG_PERROR | LOG_NDELAY, LOG_USER); closelog(); puts("closed"); }
PROBE(setlogmask) { openlog("masked", LOG_PERROR, LOG_USER); INT(setlogmask(LOG_UPTO(LOG_ERR))); syslog(LOG_INFO, "unseen"); syslog(LOG_CRIT, "seen"); INT(setlogmask(0)); }

static struct utmpx record = {.ut_type = USER_PROCESS, .ut_pid = 77, .ut_line = "pts/5", .ut_id = "p5", .ut_user = "somebody"};
static void own_file(void) { extern int utmpxname(const char *); make_file("utmp", ""); utmpxname("utmp"); setutxent(); }
PROBE(pututxline) { own_file(); struct utmpx *u = pututxline(&record); INT(u != NULL); struct stat s; stat("utmp", &s); INT(s.st_size); pututxline(&record); stat("utmp", &s); INT(s.st_size); }
PROBE(getutxent) { own_file(); INT(getutxent() == NULL); pututxline(&record); setutxent(); struct utmpx *u = getutxent(); TEXT(u ? u->ut_user : NULL); INT(u ? u->ut_pid : 0); }
PROBE(getutxid) { own_file(); pututxline(&record); setutxent(); struct utmpx *u = getutxid(&record); TEXT(u ? u->ut_line : NULL); record.ut_id[0] = 'z'; setutxent(); INT(getutxid(&record) == NULL); }
PROBE(getutxline) { own_file(); pututxline(&record); setutxent(); struct utmpx *u = getutxline(&record); TEXT(u ? u->ut_user : NULL); }
PROBE(setutxent) { own_file(); pututxline(&record); setutxent(); INT(getutxent() != NULL); INT(getutxent() == NULL); setutxent(); INT(getutxent() != NULL); }
PROBE(endutxent) { own_file(); pututxline(&record); endutxent(); INT(getutxent() != NULL); }
