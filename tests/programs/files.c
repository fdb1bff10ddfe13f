/* The file calls and their errors. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void say(const char *what, long result)
{
    if (result < 0)
        printf("%s: %s\n", what, strerror(errno));
    else
        printf("%s: %ld\n", what, result);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

int main(void)
{
    char buffer[100];
    struct stat status;
    int fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0644);
    say("write", write(fd, "hello world", 11));
    say("lseek", lseek(fd, -5, SEEK_END));
    say("read", read(fd, buffer, 100));
    say("read at the end", read(fd, buffer, 100));
    say("lseek before the start", lseek(fd, -100, SEEK_CUR));
    say("pwrite past the end", pwrite(fd, "!", 1, 20));
    fstat(fd, &status);
    printf("size %ld mode %o links %ld\n", (long)status.st_size, status.st_mode, (long)status.st_nlink);
    say("exclusive", open("f", O_CREAT | O_EXCL | O_RDWR, 0644));
    say("missing", open("missing", O_RDONLY));
    say("below a file", open("f/x", O_RDONLY));
    say("directory for writing", open(".", O_WRONLY));
    say("not a directory", open("f", O_DIRECTORY));
    say("bad descriptor", read(99, buffer, 1));
    say("bad pointer", read(fd, (void *)8, 1));
    say("bad path pointer", open((char *)8, O_RDONLY));
    say("empty path", open("", O_RDONLY));
    memset(buffer, 0, sizeof buffer);
    char name[300];
    memset(name, 'n', 299);
    name[299] = 0;
    say("long name", open(name, O_CREAT | O_RDWR, 0600));
    int copy = dup(fd);
    lseek(fd, 3, SEEK_SET);
    say("dup shares the position", lseek(copy, 0, SEEK_CUR));
    say("dup2", dup2(fd, 20));
    say("close", close(20));
    say("close again", close(20));
    say("F_GETFD", fcntl(fd, F_GETFD));
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    say("F_GETFD set", fcntl(fd, F_GETFD));
    say("F_DUPFD", fcntl(fd, F_DUPFD, 50));
    int append = open("f", O_WRONLY | O_APPEND);
    say("append", write(append, "END", 3));
    say("write on a read-only descriptor", write(open("f", O_RDONLY), "x", 1));
    struct iovec parts[2] = {{"ab", 2}, {"cde", 3}};
    say("writev", writev(append, parts, 2));
    fstat(fd, &status);
    say("size", status.st_size);
    say("ftruncate", ftruncate(fd, 4));
    say("pread", pread(fd, buffer, 100, 0));
    printf("content %.4s\n", buffer);

    say("mkdir", mkdir("d", 0755));
    say("mkdir again", mkdir("d", 0755));
    say("link", link("f", "d/hard"));
    say("symlink", symlink("../f", "d/soft"));
    say("readlink", readlink("d/soft", buffer, 100));
    say("rmdir of a full folder", rmdir("d"));
    say("unlink of a folder", unlink("d"));
    say("rename", rename("d/hard", "g"));
    say("rename into itself", rename("d", "d/e"));
    say("rename over a folder", rename("g", "d"));
    say("loop", (symlink("loop", "loop"), open("loop", O_RDONLY)));
    lstat("loop", &status);
    printf("link mode %o size %ld\n", status.st_mode & S_IFMT, (long)status.st_size);
    say("unlink while open", unlink("f"));
    fstat(fd, &status);
    say("links left", status.st_nlink);
    say("chmod", chmod("g", 0600));
    say("access", access("g", X_OK));
    say("openat", openat(open("d", O_RDONLY), "soft", O_RDONLY));
    say("unlinkat", unlinkat(AT_FDCWD, "loop", 0));

    DIR *folder = opendir(".");
    char *names[100];
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        names[count++] = strdup(entry->d_name);
    qsort(names, count, sizeof *names, by_name);
    for (int i = 0; i < count; i++)
        printf("%s ", names[i]);
    printf("\n");

    int pipes[2];
    say("pipe2", pipe2(pipes, O_NONBLOCK));
    say("empty pipe", read(pipes[0], buffer, 1));
    struct pollfd polled[2] = {{pipes[0], POLLIN, 0}, {pipes[1], POLLOUT, 0}};
    say("poll", poll(polled, 2, 0));
    printf("events %x %x\n", polled[0].revents, polled[1].revents);
    long filled = 0, part;
    while ((part = write(pipes[1], name, 256)) > 0)
        filled += part;
    say("full pipe", part);
    say("held", filled);
    close(pipes[1]);
    polled[0].revents = 0;
    poll(polled, 1, 0);
    printf("hang-up %x\n", polled[0].revents);
    int other = open("g", O_RDONLY), same = open("g", O_RDONLY);
    say("flock", flock(other, LOCK_EX));
    say("second flock", flock(same, LOCK_EX | LOCK_NB));
    say("seek on a pipe", lseek(pipes[0], 0, SEEK_SET));
    say("getcwd", getcwd(buffer, 2) == NULL ? -1 : 0);
    say("isatty", isatty(fd) - 1);
    return 0;
}
