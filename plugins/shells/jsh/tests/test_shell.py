"""The shell and its applets in a running system, and the same scripts in dash with the host's tools."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jefeos
import pytest
from jefeos.api import Completed, System


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with jefeos.boot(ram="64M") as system:
        system.run(["/bin/mkdir", "/tmp/random"], check=True)
        yield system


def run(system: System, script: str, input: bytes = b"", cwd: str = "/tmp") -> Completed:
    return system.run(["/bin/jsh", "-c", script], input=input, timeout=100, cwd=cwd)


SCRIPTS: list[str] = [
    "echo hello world",
    "echo -n no newline",
    "exit 7",
    "false",
    "true; false || echo or; true && echo and",
    "! false; echo $?; ! true; echo $?",
    "false && echo a || echo b && echo c",
    "printf 'b\\na\\nc\\n' | sort | head -n 2",
    "printf '%s-%5d|%-4s|%05d|%x|%o\\n' a 5 b 42 255 8 c",
    "printf '%s\\n' one 'two three' four",
    "printf 'a\\tb\\\\n\\101\\n'; printf '%b' 'x\\ny\\n'; printf '%%|%c\\n' word",
    "a=1; b=$a$a; echo $b ${#b} ${c:-none} ${b%1}",
    "a='x  y'; echo $a; echo \"$a\"",
    "echo one > f; echo two >> f; cat f; cat < f | wc -l",
    "echo out; echo err >&2",
    "ls ./nonexistent 2>/dev/null; echo $?",
    "echo x >f2; cat f2 nofile 2>/dev/null; echo $?",
    "echo x 1>&2 2>/dev/null",
    "echo both >o 2>&1; cat o",
    "exec 3>three; echo in three >&3; exec 3>&-; cat three",
    "exec >redirected; echo into the file; cat redirected >&2",
    "touch a.txt b.txt c.dat; echo *.txt; echo '*.txt' \\*.txt; echo nothing*",
    "mkdir -p d/e; touch d/e/f d/.h; echo d/*; echo d/*/*; ls d; ls -a d",
    "mkdir -p d; cd d; cd - >/dev/null; echo $?; ls -d d",
    'x=$(echo sub; echo st); echo "$x"; echo $x; echo `echo back`',
    "x=$(exit 3); echo $?; echo $(exit 4) $?",
    "x=$(printf 'a\\n\\n\\n'); echo \"[$x]\"",
    "echo $(echo $(echo $(echo deep)))",
    "set -- a 'b c' d; echo $# $2; for_=1; shift; echo \"$@\" $#",
    "set -- a 'b c'; printf '[%s]' \"$@\"; echo; printf '[%s]' $*; echo",
    "cat",
    "read x; echo got $x; cat",
    'read a b c; echo "$c|$b|$a"',
    "wc -l; echo done",
    "nosuchcommand 2>/dev/null; echo $?",
    "echo a > notexec; ./notexec 2>/dev/null; echo $?",
    "./nothere 2>/dev/null; echo $?",
    "sleep 0 & wait; echo $?",
    "sh -c 'exit 3' & wait $!; echo $?",
    "sh -c 'echo $0 $1 $#' name arg",
    "sh -c 'kill -TERM $$'; echo $?",
    "sh -c 'kill -9 $$; echo survived'; echo $?",
    "sleep 50 & kill $!; wait $!; echo $?",
    "export A=3; sh -c 'echo $A'; unset A; sh -c 'echo [$A]'",
    "B=5 sh -c 'echo $B'; echo [$B]",
    "B=5; sh -c 'echo [$B]'",
    "env -i X=1 env",
    "echo 'echo from script $1' > s; chmod 755 s; ./s arg",
    "printf '#!/bin/sh\\necho bang $1; exit 4\\n' > s; chmod 755 s; ./s arg; echo $?",
    "echo 'v=sourced' > src; . ./src; echo $v",
    "grep -c a < /dev/null; echo $?",
    "printf 'apple\\nbanana\\ncherry\\n' > fruit; grep an fruit; grep -n '^a' fruit; grep -v an fruit; grep -c e fruit",
    "grep -E 'a+p|ch' fruit; grep 'an\\{1,2\\}a' fruit; grep -i APPLE fruit; grep -F a. fruit; echo $?",
    "grep '[[:alpha:]]y$' fruit; grep 'x*' fruit | wc -l; grep -l an fruit; grep -q zz fruit; echo $?",
    "grep an fruit fruit; grep '\\(an\\)\\1' fruit; grep 'a*b' fruit; grep 'c\\|b' fruit",
    "wc fruit; wc -l fruit; wc -c fruit fruit; cat fruit | wc",
    "seq 5; seq 2 4; seq 10 -3 1; seq 3 1",
    "seq 100 | head -n 3; seq 100 | tail -n 2; seq 5 | head -c 3; head -n 1 fruit fruit",
    "seq 20 | sort -rn | head -n 2; printf 'b\\na\\nb\\n' | sort -u",
    "echo abc | hexdump -C; seq 30 | hexdump -C; head -c 100 /dev/zero | hexdump -C",
    "cp fruit copy; cat copy; mv copy moved; cat moved; rm moved; ls moved 2>/dev/null; echo $?",
    "mkdir -p t/u; cp fruit t/u; cp -r t t2; cat t2/u/fruit; rm -r t t2; ls -d t 2>/dev/null; echo $?",
    "mkdir m; mkdir m 2>/dev/null; echo $?; rmdir m; rmdir m 2>/dev/null; echo $?",
    "ln -s fruit soft; cat soft; ls -l soft | wc -l; rm soft; rm soft 2>/dev/null; echo $?; rm -f soft; echo $?",
    "ln fruit hard; echo more >> hard; wc -l fruit; rm hard",
    "echo data | tee t1 t2 | wc -c; cat t1 t2; rm t1 t2",
    "umask 027; touch masked; ls -l masked | head -c 10; echo; umask; rm -f masked",
    "yes | head -n 3; yes no | head -n 1",
    "true | false; echo $?; false | true; echo $?",
    "echo a | cat | cat | cat | wc -c",
    "echo \"quoted 'single' \\\"double\\\" \\$dollar \\\\\"; echo 'it'\\''s'",
    "echo a\\\nb; echo 'a\nb'",
    "# only a comment\necho after # comment\necho a#b",
    "echo a;echo b ; echo c",
    "echo $((",
    "echo 'unterminated",
    "| x",
    "echo ok\n;; bad",
    "echo ${x?message} 2>/dev/null; echo not reached",
    "kill -l 2>/dev/null | head -c 3 >/dev/null; echo ok",
    "umask 022; mkdir -m 700 priv; ls -ld priv | head -c 10; echo; rmdir priv",
    "echo x > a1; touch -c nothere; ls a1 nothere 2>/dev/null",
    "cat fruit - < a1 | tail -n 1; cat nofile fruit 2>/dev/null | wc -l",
]
CONDITIONS = (
    """
