/* <locale.h>, <langinfo.h>, <iconv.h>, <monetary.h>, <nl_types.h>, <libintl.h>, <termios.h> */
#include "probe.h"
#include <fcntl.h>
#include <iconv.h>
#include <langinfo.h>
#include <libintl.h>
#include <monetary.h>
#include <nl_types.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static char space[512];

PROBE(setlocale) { TEXT(setlocale(LC_ALL, NULL)); TEXT(setlocale(LC_ALL, "")); TEXT(setlocale(LC_CTYPE, "POSIX")); TEXT(setlocale(LC_ALL, NULL)); TEXT(setlocale(LC_ALL, "xx_YY")); TEXT(setlocale(99, "C")); }
PROBE(localeconv) { struct lconv *l = localeconv(); TEXT(l->decimal_point); TEXT(l->thousands_sep); TEXT(l->currency_symbol); INT(l->frac_digits); }
PROBE(newlocale) { locale_t l = newlocale(LC_CTYPE_MASK, "C.UTF-8", 0); INT(l != 0); l = newlocale(LC_NUMERIC_MASK, "C", l); TEXT(nl_langinfo_l(CODESET, l)); INT(newlocale(LC_ALL_MASK, "xx_YY", 0) == 0); INT(errno); }
PROBE(duplocale) { locale_t l = duplocale(newlocale(LC_ALL_MASK, "C.UTF-8", 0)); TEXT(nl_langinfo_l(CODESET, l)); }
PROBE(freelocale) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); freelocale(l); puts("freed"); }
PROBE(uselocale) { INT(uselocale(0) == LC_GLOBAL_LOCALE); uselocale(newlocale(LC_ALL_MASK, "C.UTF-8", 0)); TEXT(nl_langinfo(CODESET)); INT(uselocale(LC_GLOBAL_LOCALE) != LC_GLOBAL_LOCALE); TEXT(nl_langinfo(CODESET)); }
PROBE(getlocalename_l) { TEXT(getlocalename_l(LC_CTYPE, newlocale(LC_ALL_MASK, "C", 0))); }
PROBE(nl_langinfo) { setlocale(LC_ALL, ""); TEXT(nl_langinfo(CODESET)); TEXT(nl_langinfo(DAY_2)); TEXT(nl_langinfo(MON_12)); TEXT(nl_langinfo(D_T_FMT)); TEXT(nl_langinfo(RADIXCHAR)); TEXT(nl_langinfo(YESEXPR)); TEXT(nl_langinfo(999999)); }
PROBE(nl_langinfo_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); TEXT(nl_langinfo_l(CODESET, l)); TEXT(nl_langinfo_l(ABDAY_1, l)); }
PROBE(strfmon) { INT(strfmon(space, 99, "%n|%i|%!.2n|%(#5n", 1234.567, 1234.567, 3.0, -9.99)); TEXT(space); CALL(strfmon(space, 3, "%n", 123456.0)); }
PROBE(strfmon_l) { INT(strfmon_l(space, 99, newlocale(LC_ALL_MASK, "C.UTF-8", 0), "%=*#6.1n", 42.25)); TEXT(space); }

static size_t converted(const char *to, const char *from, char *text, size_t length) { iconv_t c = iconv_open(to, from); char *in = text, *out = space; size_t room = sizeof space; if (c == (iconv_t)-1) { printf("iconv_open: errno %d\n", errno); return -1; } memset(space, 0, sizeof space); errno = 0; size_t r = iconv(c, &in, &length, &out, &room); printf("left %zu, errno %d:", length, errno); for (char *at = space; at < out; at++) printf(" %02x", *at & 255); puts(""); iconv_close(c); return r; }
PROBE(iconv) { INT(converted("UTF-16LE", "UTF-8", "a\xe2\x82\xac\xf0\x9f\x98\x80", 8)); INT(converted("ISO-8859-1", "UTF-8", "\xc3\xa9\xe2\x82\xac", 5)); INT(converted("UTF-8", "UTF-8", "\xe2\x82", 2)); INT(converted("UTF-8", "ISO-8859-15", "\xa4", 1)); INT(converted("ASCII//TRANSLIT", "UTF-8", "\xe2\x82\xac", 3)); }
PROBE(iconv_open) { INT(iconv_open("UTF-8", "no-such-set") == (iconv_t)-1); INT(errno); INT(iconv_open("UTF-32", "SJIS") != (iconv_t)-1); INT(iconv_open("", "EUC-JP") != (iconv_t)-1); }
PROBE(iconv_close) { INT(iconv_close(iconv_open("UTF-8", "UTF-16"))); }

