#include "oracle.h"
#include <sys/ioctl.h>
#include <termios.h>
#define P(field) printf(#field " %o\n", (unsigned)(field))
int main(void) {
    char buf[200]; int n = -1, lock = 0, v; struct winsize ws; struct termios t;
    int file = make("a", "12345"), p[2]; pipe(p);
    T(ioctl(file, TCGETS, buf)); T(ioctl(77, TCGETS, buf)); T(ioctl(file, FIONREAD, &n)); printf("%d\n", n);
    lseek(file, 2, 0); T(ioctl(file, FIONREAD, &n)); printf("%d\n", n); write(p[1], "abc", 3);
    T(ioctl(p[0], FIONREAD, &n)); printf("%d\n", n); T(ioctl(p[0], TIOCGWINSZ, &ws));
    T(ioctl(p[0], 0xdeadbeef, 0)); T(ioctl(file, FIOCLEX)); T(fcntl(file, F_GETFD)); T(ioctl(file, FIONCLEX));
    T(fcntl(file, F_GETFD)); v = 1; T(ioctl(p[0], FIONBIO, &v)); T(fcntl(p[0], F_GETFL)); v = 0;
    T(ioctl(p[0], FIONBIO, &v)); T(fcntl(p[0], F_GETFL)); T(ioctl(p[0], FIONBIO, (void *)1)); long long size;
    T(ioctl(file, FIOQSIZE, &size));  T(isatty(file));
    int nul = open("/dev/null", O_RDWR); T(isatty(nul)); T(ioctl(nul, FIONREAD, &n));
    T(ioctl(nul, TCGETS, buf));
    setsid();
    int m = open("/dev/ptmx", O_RDWR|O_NOCTTY); T(m >= 0); T(ioctl(m, TIOCGPTN, &n));
    T(ioctl(m, TIOCSPTLCK, &lock)); snprintf(buf, sizeof buf, "/dev/pts/%d", n);
    int s = open(buf, O_RDWR|O_NOCTTY); T(s >= 0); T(isatty(s)); T(isatty(m));
    T(ioctl(s, TCGETS, &t)); P(t.c_iflag); P(t.c_oflag); P(t.c_cflag); P(t.c_lflag); P(t.c_line);
    for (int i = 0; i < 19; i++) printf("%d ", t.c_cc[i]); puts("");
    T(ioctl(s, TIOCGWINSZ, &ws)); printf("%d %d\n", ws.ws_row, ws.ws_col); ws.ws_row = 40; ws.ws_col = 100;
    T(ioctl(m, TIOCSWINSZ, &ws)); memset(&ws, 0, sizeof ws); T(ioctl(s, TIOCGWINSZ, &ws));
    printf("%d %d\n", ws.ws_row, ws.ws_col);
    T(ioctl(s, TIOCGPGRP, &v)); T(ioctl(s, TIOCGSID, &v)); T(ioctl(m, TIOCSCTTY, 0)); T(ioctl(s, TIOCSCTTY, 0));
    T(ioctl(s, TIOCGPGRP, &v)); printf("%d\n", v == getpid()); T(ioctl(s, TIOCGSID, &v));
    printf("%d\n", v == getpid()); v = 99999; T(ioctl(s, TIOCSPGRP, &v)); v = -1; T(ioctl(s, TIOCSPGRP, &v));
    v = getpid(); T(ioctl(s, TIOCSPGRP, &v)); int tty = open("/dev/tty", O_RDWR); T(tty >= 0); T(isatty(tty));
    T(write(m, "line\nrest", 9)); T(poll(&(struct pollfd){s, POLLIN, 0}, 1, 1000)); T(ioctl(s, FIONREAD, &v)); printf("%d\n", v); T(read(s, buf, 100));
    show("line", buf, 5); T(ioctl(s, FIONREAD, &v)); printf("%d\n", v); T(read(m, buf, 100));
    show("echo", buf, 10); T(ioctl(s, TCFLSH, TCIOFLUSH)); T(ioctl(s, TCFLSH, 9)); T(write(s, "out\n", 4));
    usleep(50000); /* the host hands it over in pieces, by a worker */
    T(read(m, buf, 100)); show("out", buf, 5);
    t.c_lflag &= ~(ICANON|ECHO); t.c_cc[VMIN] = 0; t.c_cc[VTIME] = 0; T(ioctl(s, TCSETSF, &t));
    T(read(s, buf, 10)); T(write(m, "ab", 2)); T(poll(&(struct pollfd){s, POLLIN, 0}, 1, 1000)); T(read(s, buf, 10)); T(ioctl(s, TCGETS, &t)); P(t.c_lflag);
    T(ioctl(s, TCSETS, (void *)1)); T(ioctl(s, TCGETS, (void *)1)); T(tcdrain(s)); T(ioctl(s, TCSBRK, 1));
    T(ioctl(s, TCXONC, 99)); T(ioctl(s, TIOCOUTQ, &v)); T(ioctl(s, TIOCEXCL)); T(ioctl(s, TIOCGETD, &v));
    printf("%d\n", v); T(cfgetospeed(&t)); cfsetspeed(&t, B9600); T(ioctl(s, TCSETSW, &t));
    T(ioctl(s, TCGETS, &t)); P(t.c_cflag);
    struct { unsigned i, o, c, l; unsigned char line, cc[19]; unsigned is, os; } t2;
    T(ioctl(s, 0x802C542A, &t2)); printf("%u %u\n", t2.is, t2.os);
    T(ioctl(s, TIOCGPTN, &v)); T(ioctl(m, TIOCGPTLCK, &v)); printf("%d\n", v);
    int peer = ioctl(m, TIOCGPTPEER, O_RDWR|O_NOCTTY); T(peer >= 0); struct stat st; fstat(s, &st);
    printf("%o\n", st.st_mode & S_IFMT); signal(SIGHUP, SIG_IGN); T(close(m)); T(read(s, buf, 10));
    T(write(s, "x", 1)); T(ioctl(s, TCGETS, &t));
    return 0;
}
