#include "oracle.h"
#include <dirent.h>
#include <sys/sysmacros.h>
int main(void) {
    char buf[5000]; struct stat st; int fd, o; umask(022);
    close(make("f", "some content")); mkdir("d", 0755);
    /* O_PATH */
    o = open("f", O_PATH); T(read(o, buf, 1)); T(write(o, buf, 1)); T(fcntl(o, F_GETFL));
    T(fcntl(o, F_SETFL, 0)); T(fcntl(o, F_GETFD)); T(fstat(o, &st));
    printf("%o %ld\n", st.st_mode, (long)st.st_size); T(fchmod(o, 0600)); T(lseek(o, 0, 0)); T(ftruncate(o, 0));
    T(fsync(o)); T(ioctl(o, 0x5401, buf)); T(dup(o) > 0); T(openat(o, "x", O_RDONLY)); T(fchown(o, 0, 0));
    T(close(o));
    symlink("f", "s"); o = open("s", O_PATH|O_NOFOLLOW); T(fstat(o, &st)); printf("%o\n", st.st_mode);
    T(readlinkat(o, "", buf, 100)); T(close(o)); T(open("no", O_PATH|O_CREAT, 0600));
    T(close(open("s", O_PATH|O_NOFOLLOW|O_DIRECTORY)));
    /* stat family */
    T(stat("s", &st)); printf("%o %ld %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    T(lstat("s", &st)); printf("%o %ld\n", st.st_mode, (long)st.st_size); T(stat("no", &st));
    T(stat("f/", &st)); T(stat("", &st)); T(stat("f", (void *)1)); T(fstat(77, &st));
    T(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH)); printf("dir %d\n", S_ISDIR(st.st_mode));
    T(fstatat(77, "", &st, AT_EMPTY_PATH)); T(fstatat(AT_FDCWD, "", &st, 0));
    T(fstatat(AT_FDCWD, "f", &st, 0x8000)); T(fstatat(77, "f", &st, 0));
    struct statx sx; memset(&sx, 0, sizeof sx); T(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &sx));
    printf("%o %llu %u\n", sx.stx_mode, (unsigned long long)sx.stx_size, sx.stx_nlink);
    T(statx(AT_FDCWD, "s", AT_SYMLINK_NOFOLLOW, STATX_ALL, &sx)); printf("%o\n", sx.stx_mode);
    T(statx(AT_FDCWD, "f", 0, 0x80000000, &sx)); T(statx(AT_FDCWD, "f", 0x6000, STATX_ALL, &sx));
    T(statx(AT_FDCWD, "no", 0, STATX_ALL, &sx)); T(statx(AT_FDCWD, "", 0, STATX_ALL, &sx));
    T(stat("/dev/null", &st)); printf("%o %u:%u\n", st.st_mode, major(st.st_rdev), minor(st.st_rdev));
    /* access */
    T(access("f", F_OK)); T(access("f", R_OK|W_OK)); T(access("f", X_OK)); T(access("d", X_OK));
    T(access("no", F_OK)); T(access("f", 99)); T(access("f/x", F_OK)); T(access("", F_OK));
    T(faccessat(AT_FDCWD, "s", R_OK, AT_SYMLINK_NOFOLLOW));
    T(syscall(SYS_faccessat2, AT_FDCWD, "f", 0, 0x8000));
    T(syscall(SYS_faccessat2, AT_FDCWD, "", 0, AT_EMPTY_PATH));
    /* chmod, chown */
    T(chmod("f", 0)); T(stat("f", &st)); printf("%o\n", st.st_mode); T(chmod("f", 06755)); stat("f", &st);
    printf("%o\n", st.st_mode); T(chown("f", 1000, 1000)); stat("f", &st);
    printf("%o %d %d\n", st.st_mode, st.st_uid, st.st_gid); T(chown("f", -1, 5)); stat("f", &st);
    printf("%d %d\n", st.st_uid, st.st_gid); T(chmod("no", 0)); T(chmod("s", 0644)); T(lchown("s", 7, 7));
    lstat("s", &st); printf("%d\n", st.st_uid); T(fchmodat(AT_FDCWD, "f", 0600, 0));
    T(syscall(452, AT_FDCWD, "s", 0600, AT_SYMLINK_NOFOLLOW));
    T(fchownat(AT_FDCWD, "s", 8, 8, AT_SYMLINK_NOFOLLOW)); T(fchownat(AT_FDCWD, "s", 8, 8, 0x8000));
    fd = open("f", O_RDONLY); T(fchmod(fd, 0640)); T(fchown(fd, 0, 0)); T(fchmod(77, 0));
    T(fchownat(fd, "", 3, 4, AT_EMPTY_PATH)); fstat(fd, &st);
    printf("%o %d %d\n", st.st_mode, st.st_uid, st.st_gid); T(umask(077)); T(umask(01777)); T(umask(022));
    T(fchown(fd, 0, 0));
    T(mkdir("sg", 0755)); T(chown("sg", 0, 50)); T(chmod("sg", 02755));
    T(close(open("sg/x", O_CREAT|O_WRONLY, 0644))); stat("sg/x", &st); printf("gid %d\n", st.st_gid);
    T(mkdir("sg/y", 0755)); stat("sg/y", &st); printf("%o gid %d\n", st.st_mode, st.st_gid);
    /* times */
    struct timespec ts[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    T(utimensat(AT_FDCWD, "f", ts, 0)); stat("f", &st);
    printf("%ld.%09ld %ld.%09ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    ts[0].tv_nsec = UTIME_OMIT; ts[1].tv_sec = 5; T(utimensat(AT_FDCWD, "f", ts, 0)); stat("f", &st);
    printf("%ld %ld\n", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec); ts[1].tv_nsec = 1000000000;
    T(utimensat(AT_FDCWD, "f", ts, 0)); ts[1].tv_nsec = UTIME_NOW; T(futimens(fd, ts)); stat("f", &st);
    printf("recent %d\n", labs(st.st_mtim.tv_sec - time(NULL)) < 5);
    ts[0] = ts[1] = (struct timespec){0, UTIME_OMIT}; T(utimensat(AT_FDCWD, "no", ts, 0));
    T(utimensat(AT_FDCWD, "no", NULL, 0)); T(utimensat(AT_FDCWD, "f", NULL, 0x8000));
    T(syscall(SYS_utimensat, AT_FDCWD, NULL, NULL, 0)); struct timeval tv[2] = {{10, 20}, {30, 1000000}};
    T(utimes("f", tv)); tv[1].tv_usec = 40; T(utimes("f", tv)); stat("f", &st);
    printf("%ld %ld\n", (long)st.st_atim.tv_nsec, (long)st.st_mtim.tv_nsec); ts[0] = (struct timespec){-5, 3};
    ts[1] = (struct timespec){-1, 999999999}; T(utimensat(AT_FDCWD, "f", ts, 0)); stat("f", &st);
    printf("%ld.%ld %ld.%ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    T(syscall(SYS_utime, "f", (long[]){1, 2})); T(futimens(77, NULL));
    /* mknod, tmpfile */
    T(mknod("fifo", S_IFIFO|0666, 0)); stat("fifo", &st); printf("%o\n", st.st_mode);
    T(mknod("fifo", S_IFIFO|0666, 0)); T(mknod("nul", S_IFCHR|0666, makedev(1, 3))); stat("nul", &st);
    printf("%o %u:%u\n", st.st_mode, major(st.st_rdev), minor(st.st_rdev));
    T(mknod("blk", S_IFBLK|0600, makedev(259, 70000))); stat("blk", &st);
    printf("%u:%u\n", major(st.st_rdev), minor(st.st_rdev)); T(mknod("reg", 0644, 0));
    T(mknod("sock", S_IFSOCK|0644, 0)); T(mknod("dir", S_IFDIR|0644, 0)); T(mknod("bad", 0170000, 0));
    T(open("sock", O_RDONLY)); T(open("fifo", O_WRONLY|O_NONBLOCK)); int r = open("fifo", O_RDONLY|O_NONBLOCK);
    T(r >= 0); T(read(r, buf, 1)); int w = open("fifo", O_WRONLY); T(read(r, buf, 1)); T(write(w, "abc", 3));
    T(read(r, buf, 10)); close(w); T(read(r, buf, 10)); close(r);
    int t = open(".", O_TMPFILE|O_RDWR, 0600); T(t >= 0); T(write(t, "tmp", 3)); fstat(t, &st);
    printf("%o %d\n", st.st_mode, (int)st.st_nlink); T(linkat(t, "", AT_FDCWD, "named", AT_EMPTY_PATH));
    T(stat("named", &st)); printf("%d\n", (int)st.st_nlink); T(open(".", O_TMPFILE|O_RDONLY, 0600));
    T(open("f", O_TMPFILE|O_RDWR, 0600));
    /* openat2 */
    struct { uint64_t flags, mode, resolve; } how = {O_RDONLY, 0, 0};
    T(close(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how)));
    T(syscall(SYS_openat2, AT_FDCWD, "f", &how, 8)); how.flags = 1ull << 40;
    T(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how)); how.flags = O_RDONLY; how.mode = 0600;
    T(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how)); how.mode = 0; how.resolve = 8;
    T(syscall(SYS_openat2, AT_FDCWD, "../x", &how, sizeof how));
    T(syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how));
    T(close(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how))); how.resolve = 4;
    T(syscall(SYS_openat2, AT_FDCWD, "s", &how, sizeof how)); how.resolve = 1 << 20;
    T(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how));
    /* unprivileged */
    chmod(".", 0777); mkdir("priv", 0700); close(make("priv/x", "")); chmod("f", 0640);
    close(make("sticky0", "")); mkdir("st", 01777); close(make("st/mine", "")); fflush(stdout);
    if (!fork()) { setgid(1000); setuid(1000);
        T(open("f", O_RDONLY)); T(open("f", O_WRONLY)); T(open("priv/x", O_RDONLY)); T(stat("priv/x", &st));
        T(chdir("priv")); T(opendir("priv") ? 0 : -1); T(unlink("st/mine")); T(rename("st/mine", "st/x"));
        T(chmod("f", 0777)); T(chown("f", 1000, 1000)); T(utimensat(AT_FDCWD, "f", NULL, 0));
        T(truncate("f", 0)); T(close(open("own", O_CREAT|O_RDWR, 04755))); T(chown("own", 1000, 1000));
        T(chown("own", 0, 0)); T(chown("own", -1, 5)); T(chmod("own", 06755)); stat("own", &st);
        printf("%o %d\n", st.st_mode, st.st_uid); int h = open("own", O_WRONLY); T(write(h, "x", 1));
        fstat(h, &st); printf("%o\n", st.st_mode); T(mknod("dev", S_IFCHR|0666, makedev(1, 3)));
        T(mkfifo("ff", 0600)); T(access("f", R_OK)); T(access("own", R_OK|W_OK|X_OK)); T(chroot("/"));
        T(mkdir("priv/y", 0700)); T(link("f", "flink") ); T(symlink("f", "priv/l")); T(rmdir("priv"));
        T(open("own", O_RDONLY|O_NOATIME) >= 0); T(open("sticky0", O_RDONLY|O_NOATIME));
        fflush(stdout); _exit(0); } wait(NULL);
    T(chroot("no")); T(chroot("f")); T(chroot("d")); T(stat("/f", &st)); T(chdir("/"));
    T(syscall(SYS_getcwd, buf, 100)); T(stat("../../f", &st));
    return 0;
}
