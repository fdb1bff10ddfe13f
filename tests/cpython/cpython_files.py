"""The test files of CPython that are run, and which parts of them every test run has.

``FILES`` is the whole table: the interpreter's tests of what a kernel answers for. The files (or parts) of
``SHORT`` take a few seconds each and run in every ``make test``; the rest needs ``--long``, mostly because the
tests sleep. Not compared yet: test_multiprocessing_spawn and _forkserver, and those of asyncio that are not named here.
"""

from __future__ import annotations

from cpython_running import TestFile

#: Module: the classes or tests of the short run; none for the whole file.
SHORT: dict[str, tuple[str, ...]] = {
    "test_os": (),
    "test_posix": (),
    "test_signal": (
        "GenericTests", "PosixTests", "WakeupSignalTests", "WakeupFDTests", "PendingSignalsTests",
        "PidfdSignalTest",
        "SiginterruptTest.test_siginterrupt_on", "RaiseSignalTest", "ItimerTest.test_itimer_real",
    ),
    "test_subprocess": ("POSIXProcessTestCase", "RunFuncTestCase", "ContextManagerTests"),
    "test_threading": ("ThreadTests", "LockTests", "ConditionTests", "SemaphoreTests", "BarrierTests"),
    "test_mmap": (),
    "test_fcntl": (),
    "test_pty": (),
    "test_select": (),
    "test_epoll": (),
    "test_socket": (),
    "test_tempfile": (),
    "test_shutil": (),
    "test_pathlib": ("PosixPathTest",),  # the others are the same again, or ask no kernel
    "test_thread": (),
    "test_popen": (),
    "test_openpty": (),
    "test_resource": (),
    "test_asyncio.test_unix_events": (),
}  # fmt: skip

#: Modules with the tests that are left out on both sides.
MODULES: dict[str, tuple[str, ...]] = dict.fromkeys(SHORT, ()) | dict.fromkeys(
    (
        "test_io", "test_fileio", "test_glob", "test_tarfile", "test_zipfile", "test_selectors", "test_poll",
        "test_queue", "test_eintr", "test_wait3", "test_wait4", "test_fork1", "test_pwd", "test_grp",
        "test_time",
        "test_locale", "test_posixpath", "test_genericpath", "test_stat", "test_file", "test_filecmp",
        "test_fileinput", "test_bufio", "test_faulthandler", "test_threadsignals", "test_threadedtempfile",
        "test_threading_local", "test_file_eintr", "test_dbm", "test_hashlib", "test_ctypes", "test_sys",
        "test_syslog",
        "test_uuid", "test_platform", "test_sched", "test_gc", "test_math", "test_cmath", "test_float",
        "test_struct", "test_json", "test_gzip", "test_zlib", "test_import", "test_runpy", "test_atexit",
        "test_utf8_mode",
        "test_c_locale_coercion", "test_cmd_line", "test_repl", "test_readline", "test_getpass", "test_support",
        "test_contextlib", "test_venv", "test_multiprocessing_main_handling",
        "test_asyncio.test_base_events", "test_asyncio.test_selector_events", "test_asyncio.test_sock_lowlevel",
        "test_asyncio.test_sendfile", "test_asyncio.test_server", "test_asyncio.test_streams",
        "test_asyncio.test_subprocess", "test_asyncio.test_events", "test_asyncio.test_buffered_proto",
        "test_ssl", "test_httpservers", "test_httplib", "test_urllib2_localnet", "test_ftplib", "test_smtplib",
        "test_poplib", "test_telnetlib", "test_imaplib", "test_xmlrpc", "test_wsgiref", "test_socketserver",
        "test_multiprocessing_fork", "test_asyncio.test_sslproto", "test_asyncio.test_runners",
        "test_asyncio.test_futures", "test_asyncio.test_locks", "test_asyncio.test_queues",
        "test_asyncio.test_taskgroups", "test_asyncio.test_timeouts", "test_asyncio.test_tasks",
        "test_asyncio.test_ssl",
    ), ()
) | {
    # Virtual machines differ in what their VSOCK device does with itself; on some the test never ends.
    "test_socket": ("ThreadedVSOCKSocketStreamTest",),
    # New processes must be at work within 1.5 or 5 s, which on a busy machine the emulated processor misses.
    "test_concurrent_futures": (
        "ProcessPoolForkserverWaitTest.test_first_completed",
        "ProcessPoolForkserverWaitTest.test_first_exception",
        "ProcessPoolSpawnProcessPoolExecutorTest.test_map_timeout",
    ),
}  # fmt: skip

#: Modules that say "network" and mean the loopback device.
ON_LOOPBACK = ("test_socketserver",)

FILES = {
    module: TestFile(module, (), without, ("network",) if module in ON_LOOPBACK else ())
    for module, without in MODULES.items()
}


def short() -> list[TestFile]:
    """The files and parts of the short run."""
    return [TestFile(module, names, MODULES[module]) for module, names in SHORT.items()]
