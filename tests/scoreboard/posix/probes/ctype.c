/* <ctype.h>, <wctype.h>: each class over all characters up to 255, and its locale forms over some of Unicode */
#include "probe.h"
#include <ctype.h>
#include <wctype.h>
#include <wchar.h>

static const wint_t some[] = {L'a', L'Z', L'5', L' ', L'\t', L'\n', L'!', 0x7f, 0xa0, 0xc0, 0xdf, 0xff, 0x100, 0x3a9,
                              0x416, 0x5d0, 0x660, 0x2028, 0x3000, 0x3042, 0x4e00, 0xff21, 0x1f600, WEOF};
#define EACH_WIDE(index) for (size_t index = 0; index < sizeof some / sizeof *some; index++)

#define CLASS(name, what) \
    PROBE(name) { for (int c = -1; c < 256; c++) if (name(c)) printf("%x ", c); puts(what); }
#define CLASS_L(name) \
    PROBE(name) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); for (int c = -1; c < 256; c++) if (name(c, l)) printf("%x ", c); \
        puts(l ? "in C.UTF-8" : "no locale"); freelocale(l); }
#define WIDE_CLASS(name) \
    PROBE(name) { setlocale(LC_ALL, "C.UTF-8"); EACH_WIDE(i) printf("%x: %d\n", (unsigned)some[i], !!name(some[i])); }
#define WIDE_CLASS_L(name) \
    PROBE(name) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); EACH_WIDE(i) printf("%x: %d\n", (unsigned)some[i], !!name(some[i], l)); freelocale(l); }
#define WIDE_MAP(name) \
    PROBE(name) { setlocale(LC_ALL, "C.UTF-8"); EACH_WIDE(i) printf("%x: %x\n", (unsigned)some[i], (unsigned)name(some[i])); }
#define WIDE_MAP_L(name) \
    PROBE(name) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); EACH_WIDE(i) printf("%x: %x\n", (unsigned)some[i], (unsigned)name(some[i], l)); freelocale(l); }

CLASS(isalnum, "letters and digits")
CLASS(isalpha, "letters")
CLASS(isblank, "blanks")
CLASS(iscntrl, "controls")
CLASS(isdigit, "digits")
CLASS(isgraph, "visible")
CLASS(islower, "small")
CLASS(isprint, "printing")
CLASS(ispunct, "punctuation")
CLASS(isspace, "spaces")
CLASS(isupper, "capitals")
CLASS(isxdigit, "hexadecimal")
CLASS_L(isalnum_l)
CLASS_L(isalpha_l)
CLASS_L(isblank_l)
CLASS_L(iscntrl_l)
CLASS_L(isdigit_l)
CLASS_L(isgraph_l)
CLASS_L(islower_l)
CLASS_L(isprint_l)
CLASS_L(ispunct_l)
CLASS_L(isspace_l)
CLASS_L(isupper_l)
CLASS_L(isxdigit_l)
PROBE(tolower) { for (int c = -1; c < 256; c++) printf("%x ", tolower(c)); }
PROBE(toupper) { for (int c = -1; c < 256; c++) printf("%x ", toupper(c)); }
PROBE(tolower_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); for (int c = 0; c < 256; c++) printf("%x ", tolower_l(c, l)); freelocale(l); }
PROBE(toupper_l) { locale_t l = newlocale(LC_ALL_MASK, "C", 0); for (int c = 0; c < 256; c++) printf("%x ", toupper_l(c, l)); freelocale(l); }
WIDE_CLASS(iswalnum)
WIDE_CLASS(iswalpha)
WIDE_CLASS(iswblank)
WIDE_CLASS(iswcntrl)
WIDE_CLASS(iswdigit)
WIDE_CLASS(iswgraph)
WIDE_CLASS(iswlower)
WIDE_CLASS(iswprint)
WIDE_CLASS(iswpunct)
WIDE_CLASS(iswspace)
WIDE_CLASS(iswupper)
WIDE_CLASS(iswxdigit)
WIDE_CLASS_L(iswalnum_l)
WIDE_CLASS_L(iswalpha_l)
WIDE_CLASS_L(iswblank_l)
WIDE_CLASS_L(iswcntrl_l)
WIDE_CLASS_L(iswdigit_l)
WIDE_CLASS_L(iswgraph_l)
WIDE_CLASS_L(iswlower_l)
WIDE_CLASS_L(iswprint_l)
WIDE_CLASS_L(iswpunct_l)
WIDE_CLASS_L(iswspace_l)
WIDE_CLASS_L(iswupper_l)
WIDE_CLASS_L(iswxdigit_l)
WIDE_MAP(towlower)
WIDE_MAP(towupper)
WIDE_MAP_L(towlower_l)
WIDE_MAP_L(towupper_l)
PROBE(wctype) { setlocale(LC_ALL, "C.UTF-8"); INT(wctype("alpha") != 0); INT(wctype("nothing")); INT(!!iswctype(L'q', wctype("lower"))); }
PROBE(iswctype) { setlocale(LC_ALL, "C.UTF-8"); INT(!!iswctype(0x3a9, wctype("upper"))); INT(!!iswctype(L'1', wctype("alpha"))); INT(!!iswctype(L' ', wctype("blank"))); }
PROBE(wctype_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(wctype_l("digit", l) != 0); INT(wctype_l("?", l)); freelocale(l); }
PROBE(iswctype_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(!!iswctype_l(0x416, wctype_l("alpha", l), l)); INT(!!iswctype_l(L'x', wctype_l("punct", l), l)); freelocale(l); }
PROBE(wctrans) { setlocale(LC_ALL, "C.UTF-8"); INT(wctrans("toupper") != 0); INT(wctrans("sideways") != 0); }
PROBE(towctrans) { setlocale(LC_ALL, "C.UTF-8"); INT(towctrans(0x3c9, wctrans("toupper"))); INT(towctrans(L'Q', wctrans("tolower"))); }
PROBE(wctrans_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(wctrans_l("tolower", l) != 0); INT(wctrans_l("no", l) != 0); freelocale(l); }
PROBE(towctrans_l) { locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", 0); INT(towctrans_l(0x436, wctrans_l("toupper", l), l)); freelocale(l); }
