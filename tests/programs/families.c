/* Families of system calls about files, memory, threads, processes and mounts; see families.h. */
#include "families.h"

static void files(void)
{
    char data[9000];
    memset(data, 'x', sizeof data);
    mkdir("d", 0755);
    int fd = open("d/a", O_RDWR | O_CREAT, 0644);
    write(fd, data, sizeof data);
    pwrite(fd, "yy", 2, 20000);
    lseek(fd, 5, SEEK_SET);
    struct iovec parts[2] = {{data, 3000}, {data + 3000, 5000}};
    readv(fd, parts, 2);
    writev(fd, parts, 2);
    ftruncate(fd, 4000);
    fallocate(fd, 0, 0, 30000);
    fsync(fd);
    struct stat status;
    fstat(fd, &status);
    setxattr("d/a", "user.one", "1", 1, 0);
    getxattr("d/a", "user.one", data, 10);
    removexattr("d/a", "user.one");
    link("d/a", "d/b");
    symlink("a", "d/c");
    readlink("d/c", data, sizeof data);
    rename("d/b", "d/e");
    chmod("d/a", 0600);
    int other = open("d/o", O_RDWR | O_CREAT | O_EXCL, 0600);
    copy_file_range(fd, &(loff_t){0}, other, NULL, 3000, 0);
    sendfile(other, fd, &(off_t){0}, 5000);
    flock(fd, LOCK_EX);
    struct flock lock = {.l_type = F_WRLCK, .l_len = 10};
    fcntl(other, F_SETLK, &lock);
    int unnamed = open("d", O_TMPFILE | O_RDWR, 0600);
    write(unnamed, "t", 1);
    int memory = memfd_create("m", MFD_ALLOW_SEALING);
    write(memory, data, 5000);
    fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK);
    int place = open("d", O_RDONLY | O_DIRECTORY);
    syscall(SYS_getdents64, place, data, sizeof data);
    openat(place, "a", O_RDONLY);
    int host = open("/etc/passwd", O_RDONLY);
    read(host, data, sizeof data);
    int kernels = open("/proc/self/maps", O_RDONLY);
    read(kernels, data, sizeof data);
    int watch = inotify_init1(IN_NONBLOCK);
    inotify_add_watch(watch, "d", IN_ALL_EVENTS);
    unlink("d/e");
    read(watch, data, sizeof data);
    unlink("d/a");
    unlink("d/c");
    unlink("d/o");
    rmdir("d");
}

static void memory(void)
{
    size_t size = 40 * 4096;
    char *private = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (private != MAP_FAILED) {
        for (size_t at = 0; at < size; at += 4096)
            private[at] = 1;
        mprotect(private + 8 * 4096, 4 * 4096, PROT_READ);
        munmap(private + 20 * 4096, 4096);
        madvise(private, 4 * 4096, MADV_DONTNEED);
        char *moved = mremap(private, 8 * 4096, 60 * 4096, MREMAP_MAYMOVE);
        if (moved != MAP_FAILED)
            moved[59 * 4096] = 1;
    }
    char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = open("m", O_RDWR | O_CREAT, 0600);
    ftruncate(fd, size);
    char *file = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    int text = open("/etc/passwd", O_RDONLY);
    char *foreign = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, text, 0);
    void *heap = sbrk(100000);
    pid_t child = start();
    if (shared != MAP_FAILED)
        shared[5000] = 2;
    if (file != MAP_FAILED && copy != MAP_FAILED) {
        file[9000] = 2;
        copy[9000] = copy[13000] = 3;
        msync(file, size, MS_SYNC);
    }
    if (foreign != MAP_FAILED)
        foreign[0] = 'x';
    if (heap != (void *)-1)
        memset(heap, 1, 100000);
    if (!child)
        _exit(0);
    mincore(shared, size, (unsigned char *)program);
    int identifier = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
    char *segment = shmat(identifier, NULL, 0);
    shmctl(identifier, IPC_RMID, NULL);
    if (segment != (void *)-1) {
        segment[100] = 1;
        shmdt(segment);
    }
    char there[8];
    struct iovec local = {there, 8}, remote = {(void *)program, 8};
    process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    reap(child);
    unlink("m");
}