static nl_catd catalogue(void) { make_file("c.msg", "$quote \"\n$set 1\n1 \"first message\"\n2 \"second\\n\"\n"); system("gencat c.cat c.msg"); return catopen("./c.cat", 0); }
PROBE(catopen) { INT(catalogue() != (nl_catd)-1); INT(catopen("./missing.cat", 0) == (nl_catd)-1); INT(errno); }
PROBE(catgets) { nl_catd c = catalogue(); TEXT(catgets(c, 1, 1, "default")); TEXT(catgets(c, 1, 2, "default")); TEXT(catgets(c, 9, 9, "default")); }
PROBE(catclose) { INT(catclose(catalogue())); }

/* A catalogue of German, made by msgfmt where the host has it; else every text stays as it is. */
static void translated(void) { mkdir("de", 0777); mkdir("de/LC_MESSAGES", 0777); make_file("m.po", "msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=UTF-8\\nPlural-Forms: nplurals=2; plural=n != 1;\\n\"\nmsgid \"yes\"\nmsgstr \"ja\"\nmsgid \"%d file\"\nmsgid_plural \"%d files\"\nmsgstr[0] \"%d Datei\"\nmsgstr[1] \"%d Dateien\"\n"); system("msgfmt -o de/LC_MESSAGES/m.mo m.po"); setlocale(LC_ALL, "C.UTF-8"); setenv("LANGUAGE", "de", 1); bindtextdomain("m", "."); textdomain("m"); }
PROBE(bindtextdomain) { INT(strcmp(bindtextdomain("m", "/tmp"), "/tmp")); TEXT(bindtextdomain("m", NULL)); TEXT(bindtextdomain("", "x")); }
PROBE(bind_textdomain_codeset) { TEXT(bind_textdomain_codeset("m", NULL)); TEXT(bind_textdomain_codeset("m", "UTF-8")); TEXT(bind_textdomain_codeset("m", NULL)); }
PROBE(textdomain) { TEXT(textdomain(NULL)); TEXT(textdomain("m")); TEXT(textdomain(NULL)); TEXT(textdomain("")); }
PROBE(gettext) { translated(); TEXT(gettext("yes")); TEXT(gettext("untranslated")); }
PROBE(dgettext) { translated(); textdomain("other"); TEXT(dgettext("m", "yes")); TEXT(dgettext("other", "yes")); }
PROBE(dcgettext) { translated(); TEXT(dcgettext("m", "yes", LC_MESSAGES)); TEXT(dcgettext("m", "yes", LC_TIME)); }
PROBE(ngettext) { translated(); TEXT(ngettext("%d file", "%d files", 1)); TEXT(ngettext("%d file", "%d files", 5)); TEXT(ngettext("one", "many", 2)); }
PROBE(dngettext) { translated(); TEXT(dngettext("m", "%d file", "%d files", 0)); TEXT(dngettext("z", "a", "b", 1)); }
PROBE(dcngettext) { translated(); TEXT(dcngettext("m", "%d file", "%d files", 1, LC_MESSAGES)); }
PROBE(gettext_l) { TEXT(gettext_l("x", newlocale(LC_ALL_MASK, "C", 0))); }
PROBE(dgettext_l) { TEXT(dgettext_l("d", "x", newlocale(LC_ALL_MASK, "C", 0))); }
PROBE(dcgettext_l) { TEXT(dcgettext_l("d", "x", LC_MESSAGES, newlocale(LC_ALL_MASK, "C", 0))); }
PROBE(ngettext_l) { TEXT(ngettext_l("x", "y", 2, newlocale(LC_ALL_MASK, "C", 0))); }
PROBE(dngettext_l) { TEXT(dngettext_l("d", "x", "y", 2, newlocale(LC_ALL_MASK, "C", 0))); }
PROBE(dcngettext_l) { TEXT(dcngettext_l("d", "x", "y", 2, LC_MESSAGES, newlocale(LC_ALL_MASK, "C", 0))); }

