"""Supervises one contained command where bubblewrap cannot; a script of its own, no import of ours.

Started as `python -I -S supervisor.py JSON`. It is the sub-reaper of everything the command
starts, so that double-forked and `setsid` descendants come back to it; it ends them all when the
command ends, on SIGTERM, and when the process that started it is gone. The command gets resource
limits and, where asked, a Landlock domain that neither it nor its children can leave.
It exits with the command's status, 128 + n for signal n, and 125 when it could not contain it.
"""
# ruff: noqa: PTH208, PTH116, PTH112 - pathlib would double the start of this short-lived script

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_PR_CAPBSET_DROP, _CAP_SYS_ADMIN = 24, 21
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CANNOT = 125
# Landlock's rights by the ABI version that brought them
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE = sum(1 << bit for bit in range(4, 13))  # remove_dir .. make_sym
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL

_libc = ctypes.CDLL(None, use_errno=True)


def main(text: str) -> int:
    """Run the command that `text` describes, contained, and return its exit status."""
    plan = json.loads(text)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: stopped.append(got))
    signal.signal(signal.SIGCHLD, lambda _got, _frame: None)  # ignored, it would not wake us
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != plan["parent"]:  # it died before prctl took effect: no signal will come
        return _CANNOT
    child = os.fork()
    if child == 0:
        _become(plan)
    status: int | None = None
    while status is None and not stopped:
        ready = select.select([wake, plan["lifeline"]], [], [], 5.0)[0]
        if plan["lifeline"] in ready:
            break
        if wake in ready:
            os.read(wake, 4096)
        status = _reap(child)
    end_descendants()
    return 128 + signal.SIGTERM if status is None else status


def end_descendants() -> None:
    """End every process below this one; stop them first, so that none can fork away."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in _descendants(os.getpid()):
                with suppress(OSError):
                    os.kill(pid, number)
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                return
        time.sleep(0.002)


def _descendants(top: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(name))
    found, queue = [], [top]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _reap(child: int) -> int | None:
    """Collect what has ended; the exit status of `child` when it is among it."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return _CANNOT
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(plan: dict) -> None:  # type: ignore[type-arg] # plain JSON
    """In the forked child: take on the limits, then turn into the command."""
    try:
        os.close(plan["lifeline"])
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for name, amount in plan["limits"].items():
            _set_limit(getattr(resource, name), amount)
        if plan["landlock"]:
            _landlock(plan["landlock"])
        os.execv(plan["argv"][0], plan["argv"])  # noqa: S606 - this is what it is for
    except BaseException as error:  # noqa: BLE001 - a forked child may never return to the caller
        os.write(2, f"self-coding: cannot contain the command: {error}\n".encode())
    finally:
        os._exit(_CANNOT)


def _set_limit(which: int, amount: int) -> None:
    """Lower a limit for good, as far as the hard limit allows."""
    if which == resource.RLIMIT_NPROC:
        # The kernel counts every task of the user against it: add those that there are already.
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                    amount += len(os.listdir(f"/proc/{name}/task"))
    hard = resource.getrlimit(which)[1]
    least = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(which, (least, least))


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def _landlock(plan: dict) -> None:  # type: ignore[type-arg] # plain JSON
    """Enter a domain: read `read`, write `write`, no TCP unless `network`, no signals outside."""
    abi = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise OSError("this kernel has no Landlock")
    every = _EXECUTE | _WRITE_FILE | _READ_FILE | _READ_DIR | _MAKE
    every |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    every |= _IOCTL if abi >= 5 else 0
    rules = _Ruleset(every, 0 if plan["network"] or abi < 4 else 3, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    domain = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    reading = (_EXECUTE | _READ_FILE | _READ_DIR) & every
    for paths, rights in ((plan["read"], reading), (plan["write"], every)):
        for path in paths:
            _allow(domain, path, rights)
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    # With it, root could type into terminals that are not the command's own (TIOCSTI).
    _libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_ADMIN, 0, 0, 0)
    _checked(_libc.syscall(_RESTRICT_SELF, domain, 0))
    os.close(domain)


def _allow(domain: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # a path that is not there needs no right
    try:
        if not os.path.isdir(path):
            rights &= _FILE_ONLY
        rule = _Beneath(rights, fd)
        _checked(_libc.syscall(_ADD_RULE, domain, 1, ctypes.byref(rule), 0))
    finally:
        os.close(fd)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
