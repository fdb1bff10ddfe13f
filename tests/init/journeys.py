"""What somebody at the terminal of a booted distribution does, from init to the end of the system.

Each journey is a function of a root; it returns when everything that had to be seen was seen, and raises AssertionError
with what the screen showed instead. There is no host to compare with here: a host does not boot in a test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent / "terminal"))
from expect import Terminal

PROMPT = "# \x1b[6n"


def boot(root: str, *options: str) -> Terminal:
    """`jefeos boot` with the root's own init, in front of somebody."""
    return Terminal("boot", "--root", root, "--init", "/sbin/init", *options)


def log_in(terminal: Terminal) -> None:
    """As root, who has no password in these roots."""
    terminal.expect("login: ")
    terminal.type("root\r")
    terminal.expect(PROMPT)


def login_respawn_orphans_and_poweroff(root: str) -> None:
    """The root's inittab is `roots.INITTAB`."""
    with boot(root) as terminal:
        assert "sysinit-ran\r\n" in terminal.expect("wait-ran")
        log_in(terminal)
        terminal.type("tty; ps -o pid,ppid,comm; exit\r")
        shown = terminal.expect("login: ")
        assert "/dev/console" in shown
        assert "1     0 init" in shown
        terminal.type("root\r")  # getty came back
        terminal.expect(PROMPT)
        # A child that outlives its parent becomes init's, and init reaps it.
        terminal.type("(sh -c 'until test -e /tmp/go; do sleep 0.1; done; exit 3' & echo $! >/tmp/pid)\r")
        terminal.expect(PROMPT)
        terminal.type('ps -o pid,ppid | grep " $(cat /tmp/pid) "\r')
        terminal.expect(" 1\r\n")
        terminal.type("touch /tmp/go; while test -e /proc/$(cat /tmp/pid); do sleep 0.1; done; echo reaped\r")
        terminal.expect("\nreaped")
        terminal.type("poweroff\r")
        terminal.expect("shutdown-ran")
        terminal.expect("SIGKILL to all processes")
        terminal.expect("jefeos: power down")
        assert terminal.wait() == 0
        assert terminal.settings_restored


def askfirst_job_control_restart_and_halt(root: str) -> None:
    """The root's inittab is `roots.ASKING_INITTAB`."""
    with boot(root) as terminal:
        terminal.expect("activate this console.")
        terminal.type("\x03\r")  # nobody's interrupt: init leads no session on the console
        terminal.expect(PROMPT)
        terminal.type("sh -c 'echo started; exec sleep 100'\r")
        terminal.expect("\nstarted")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.type("reboot\r")
        terminal.expect("jefeos: restarting")
        terminal.expect("activate this console.")
        terminal.type("\r")
        terminal.expect(PROMPT)
        terminal.type("halt -f\r")
        terminal.expect("jefeos: system halted")
        assert terminal.wait() == 0


def signals_to_init_restart(root: str, signal: str) -> None:
    """TERM and INT ask init for a restart; KILL and STOP it does not hear. The inittab is `roots.ASKING_INITTAB`."""
    with boot(root, "--no-reboot") as terminal:
        terminal.expect("activate this console.")
        terminal.type("\r")
        terminal.expect(PROMPT)
        terminal.type(f"kill -KILL 1; kill -STOP 1; kill -{signal} 1\r")
        terminal.expect("system reboot")
        terminal.expect("restart asked for, not done")
        assert terminal.wait() == 0


def inittab_read_again_and_init_started_anew(root: str) -> None:
    """SIGHUP makes init read its table again, SIGQUIT its ``restart`` line. The inittab is `roots.INITTAB`."""
    with boot(root) as terminal:
        log_in(terminal)
        until = "until pgrep -x /bin/sleep >/dev/null; do sleep 1; done; echo there: $(pgrep -x /bin/sleep | wc -l)\r"
        terminal.type(f"echo '::respawn:/bin/sleep 777' >>/etc/inittab; kill -HUP 1; {until}")
        terminal.expect("\nthere: 1\r\n")  # init looks about once a second
        terminal.type(f"kill -KILL $(pgrep -x /bin/sleep); {until}")
        terminal.expect("\nthere: 1\r\n")
        terminal.type("kill -QUIT 1\r")
        terminal.expect("shutdown-ran")
        terminal.expect("sysinit-ran")  # by the new one
        log_in(terminal)
        terminal.type("cat /proc/1/cmdline | tr '\\0' ' '; poweroff\r")
        terminal.expect("/sbin/init ")
        terminal.expect("jefeos: power down")
        assert terminal.wait() == 0


def first_login_of_an_unchanged_archive(root: str) -> None:
    """Its inittab names OpenRC, which is not in the archive, and terminals that this machine does not have."""
    with boot(root) as terminal:
        assert "/sbin/openrc" in terminal.expect("(/dev/tty1)")
        terminal.expect("login: ")


Journey = Callable[[str], None]
JOURNEYS: Final[dict[str, tuple[str, Journey]]] = {
    "login, respawn, poweroff": ("inittab", login_respawn_orphans_and_poweroff),
    "inittab read again, init anew": ("inittab", inittab_read_again_and_init_started_anew),
    "askfirst, reboot, halt": ("asking", askfirst_job_control_restart_and_halt),
    "SIGTERM to init": ("asking", lambda root: signals_to_init_restart(root, "TERM")),
    "SIGINT to init": ("asking", lambda root: signals_to_init_restart(root, "INT")),
    "the archive as it is": ("archive", first_login_of_an_unchanged_archive),
}
"""By name: which root each takes, and the journey."""
