#include "oracle.h"
#include <sys/ioctl.h>
#include <termios.h>

static int m, s;

/* The next packet: waits for one as long as the host's worker may take, and says what poll saw. */
static void packet(const char *what) {
    char buf[100];
    struct pollfd ready = {m, POLLIN | POLLPRI, 0};
    int n = poll(&ready, 1, 200);
    n = n ? read(m, buf, sizeof buf) : 0;
    printf("%s poll %x ", what, ready.revents & (POLLIN | POLLPRI));
    show("packet", buf, n < 0 ? 0 : n);
}

int main(void) {
    struct termios t; char buf[10]; int n, on = 1, off = 0;
    setsid(); signal(SIGINT, SIG_IGN); signal(SIGTTOU, SIG_IGN);
    m = posix_openpt(O_RDWR | O_NOCTTY); grantpt(m); unlockpt(m); s = open(ptsname(m), O_RDWR);
    T(ioctl(m, TIOCGPKT, &n)); T(n); T(ioctl(s, TIOCPKT, &on)); T(ioctl(s, TIOCGPKT, &n)); T(ioctl(m, TIOCPKT, (void *)1));
    tcgetattr(s, &t); t.c_iflag |= IXON; t.c_oflag = 0; tcsetattr(s, TCSANOW, &t);
    T(ioctl(m, TIOCPKT, &on)); T(ioctl(m, TIOCGPKT, &n)); T(n); packet("nothing");
    write(s, "data", 4); usleep(50000); T(ioctl(m, FIONREAD, &n)); T(n); packet("output");
    write(s, "abcdef", 6); usleep(50000); T(read(m, buf, 3)); show("three", buf, 3); T(read(m, buf, 1)); show("one", buf, 1);
    packet("rest");
    tcflush(s, TCIFLUSH); packet("input flushed"); tcflush(s, TCOFLUSH); packet("output flushed");
    tcflush(s, TCIOFLUSH); packet("both flushed");
    t.c_iflag &= ~IXON; tcsetattr(s, TCSANOW, &t); packet("no flow control");
    tcsetattr(s, TCSANOW, &t); packet("the same again");
    t.c_iflag |= IXON; tcsetattr(s, TCSANOW, &t); packet("flow control");
    t.c_cc[VSTOP] = 'x'; tcsetattr(s, TCSANOW, &t); packet("other character");
    t.c_cc[VSTOP] = 023; tcsetattr(s, TCSANOW, &t); packet("usual character");
    tcflow(s, TCOOFF); packet("stopped"); tcflow(s, TCOON); packet("started");
    tcflow(s, TCOOFF); tcflow(s, TCOON); packet("stopped and started");
    t.c_lflag &= ~ECHO; tcsetattr(s, TCSANOW, &t);
    write(m, "\023", 1); packet("^S"); write(m, "\021", 1); packet("^Q"); write(m, "\003", 1); packet("^C");
    t.c_lflag |= EXTPROC; tcsetattr(s, TCSANOW, &t); packet("external"); tcsetattr(s, TCSANOW, &t); packet("external still");
    t.c_lflag &= ~EXTPROC; tcsetattr(s, TCSANOW, &t); packet("no longer");
    tcflush(s, TCIFLUSH); T(ioctl(m, TIOCPKT, &off)); write(s, "plain", 5); usleep(50000); packet("off");

    /* Reading and writing leave their time at the node. */
    struct timespec never[2] = {{0, 0}, {0, 0}}; struct stat st;
    T(futimens(s, never)); write(m, "line\n", 5); poll(&(struct pollfd){s, POLLIN, 0}, 1, 1000); T(read(s, buf, 9));
    fstat(s, &st); T(st.st_atime > 0); T(st.st_mtime > 0); write(s, "x", 1); fstat(s, &st); T(st.st_mtime > 0);
    T(read(m, buf, 9)); T(futimens(s, never)); fstat(s, &st); T(st.st_atime); T(st.st_mtime);
    return 0;
}