a = a|a = b|a != b|1 -lt 2|2 -le 2|3 -gt 4|-5 -eq -5|1 -eq x|-n a|-z a|-z ''|''|a|! a|! ''|-f fruit|-d fruit|-d .
-e none|-s fruit|-x fruit|-r fruit|-L fruit|a = a -a b = b|a = a -a b = c|a = b -o b = b|( a )|( a = b )
( a = a ) -a b|! a = b|! -f none|-a|-f|= = =|a b|a b c|( a|-n|! !|1 -ne 01|fruit -ef fruit|x -a ! y
""".strip()
    .replace("\n", "|")
    .split("|")
)
SCRIPTS += [
    f"printf 'apple\\n' > fruit; test {condition.replace('(', chr(92) + '(').replace(')', chr(92) + ')')}; echo $?"
    for condition in CONDITIONS
]
SCRIPTS += ["[ -f fruit ] && echo there || echo not; [ a = a", "x=5; [ $x -gt 3 ] && echo more"]
INPUT = b"first line\nsecond line\nlast\n"


@pytest.fixture(scope="module")
def workplaces(system: System, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A folder in the guest and one on the host in which the scripts leave the same files."""
    assert run(system, "mkdir /tmp/oracle").status == 0
    return "/tmp/oracle", tmp_path_factory.mktemp("oracle")


@pytest.mark.peer
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_do_what_they_do_in_dash(system: System, workplaces: tuple[str, Path], script: str) -> None:
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("needs dash")
    guest, host = workplaces
    ours = run(system, script, INPUT, guest)
    theirs = subprocess.run(
        [dash, "-c", script],
        input=INPUT,
        capture_output=True,
        cwd=host,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/root"},
        timeout=100,
    )
    expected = theirs.returncode if theirs.returncode >= 0 else 128 - theirs.returncode
    assert (ours.stdout, ours.status) == (theirs.stdout, expected)
    assert bool(ours.stderr) == bool(theirs.stderr)


READ_LINES = [b"a b c d", b"  a  b\tc ", b"a", b"", b"   ", b"a:b:c", b":a::b:", b"a:", b"a:b:", b" a : b : c ",
              b"a b:", b"x\\ y z",
              b"a\\\\b c"]  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("separators", ["", "IFS=: ", "IFS=' :' ", "IFS= "])
@pytest.mark.parametrize("names", ["x", "x y", "x y z", "-r x y"])
def test_read_splits_as_in_dash(system: System, separators: str, names: str) -> None:
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("needs dash")
    show = 'printf \'[%s|%s|%s]\\n\' "$x" "$y" "$z"'
    reads = f"{separators}read {names}; {show}; x=; y=; z=\n" * len(READ_LINES)
    lines = b"\n".join(READ_LINES) + b"\n"
    theirs = subprocess.run([dash, "-c", reads], input=lines, capture_output=True, timeout=100)
    assert run(system, reads, lines).stdout.splitlines() == theirs.stdout.splitlines()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("nosuch", "jsh: nosuch: not found"),
        ("./nosuch", "jsh: ./nosuch: No such file or directory"),
        ("/tmp", "jsh: /tmp: Permission denied"),
        ("cd /nosuch", "jsh: cd: /nosuch: No such file or directory"),
        ("cat /nosuch", "cat: /nosuch: No such file or directory"),
        ("cat < /nosuch", "jsh: /nosuch: No such file or directory"),
        ("echo x > /nosuch/y", "jsh: /nosuch/y: No such file or directory"),
        ("echo x >&9", "jsh: 9: Bad file descriptor"),
        ("if true", "jsh: line 1: syntax error: 'if': jsh has no compound commands"),
        ("echo\necho 'x", "jsh: line 2: syntax error: a ' has no end"),
        ("echo a\n\n)", "jsh: line 3: syntax error: unexpected ')'"),
        ("exit word", "jsh: exit: word: not a number"),
        ("ls -Z", "ls: unknown option -Z"),
        ("rm /tmp/", "rm: /tmp/: Is a directory"),
        ("fg", "jsh: fg: no job control"),
        ("sleep x", "sleep: x is no time"),
        ("grep '[' /etc/passwd", "grep: bad pattern: a [ has no ]"),
        ("kill -NOPE 1", "kill: no such signal"),
        (": ${unset?gone}", "jsh: unset: gone"),
    ],
)
def test_mistakes_are_one_clear_line(system: System, script: str, message: str) -> None:
    done = run(system, script)
    assert done.stderr.decode() == message + "\n"
    assert done.status != 0


