/* System V IPC: shared memory, semaphores with undo and waiting, message queues, bad arguments. */
#include "process.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

struct message {
    long kind;
    char text[64];
};

static void memory(void) {
    E(shmget(IPC_PRIVATE, 0, 0600));
    E(shmget(0x7e57, 100, 0600));
    int id = shmget(0x7e57, 10000, IPC_CREAT | 0600);
    E(shmget(0x7e57, 100, IPC_CREAT | IPC_EXCL | 0600));
    E(shmget(0x7e57, 20000, 0));
    printf("same %d\n", shmget(0x7e57, 100, 0) == id);
    char *one = shmat(id, NULL, 0), *two = shmat(id, NULL, SHM_RDONLY);
    strcpy(one + 5000, "shared");
    printf("%s\n", two + 5000);
    if (!fork()) {
        strcpy(one, "by the child");
        _exit(0);
    }
    wait(NULL);
    printf("%s\n", two);
    struct shmid_ds info;
    E(shmctl(id, IPC_STAT, &info));
    printf("%zu %lu %o %d\n", info.shm_segsz, (long)info.shm_nattch, info.shm_perm.mode,
           info.shm_cpid == getpid());
    E(shmat(id, one + 1, 0));
    E(shmat(id, one, 0));
    E(shmat(-1, NULL, 0));
    E(shmdt(one + 4096));
    E(shmdt(one));
    E(shmdt(one));
    E(shmctl(id, IPC_RMID, NULL));
    E(shmctl(id, IPC_STAT, &info));
    E(shmget(0x7e57, 100, 0));
    printf("%s\n", two + 5000);
    E(shmdt(two));
}

static void semaphores(void) {
    E(semget(IPC_PRIVATE, 0, 0600));
    E(semget(IPC_PRIVATE, -1, 0600));
    int id = semget(IPC_PRIVATE, 3, 0600);
    struct sembuf up = {0, 2, 0}, down = {0, -1, 0}, zero = {0, 0, IPC_NOWAIT}, undo = {1, 5, SEM_UNDO};
    V(semop(id, &up, 1));
    V(semctl(id, 0, GETVAL));
    V(semop(id, &down, 1));
    V(semop(id, &zero, 1));
    V(semop(id, &down, 1));
    V(semop(id, &zero, 1));
    down.sem_flg = IPC_NOWAIT;
    V(semop(id, &down, 1));
    V(semtimedop(id, &(struct sembuf){0, -1, 0}, 1, &(struct timespec){0, 10000000}));
    down.sem_num = 7;
    V(semop(id, &down, 1));
    V(semop(id, &down, 0));
    V(semop(id, &down, 501));
    V(semop(-1, &down, 1));
    V(semctl(id, 0, SETVAL, 40000));
    V(semctl(id, 5, GETVAL));
    V(semctl(id, 0, 99));
    if (!fork()) {
        semop(id, &undo, 1);
        _exit(semctl(id, 1, GETVAL));
    }
    int status;
    wait(&status);
    printf("inside %d\n", WEXITSTATUS(status));
    V(semctl(id, 1, GETVAL));
    unsigned short values[3] = {1, 2, 3};
    V(semctl(id, 0, SETALL, values));
    memset(values, 0, sizeof values);
    V(semctl(id, 0, GETALL, values));
    printf("%d %d %d\n", values[0], values[1], values[2]);
    pid_t child = fork();
    if (!child) _exit(semop(id, &(struct sembuf){2, -4, 0}, 1) ? 1 : 0);
    while (semctl(id, 2, GETNCNT) == 0) usleep(1000);
    semop(id, &(struct sembuf){2, 1, 0}, 1);
    waitpid(child, &status, 0);
    printf("woken %d\n", WEXITSTATUS(status));
    child = fork();
    if (!child) _exit(semop(id, &(struct sembuf){2, -4, 0}, 1) ? errno : 0);
    while (semctl(id, 2, GETNCNT) == 0) usleep(1000);
    V(semctl(id, 0, IPC_RMID));
    waitpid(child, &status, 0);
    printf("removed %d\n", WEXITSTATUS(status));
    V(semctl(id, 0, GETVAL));
}

static void messages(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    struct message m = {3, "three"};
    V(msgsnd(id, &m, 6, 0));
    m = (struct message){1, "one"};
    V(msgsnd(id, &m, 4, 0));
    m = (struct message){2, "two"};
    V(msgsnd(id, &m, 4, 0));
    V(msgrcv(id, &m, 2, 0, 0));
    V(msgrcv(id, &m, 64, -2, 0));
    puts(m.text);
    V(msgrcv(id, &m, 64, 3, MSG_EXCEPT));
    puts(m.text);
    V(msgrcv(id, &m, 3, 0, MSG_NOERROR));
    V(msgrcv(id, &m, 64, 0, IPC_NOWAIT));
    m.kind = 0;
    V(msgsnd(id, &m, 4, 0));
    V(msgsnd(id, &m, 10000, 0));
    V(msgsnd(-1, &m, 1, 0));
    V(msgrcv(id, &m, -1, 0, 0));
    m.kind = 1;
    int sent = 0;
    while (!msgsnd(id, &m, 64, IPC_NOWAIT)) sent++;
    printf("full after %d errno %d\n", sent, errno);
    struct msqid_ds info;
    V(msgctl(id, IPC_STAT, &info));
    printf("%lu %lu\n", (long)info.msg_qnum, (long)info.msg_qbytes);
    while (msgrcv(id, &m, 64, 0, IPC_NOWAIT) >= 0) sent--;
    printf("left %d\n", sent);
    pid_t child = fork();
    if (!child) {
        usleep(10000);
        m.kind = 9;
        msgsnd(id, &m, 1, 0);
        _exit(0);
    }
    V(msgrcv(id, &m, 64, 9, 0));
    wait(NULL);
    V(msgctl(id, IPC_RMID, NULL));
    V(msgctl(id, IPC_STAT, &info));
    V(msgget(0x7e58, 0));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    memory();
    semaphores();
    messages();
    return 0;
}
