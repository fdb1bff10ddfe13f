"""A Debian made by debootstrap boots through sysvinit and OpenRC: to a login, people at work, and every way to end it.

There is no host to compare with: a host does not boot in a test. What the boot says is held against the words that
services use when they fail.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "terminal"))

if sys.platform != "linux":
    pytest.skip("needs ptys of a Linux host", allow_module_level=True)

from debian_roots import debian_root
from expect import Terminal

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]  # a root that is not there yet is made first

PROMPT = ":~# "
PATIENCE_S = 120.0
#: What a service says when something is amiss. A fresh root has no /etc/mtab, and gets it with a warning, everywhere;
#: without a network, halt says that it could not take one down; on a busy machine some outlast sendsigs's patience.
COMPLAINTS = re.compile(
    r"(?im)^(?!ifdown: socket|Killing all remaining)"
    r".*(?:fail|error|cannot|can't|not found|denied|support|!!).*$"
)


def boot(kind: str, *options: str) -> Terminal:
    return Terminal("boot", "--root", debian_root(kind), "--init", "/sbin/init", *options, patience_s=PATIENCE_S)


def to_the_login(terminal: Terminal) -> str:
    """What is shown on the way there."""
    shown = terminal.expect("INIT: version")
    shown += terminal.expect("OpenRC")
    shown += terminal.expect("Entering runlevel: 2")
    return shown + terminal.expect("login: ")


def log_in(terminal: Terminal) -> None:
    terminal.type("root\r")
    terminal.expect(PROMPT)


def test_boot_to_a_login_and_power_off() -> None:
    with boot("init", "--net", "none") as terminal:  # a card would go on talking
        shown = to_the_login(terminal)
        assert not COMPLAINTS.findall(shown)
        log_in(terminal)
        terminal.type("runlevel; tty; python3 -c 'print(6*7)'; rc-status -C --crashed; dmesg | tail -1\r")
        shown = terminal.expect(PROMPT)
        assert "N 2\r\n/dev/tty1\r\n42\r\n" in shown
        assert "crashed" not in shown.partition("42")[2]
        assert "pid 1: /sbin/init" in shown  # the kernel has said nothing since
        terminal.type("poweroff\r")
        terminal.expect("Switching to runlevel: 0")  # the shell may write its prompt after "INIT:"
        shown = terminal.expect("jefeos: power down")
        assert not COMPLAINTS.findall(shown)
        assert terminal.wait() == 0
        assert terminal.settings_restored


@pytest.mark.long
def test_reboot_and_shutdown() -> None:
    with boot("init") as terminal:
        to_the_login(terminal)
        log_in(terminal)
        terminal.type("touch /root/mark; reboot\r")
        terminal.expect("Switching to runlevel: 6")
        terminal.expect("jefeos: restarting")
        to_the_login(terminal)
        log_in(terminal)
        terminal.type("ls /root; exec 9>/root/held; shutdown -h now\r")  # a file that is open for writing
        assert "mark" not in terminal.expect("going down for system halt NOW!")
        terminal.expect("All processes ended")
        terminal.expect("jefeos: power down")
        assert terminal.wait() == 0


@pytest.mark.long
def test_restart_is_left_to_others() -> None:
    with boot("init", "--no-reboot") as terminal:
        to_the_login(terminal)
        log_in(terminal)
        terminal.type("telinit u; telinit q; kill -HUP 1; shutdown -r now\r")
        terminal.expect("jefeos: restart asked for, not done")
        assert terminal.wait() == 0


@pytest.mark.long
def test_people_at_the_terminal() -> None:
    """Accounts with passwords, full-screen programs, multiplexers, and a job that cron starts."""
    with boot("work", "--ram", "1G") as terminal:
        to_the_login(terminal)
        log_in(terminal)
        _accounts(terminal)
        terminal.type("root\r")
        terminal.expect(PROMPT)
        _editors_and_viewers(terminal)
        _multiplexers(terminal)
        _cron(terminal)
        terminal.type("shutdown -h now\r")
        terminal.expect("jefeos: power down")
        assert terminal.wait() == 0


def _accounts(terminal: Terminal) -> None:
    terminal.type("adduser --gecos '' bob\r")
    for question, answer in (("New password: ", "secret1x"), ("Retype new password: ", "secret1x")):
        terminal.expect(question)
        terminal.type(answer + "\r")
    terminal.expect(PROMPT)
    terminal.type("exit\r")
    for password in ("wrong", "secret1x"):
        terminal.expect("login: ")
        terminal.type("bob\r")
        terminal.expect("Password: ")
        terminal.type(password + "\r")
    terminal.expect(":~$ ")
    terminal.type("who; tty; su -\r")
    assert re.search(r"bob +tty1 .*\r\n/dev/tty1\r\n", terminal.expect(PROMPT))
    terminal.type("exit\r")
    terminal.expect(":~$ ")
    terminal.type("passwd\r")
    for question, answer in (("Current password: ", "secret1x"), ("New password: ", "other22y"),
                             ("Retype new password: ", "other22y")):  # fmt: skip
        terminal.expect(question)
        terminal.type(answer + "\r")
    terminal.expect("successfully")
    terminal.type("exit\r")
    terminal.expect("login: ")


def _editors_and_viewers(terminal: Terminal) -> None:
    terminal.type("vim -u NONE /tmp/f\r")
    terminal.expect("[New File]")
    terminal.type("ifrom vim\x1b")
    time.sleep(0.5)  # what follows an escape at once is part of a key
    terminal.type(":wq\r")
    terminal.expect(PROMPT)
    terminal.type("nano /tmp/g\r")
    terminal.expect("GNU nano")
    terminal.expect("Exit")
    terminal.type("from nano")
    terminal.expect("from nano")
    terminal.type("\x0f")
    terminal.expect("Name to Write")
    terminal.type("\r")
    terminal.expect("Wrote 1 line")
    terminal.type("\x18")
    terminal.expect(PROMPT)
    terminal.type("cat /tmp/f /tmp/g; seq 1000 | less\r")
    terminal.expect("from vim\r\nfrom nano\r\n")
    terminal.expect("\n:")
    terminal.type("G")
    terminal.expect("(END)")
    terminal.type("q")
    terminal.expect(PROMPT)
    terminal.type("htop\r")
    terminal.expect("Load average")
    terminal.type("q")
    terminal.expect(PROMPT)
    terminal.type("mc\r")
    terminal.expect("Quit")
    terminal.type("\x1b0")
    terminal.expect(PROMPT)


def _multiplexers(terminal: Terminal) -> None:
    terminal.type("screen -S one bash\r")
    terminal.expect("# ")
    terminal.type("echo in $STY; tty\r")
    terminal.expect(".one\r\n/dev/pts/")
    terminal.type("\x01d")
    terminal.expect("detached")
    terminal.type("screen -r\r")
    terminal.expect("in ")
    terminal.type("exit\r")
    terminal.expect("terminating")
    terminal.type("tmux new -s two\r")
    terminal.expect("[two]")
    terminal.type("echo first $((6*7))\r")
    terminal.expect("first 42")
    terminal.type("\x02%")
    terminal.expect("# ")
    terminal.type("echo second $((7*7))\r")
    terminal.expect("second 49")
    terminal.type("\x02d")
    terminal.expect("[detached")
    terminal.type("tmux ls; tmux kill-server\r")
    terminal.expect("two: 1 windows")
    terminal.expect(PROMPT)


def _cron(terminal: Terminal) -> None:
    terminal.type("echo '* * * * * tty >/tmp/job; id -un >>/tmp/job' | crontab -; pgrep -a cron\r")
    terminal.expect("/usr/sbin/cron")
    terminal.type("until test $(cat /tmp/job 2>/dev/null | wc -l) = 2; do sleep 1; done; cat /tmp/job\r")
    terminal.expect("not a tty\r\nroot\r\n")
    terminal.expect(PROMPT)