def test_commands_come_from_standard_input_line_by_line(system: System) -> None:
    done = system.run(["/bin/jsh"], input=b"echo one\ncat\nthis is cat's\n", timeout=100)
    assert done.stdout == b"one\nthis is cat's\n"
    done = system.run(["/bin/jsh"], input=b"read x\nthe value\necho [$x]\nexit 9\necho never\n", timeout=100)
    assert (done.stdout, done.status) == (b"[the value]\n", 9)
    done = system.run(["/bin/jsh"], input=b"echo before\n|\necho never\n", timeout=100)
    assert (done.stdout, done.status) == (b"before\n", 2)
    done = system.run(["/bin/jsh"], input=b"echo 'two\nlines' \\\nand a third\nfalse", timeout=100)
    assert (done.stdout, done.status) == (b"two\nlines and a third\n", 1)


def test_scripts_have_parameters(system: System) -> None:
    system.write_file("/tmp/script", b"echo $0 $# $2\nexit $1\n")
    done = system.run(["/bin/jsh", "/tmp/script", "5", "b c"], timeout=100)
    assert (done.stdout, done.status) == (b"/tmp/script 2 b c\n", 5)
    assert system.run(["/bin/jsh", "/tmp/none"], timeout=100).status == 127
    assert system.run(["/bin/jsh", "-x"], timeout=100).status == 2