static void *sleeper(void *argument)
{
    struct timespec time = {0, 20000000};
    nanosleep(&time, NULL);
    return argument;
}

static void *reader(void *argument)
{
    char byte;
    read(*(int *)argument, &byte, 1);
    return NULL;
}

static void *exiter(void *argument)
{
    execl("/proc/self/exe", program, "nothing", NULL);
    return argument;
}

static void threads(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    static int ends[2];
    pthread_t thread[4];
    pipe(ends);
    int made = 0;
    for (int i = 0; i < 3; i++)
        made += !pthread_create(&thread[made], NULL, i ? sleeper : reader, ends);
    pthread_mutex_lock(&mutex);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 5000000;
    if (limit.tv_nsec >= 1000000000)
        limit.tv_nsec -= 1000000000, limit.tv_sec++;
    pthread_cond_timedwait(&condition, &mutex, &limit);
    pthread_mutex_unlock(&mutex);
    write(ends[1], "x", 1);
    for (int i = 0; i < made; i++)
        pthread_join(thread[i], NULL);
    pid_t child = start();
    if (!child) { /* an exec from a thread, with others in a sleep and in a read */
        for (int i = 0; i < 3; i++)
            pthread_create(&thread[i], NULL, i == 2 ? exiter : i ? sleeper : reader, ends);
        pause();
        _exit(1);
    }
    reap(child);
}

static void processes(void)
{
    catch(SIGCHLD);
    for (int i = 0; i < 3; i++) {
        pid_t child = i == 1 ? vfork() : start();
        if (!child) {
            if (i == 0)
                setsid();
            if (i == 2)
                kill(getpid(), SIGKILL);
            execl("/proc/self/exe", program, "nothing", NULL);
            _exit(1);
        }
        setpgid(child, child);
        reap(child);
    }
    pid_t child;
    char *words[] = {(char *)program, "nothing", NULL};
    if (!posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, NULL))
        reap(child);
    int out[2] = {-1, -1};
    pipe2(out, O_CLOEXEC);
    child = start();
    if (!child) { /* an orphan's parent */
        if (!start()) {
            usleep(1000);
            write(out[1], "x", 1);
            _exit(0);
        }
        _exit(0);
    }
    reap(child);
    struct pollfd wait = {out[0], POLLIN, 0};
    poll(&wait, 1, 100);
    child = start();
    if (!child) {
        raise(SIGSTOP);
        _exit(0);
    }
    if (child > 0) {
        waitpid(child, NULL, WUNTRACED);
        kill(child, SIGCONT);
        int pidfd = syscall(SYS_pidfd_open, child, 0);
        struct pollfd ended = {pidfd, POLLIN, 0};
        poll(&ended, 1, 100);
    }
    reap(child);
    static int pidfd;
    child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
    if (!child)
        _exit(0);
    reap(child);
    char *none[] = {NULL};
    execve("/nonexistent", words, none);
    execve("/etc/passwd", words, none);
    execl("/proc/self/exe", program, "nothing", NULL);
}

static void places(void)
{
    mkdir("p", 0700);
    if (!mount("none", "p", "tmpfs", 0, NULL)) {
        int fd = open("p/file", O_RDWR | O_CREAT, 0600);
        write(fd, "x", 1);
        umount2("p", MNT_DETACH);
        close(fd);
    }
    mount("/etc", "p", NULL, MS_BIND, NULL);
    umount("p");
    pid_t child = start();
    if (!child) {
        setuid(1000);
        chdir("/");
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
        open("/etc/passwd", O_RDONLY);
        _exit(0);
    }
    reap(child);
    child = start();
    if (!child) {
        chroot("p");
        chdir("/");
        open("/etc/passwd", O_RDONLY);
        _exit(0);
    }
    reap(child);
    rmdir("p");
}

int main(int count, char **words)
{
    static const struct family families[] = {
        {"files", files}, {"memory", memory}, {"threads", threads}, {"processes", processes}, {"places", places}, {0}};
    return run_family(count, words, families);
}