static struct termios t;
static int terminal, other;
static void open_terminal(void) { terminal = posix_openpt(O_RDWR | O_NOCTTY); grantpt(terminal); unlockpt(terminal); other = open(ptsname(terminal), O_RDWR | O_NOCTTY); tcgetattr(other, &t); }
PROBE(cfgetispeed) { INT(cfsetispeed(&t, B9600)); INT(cfgetispeed(&t) == B9600); }
PROBE(cfgetospeed) { open_terminal(); INT(cfgetospeed(&t) == B38400); }
PROBE(cfsetispeed) { INT(cfsetispeed(&t, B1200)); INT(cfgetispeed(&t) == B1200); CALL(cfsetispeed(&t, 77777)); }
PROBE(cfsetospeed) { INT(cfsetospeed(&t, B115200)); INT(cfgetospeed(&t) == B115200); CALL(cfsetospeed(&t, 77777)); }
PROBE(tcgetattr) { open_terminal(); printf("%x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag); INT(t.c_cc[VINTR]); INT(t.c_cc[VEOF]); CALL(tcgetattr(0, &t)); CALL(tcgetattr(99, &t)); }
PROBE(tcsetattr) { open_terminal(); t.c_lflag &= ~(ICANON | ECHO); t.c_cc[VMIN] = 2; CALL(tcsetattr(other, TCSANOW, &t)); write(terminal, "ab", 2); INT(read(other, space, 9)); tcgetattr(other, &t); INT(!!(t.c_lflag & ICANON)); CALL(tcsetattr(other, 77, &t)); CALL(tcsetattr(0, TCSANOW, &t)); }
PROBE(tcdrain) { open_terminal(); write(other, "x", 1); CALL(tcdrain(other)); CALL(tcdrain(0)); }
PROBE(tcflow) { open_terminal(); CALL(tcflow(other, TCOOFF)); CALL(tcflow(other, TCOON)); CALL(tcflow(other, 77)); CALL(tcflow(0, TCOON)); }
PROBE(tcflush) { open_terminal(); write(terminal, "lost\nlost\n", 10); CALL(tcflush(other, TCIFLUSH)); fcntl(other, F_SETFL, O_NONBLOCK); CALL(read(other, space, 9)); CALL(tcflush(other, 77)); CALL(tcflush(0, TCIFLUSH)); }
PROBE(tcsendbreak) { open_terminal(); CALL(tcsendbreak(other, 0)); CALL(tcsendbreak(0, 0)); }
PROBE(tcgetsid) { open_terminal(); CALL(tcgetsid(other)); CALL(tcgetsid(0)); fflush(stdout); int status; if (!fork()) { setsid(); ioctl(other, TIOCSCTTY, 0); INT(tcgetsid(other) == getpid()); fflush(stdout); _exit(0); } wait(&status); }
PROBE(tcgetwinsize) { struct winsize w = {9, 9}; open_terminal(); CALL(tcgetwinsize(other, &w)); INT(w.ws_row * 1000 + w.ws_col); CALL(tcgetwinsize(0, &w)); }
PROBE(tcsetwinsize) { struct winsize w = {24, 80}; open_terminal(); CALL(tcsetwinsize(terminal, &w)); w.ws_row = 0; CALL(tcgetwinsize(other, &w)); INT(w.ws_row); CALL(tcsetwinsize(0, &w)); }