def test_jobs_in_a_script(system: System) -> None:
    done = run(system, "sleep 60 & sleep 60 & jobs; kill %1 %2; wait; jobs; echo end", cwd="/")
    assert done.stdout == b"[1] Running  sleep 60\n[2] Running  sleep 60\nend\n"
    assert run(system, "true && false & wait $!; echo $?").stdout == b"1\n"


def test_a_background_command_does_not_eat_the_input(system: System) -> None:
    done = system.run(["/bin/jsh"], input=b"cat &\nwait\necho still here\n", timeout=100)
    assert done.stdout == b"still here\n"


def test_exec_replaces_the_shell(system: System) -> None:
    assert run(system, "exec echo replaced; echo never").stdout == b"replaced\n"
    done = run(system, "exec nosuch; echo never")
    assert (done.status, done.stdout) == (127, b"")


def test_no_process_and_no_descriptor_is_left_behind(system: System) -> None:
    script = "echo a | cat | cat >/dev/null; x=$(echo b | cat); cat </etc/passwd >/dev/null; nosuch | nosuch;"
    script += "ls /proc/self/fd"
    first = run(system, script).stdout
    assert first == run(system, script).stdout
    assert len(first.split()) <= 4
    before = len(list(system.kernel.processes))
    run(system, "sleep 0.01 & seq 3 | head -n 1; echo $(sleep 0)")
    assert len(list(system.kernel.processes)) == before


def test_the_applets_show_the_system(system: System) -> None:
    assert b"jefeos" in run(system, "uname -a").stdout
    assert b"/proc type proc" in run(system, "mount").stdout
    assert b"Mem:" in run(system, "free").stdout
    processes = run(system, "ps").stdout
    assert b"jsh -c ps" in processes or b"ps" in processes
    assert run(system, "date -u +%s").stdout.strip().isdigit()
    assert run(system, "ls -l /etc/passwd").stdout.startswith(b"-rw-r--r-- 1 0 0 ")
    assert run(system, "ls /bin/jsh /bin/cat").stdout == b"/bin/cat\n/bin/jsh\n"


def test_odd_names_and_bytes_pass_through(system: System) -> None:
    done = run(
        system,
        "cd /tmp; echo x > 'sp ace'; echo y > '-dash'; cat 'sp ace' ./-dash; echo sp*; rm -- -dash 'sp ace'",
    )
    assert done.stdout == b"x\ny\nsp ace\n"
    raw = system.run([b"/bin/jsh", b"-c", b"printf '\xff\xfe'; echo \xff"], timeout=100)
    assert raw.stdout == b"\xff\xfe\xff\n"


def test_many_commands_leave_the_memory_as_it_was(system: System) -> None:
    run(system, "seq 3 | cat")
    before = system.kernel.memory.free_frames()
    for _ in range(20):
        run(system, "seq 300 | cat | wc -l; x=$(seq 10); ls / | head -n 1")
    assert abs(system.kernel.memory.free_frames() - before) <= 2


WORDS = (
    (
        "echo|a|'b c'|\"$x\"|$x|$(echo y)|`echo z`|\\||&&|\\|\\||;|\n|&|>|/tmp/f|<|2>&1|>>|x=1|cat|cd|/tmp|ls"
        "|wc|grep|head|-n|1|export"
        "|unset|x|set|--|shift|read|exec|3>/tmp/g|>&3|wait|jobs|true|false|!|${x:-d}|${x%a*}|*|?|[a-z]*|sleep|0|exit|umask"
        "|type|.|printf|%d|seq|5|sort|tee|env|[|]|test|ps|hexdump|mkdir|date|<&-|>&-|2>/dev/null|${y?m}|$@|~|-|(|)|'|{"
    )
    .replace("\\|", "\0")
    .split("|")
)


@pytest.mark.parametrize("seed", range(4))
def test_random_scripts_break_nothing(system: System, seed: int) -> None:
    dice = random.Random(seed)
    processes = len(list(system.kernel.processes))
    for _ in range(60):
        script = " ".join(dice.choice(WORDS).replace("\0", "|") for _ in range(dice.randrange(1, 14)))
        done = run(system, script, b"one line\nanother\n", "/tmp/random")
        assert b"Traceback" not in done.stderr, script
        assert system.kernel.bugs == 0, script
        assert done.status <= 255
        assert len(list(system.kernel.processes)) == processes, script
