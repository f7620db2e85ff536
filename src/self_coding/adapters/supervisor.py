"""Supervises one command; a script of its own, which imports nothing of ours.

Started as `python -I -S supervisor.py JSON`. It is the sub-reaper of everything the command
starts, so that double-forked and `setsid` descendants come back to it; it ends them all when the
command ends, on SIGTERM, and when the process that started it is gone. Where the plan has a `box`,
the command gets fewer rights, none of which it or its children can take back, and all of them
together get no more memory, disk and processes than one.
It exits with the command's status, 128 + n for signal n, and 125 when it could not contain it.
"""
# ruff: noqa: PTH208, PTH116, PTH112 - pathlib would double the start of this short-lived script

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
import time
from contextlib import suppress

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_CAP_AMBIENT = 24, 22, 47
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CANNOT = 125
_TICK = 0.1  # seconds between two looks at what the command uses
# Landlock's rights by the ABI version that brought them
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE = sum(1 << bit for bit in range(4, 13))  # remove_dir .. make_sym
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL

# Each with its number on x86-64, and on the architectures that share one table.
_NUMBERS = """keyctl 250 219  add_key 248 217  request_key 249 218  io_uring_setup 425 425
    socket 41 198  socketpair 53 199  shmget 29 194  semget 64 190  msgget 68 186  mq_open 240 180
    chmod 90 -  fchmod 91 52  fchmodat 268 53  fchmodat2 452 452  creat 85 -  open 2 -
    openat 257 56  mount 165 40  fsopen 430 430""".split()  # noqa: SIM905 - read as a table
_SYSCALLS = {_NUMBERS[at]: _NUMBERS[at + 1 : at + 3] for at in range(0, len(_NUMBERS), 3)}
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1), "riscv64": (0xC00000F3, 1)}
_UNIX, _INET, _INET6, _NETLINK = _FAMILIES = 1, 2, 10, 16
_TYPE, _DATAGRAM, _RAW = 0xF, 2, 3  # without SOCK_CLOEXEC and SOCK_NONBLOCK
_ALL, _SET_UID, _CREATE = 0xFFFFFFFF, 0o4000, os.O_CREAT
# A system call, the error it gets, and when: argument, mask, whether equal, value.
Rule = tuple[str, int, tuple[tuple[int, int, bool, int], ...]]
_RULES: tuple[Rule, ...] = (
    # Keyrings belong to a user, not to a namespace: the login's keys are in them.
    *((name, errno.EPERM, ()) for name in ("keyctl", "add_key", "request_key")),
    # Its operations (socket, openat) pass no filter.
    ("io_uring_setup", errno.ENOSYS, ()),
    # AF_VSOCK reaches the hypervisor from any network namespace; AF_PACKET and others need rights.
    ("socket", errno.EAFNOSUPPORT, tuple((0, _ALL, False, family) for family in _FAMILIES)),
    *(
        ("socket", errno.EPERM, ((0, _ALL, True, family), (1, _TYPE, True, _RAW)))
        for family in (_INET, _INET6)
    ),
    # As root such a file is on the host's disk, and root's, as long as the tree is there.
    *(
        (name, errno.EPERM, ((place, _SET_UID, True, _SET_UID),))
        for place, names in ((1, ("chmod", "fchmod", "creat")), (2, ("fchmodat", "fchmodat2")))
        for name in names
    ),
    *(
        (name, errno.EPERM, ((at, _CREATE, True, _CREATE), (at + 1, _SET_UID, True, _SET_UID)))
        for name, at in (("open", 1), ("openat", 2))
    ),
)
# Landlock sees neither UDP nor who listens at a socket file, wherever that is: docker.sock is a
# way to the host's root. A pair of datagram sockets can be sent to a file as well.
_CLOSED: tuple[Rule, ...] = (
    ("socket", errno.EACCES, ((0, _ALL, True, _UNIX),)),
    ("socketpair", errno.EACCES, ((1, _TYPE, True, _DATAGRAM),)),
    *(
        ("socket", errno.EACCES, ((0, _ALL, True, family), (1, _TYPE, True, _DATAGRAM)))
        for family in (_INET, _INET6)
    ),
)
_SHARED_IPC: tuple[Rule, ...] = tuple(
    (n, errno.EPERM, ()) for n in ("shmget", "semget", "msgget", "mq_open")
)

# In a user namespace of its own root mounts its control groups anew, for writing: their limits are
# the host's, and bind those who run us as well. Binding what is there already stays refused there.
_MOUNTS: tuple[Rule, ...] = (("mount", errno.EPERM, ()), ("fsopen", errno.EPERM, ()))

_libc = ctypes.CDLL(None, use_errno=True)


def main(text: str) -> int:
    """Run the command that `text` describes, contained, and return its exit status."""
    plan = json.loads(text)
    # The self-pipe: a signal between the last look and `select` would be slept through otherwise.
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: stopped.append(got))
    signal.signal(signal.SIGCHLD, lambda _got, _frame: None)  # ignored, it would not wake us
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # Orphans become our children instead of init's, so that the process table leads to all of them.
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != plan["parent"]:  # it died before prctl took effect: no signal will come
        return _CANNOT
    watch = Watch(plan["box"]) if plan["box"] else None
    child = os.fork()
    if child == 0:
        _become(plan)
    status: int | None = None
    # Signals and the lifeline wake it at once; the pause is for what can only be polled.
    pause = _TICK if watch else 5.0
    while status is None and not stopped:
        ready = select.select([wake, plan["lifeline"]], [], [], pause)[0]
        # Its other end was closed by the kernel, however our parent has died.
        if plan["lifeline"] in ready:
            break
        if wake in ready:
            os.read(wake, 4096)
        status = _reap(child)
        if watch and status is None:
            before = time.monotonic()
            if excess := watch.excess():
                os.write(2, f"\nself-coding: the run was ended: {excess}\n".encode())
                break
            pause = max(_TICK, 20 * (time.monotonic() - before))  # at most a twentieth of a core
    # Also where the command has ended by itself: what it left running would outlive the verdict.
    end_descendants()
    return 128 + signal.SIGTERM if status is None else status


class Watch:
    """What the command and all its descendants use together, beside what the plan grants."""

    def __init__(self, box: dict) -> None:  # type: ignore[type-arg] # plain JSON
        self.box = box
        self.started = time.time() - 0.01  # clocks of file systems tick that coarsely
        self.free = _free(box["written"])
        self.looked = time.monotonic()
        self.cost, self.looks = 0.0, 0

    def excess(self) -> str:
        """Return what of the run is too much to go on, in words.

        Of memory, only the largest process is ended, as the kernel would.
        """
        # To ask each process for its children costs a twentieth of reading the whole process table,
        # but a child that ends meanwhile can hide its siblings: once a second, all are looked at.
        self.looks += 1
        found = (self.looks % 10 and _children(os.getpid())) or _descendants(os.getpid())
        threads = sum(one.threads for one in found.values())
        if 0 < self.box["processes"] < threads:
            return f"{threads} processes at once; raise gate.processes"
        if self.box["memory"]:
            self._bound_memory(found)
        # A walk costs: only when that much was written, or as a hundredth of the time.
        now, free = time.monotonic(), _free(self.box["written"])
        # The file system tells what was written by everybody, for nothing: the walk tells by whom.
        drop = self.free - free >= self.box["disk"] // 4
        if self.box["disk"] and (drop or now - self.looked > max(2.0, 100 * self.cost)):
            size = self._written(list(found))
            self.free, self.looked, self.cost = free, now, time.monotonic() - now
            if size > self.box["disk"]:
                return f"{size >> 20} MiB of files written; raise gate.file_bytes"
        return ""

    def _bound_memory(self, found: dict[int, Process]) -> None:
        held = 0
        for place in self.box["in_memory"]:  # what lies in a tmpfs is memory as well
            with suppress(OSError):
                # Through the root of a process inside, as its mounts are in a namespace that we are
                # not in. The youngest is the command's, not bubblewrap's own; as long as that is
                # still mounting, it sees what we see there, which is the host's disk.
                inside = f"/proc/{max(found, default=0)}/root{place}"
                if _device(inside) != _device(place):
                    space = os.statvfs(inside)
                    held += (space.f_blocks - space.f_bfree) * space.f_frsize
        if held + sum(one.memory for one in found.values()) <= self.box["memory"]:
            return
        # Forked processes share pages, which the sum has counted more than once.
        sizes = {pid: one.share(pid) for pid, one in found.items()}
        while held + sum(sizes.values()) > self.box["memory"] and sizes:
            largest = max(sizes, key=sizes.__getitem__)
            text = f"all together hold over {self.box['memory'] >> 20} MiB; raise gate.memory_bytes"
            os.write(2, f"\nself-coding: process {largest} was ended: {text}\n".encode())
            with suppress(OSError):
                os.kill(largest, signal.SIGKILL)
            del sizes[largest]

    def _written(self, pids: list[int]) -> int:
        """Return the bytes on disk of the files that were written since the start."""
        total, pending = 0, list(self.box["written"])
        while pending:
            with suppress(OSError), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif status.st_ctime >= self.started:
                        # Blocks, not size: a file with a hole of a terabyte takes nothing.
                        total += status.st_blocks * 512
        seen = set()
        for pid in pids:  # files without a name any more
            with suppress(OSError):
                for name in os.listdir(f"/proc/{pid}/fd"):
                    status = os.stat(f"/proc/{pid}/fd/{name}")
                    if not status.st_nlink and (key := (status.st_dev, status.st_ino)) not in seen:
                        seen.add(key)
                        total += status.st_blocks * 512
        return total


def _device(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_dev
    return 0


def _free(folders: list[str]) -> int:
    disks = [os.statvfs(folder) for folder in folders]
    return sum(disk.f_bfree * disk.f_frsize for disk in disks)


def end_descendants() -> None:
    """End every process below this one; stop them first, so that none can fork away."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        # All are stopped before one is killed; a fork in between is found in the next round.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in _descendants(os.getpid()):
                with suppress(OSError):
                    os.kill(pid, number)
        while True:
            try:
                # Reaped at once: a zombie is still listed, and would be counted as alive.
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                return
        time.sleep(0.002)


class Process:
    """One line of `/proc/*/stat`: the parent, the threads, the bytes of memory."""

    def __init__(self, stat: bytes) -> None:
        words = stat.rpartition(b")")[2].split()  # a name may hold anything but its own end
        self.parent, self.threads = int(words[1]), int(words[17])
        self.memory = int(words[21]) * resource.getpagesize()

    def share(self, pid: int) -> int:
        """Return the memory, with what it shares divided among those who share it."""
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                lines = [line.split() for line in file]
        except OSError:
            return self.memory
        return sum(int(line[1]) << 10 for line in lines if line[0] in (b"Pss:", b"SwapPss:"))


def _children(top: int) -> dict[int, Process]:
    """Return the descendants that the kernel names, task by task; none where it does not."""
    found: dict[int, Process] = {}
    queue = [top]
    while queue:
        tasks = f"/proc/{queue.pop()}/task"
        with suppress(OSError, IndexError, ValueError):
            for task in os.listdir(tasks):
                with open(f"{tasks}/{task}/children", "rb") as file:
                    names = file.read().split()
                for pid in map(int, names):
                    with open(f"/proc/{pid}/stat", "rb") as file:
                        found[pid] = Process(file.read())
                    queue.append(pid)
    return found


def _descendants(top: int) -> dict[int, Process]:
    children: dict[int, dict[int, Process]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                # Between listing and opening a process may have ended.
                with open(f"/proc/{name}/stat", "rb") as file:
                    process = Process(file.read())
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(process.parent, {})[int(name)] = process
    found: dict[int, Process] = {}
    queue = [top]
    while queue:
        below = children.get(queue.pop(), {})
        found |= below
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
    """In the forked child: give up rights, then turn into the command."""
    try:
        os.close(plan["lifeline"])
        # Out of our group: a signal to the command's must not reach its supervisor.
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if plan["group"]:  # before it can fork: root's processes are bound by nothing else
            with open(plan["group"], "w", encoding="ascii") as file:
                file.write("0")
        if plan["box"]:
            _enter(plan["box"])
        os.execv(plan["argv"][0], plan["argv"])  # noqa: S606 - this is what it is for
    except BaseException as error:  # noqa: BLE001 - a forked child may never return to the caller
        os.write(2, f"self-coding: cannot contain the command: {error}\n".encode())
    finally:
        os._exit(_CANNOT)


def _enter(box: dict) -> None:  # type: ignore[type-arg] # plain JSON
    """Give up rights for good, each before the step that would forbid it."""
    column = _MACHINES[platform.machine()][1]
    # A new session keyring, or all below has the login's keys. First: the filter forbids it.
    _libc.syscall(int(_SYSCALLS["keyctl"][column]), 1, None)
    private = box["namespaces"]  # bubblewrap makes its own, and needs the rights for it
    if not private:
        probe = os.fork()
        if probe == 0:  # half a change cannot be taken back: somebody else tries
            os._exit(0 if _separate_ipc(box) else 1)
        private = os.waitpid(probe, 0)[1] == 0 and _separate_ipc(box)
    for name, granted in box["limits"].items():
        amount = granted
        if name == "RLIMIT_NPROC" and not private:
            # The kernel counts every task of the user against it: add those that are there.
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with suppress(OSError):
                    if os.stat(f"/proc/{pid}").st_uid == os.getuid():
                        amount += len(os.listdir(f"/proc/{pid}/task"))
        hard = resource.getrlimit(getattr(resource, name))[1]
        # One above the hard limit cannot be set without rights; the stricter one is as good.
        least = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(getattr(resource, name), (least, least))
    # The kernel wants it before it lets a user set a filter or a domain: a set-uid program must not
    # run with more rights and half its calls refused.
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if not box["namespaces"]:
        # Without them, exec gives root none either: no clock, raw sockets, immutable files,
        # mounts, and no typing into terminals that are not the command's own (TIOCSTI).
        # CLEAR_ALL: ambient ones would survive exec beside an empty bounding set.
        _libc.prctl(_PR_CAP_AMBIENT, 4, 0, 0, 0)
        # Whatever this kernel has: numbers that it does not know are refused, which is fine.
        for capability in range(64):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if box["landlock"]:
        _landlock(box["landlock"])
    # The filter last: it forbids calls that the steps above make, and bubblewrap still has to make.
    mounts = () if box["namespaces"] else _MOUNTS
    rules = (*_RULES, *mounts, *(_CLOSED if box["closed"] else ()))
    code = _program((*rules, *(() if private else _SHARED_IPC)))
    # Named, so that it lives until the kernel has copied it.
    kept = ctypes.create_string_buffer(code)
    described = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept))
    _checked(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(described), 0, 0))


def _separate_ipc(box: dict) -> bool:  # type: ignore[type-arg] # plain JSON
    """Enter an IPC namespace and a /dev/shm of our own, where the kernel lets anybody do so.

    What is left there would stay on the host, and who left it cannot be told afterwards.
    """
    # Before the namespace is entered: in there nobody is mapped yet, and both are 65534.
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(0x10000000 | 0x08000000 | 0x00020000) != 0:  # NEWUSER, NEWIPC, NEWNS
        return False
    try:
        for name, text in (
            # The kernel lets a user write gid_map only after this.
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        _checked(_libc.mount(None, b"/", None, 0x4000 | 0x40000, None))  # REC, PRIVATE
        size = f"mode=1777,size={box['disk'] or 1 << 30}".encode()
        _checked(_libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 2 | 4, size))  # NOSUID, NODEV
    except OSError:
        return False
    return True


def no_mounts() -> bytes:
    """Return the filter under which no file system can be mounted, for bubblewrap to set last."""
    return _program(_MOUNTS)


def _program(rules: tuple[Rule, ...]) -> bytes:
    """Return a filter by which the kernel refuses system calls, by their numbers and by arguments
    that are numbers."""
    architecture, column = _MACHINES[platform.machine()]

    def one(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    load, equal, at_least, masked, answer = 0x20, 0x15, 0x35, 0x54, 0x06
    refuse, allow = 0x00050000, 0x7FFF0000  # SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
    foreign = one(answer, refuse | errno.ENOSYS)  # 32-bit calls and x32 have other numbers
    # A BPF program of the kernel's `struct seccomp_data`: the number of the call at 0, the
    # architecture at 4, the arguments from 16 on. Jumps count instructions forward.
    code = [one(load, 4), one(equal, architecture, 1), foreign]
    code += [one(load, 0), one(at_least, 0x40000000, 0, 1), foreign]
    for name, error, conditions in rules:
        number = _SYSCALLS[name][column]
        if number == "-":
            continue
        left = 3 * len(conditions) + 1  # what is skipped when a condition does not hold
        code.append(one(equal, int(number), 0, left))
        for argument, mask, is_equal, value in conditions:
            left -= 3
            # The low half of a 64-bit argument: all that is compared here fits.
            place = 16 + 8 * argument + 4 * (sys.byteorder == "big")
            jump = (0, left) if is_equal else (left, 0)
            code += [one(load, place), one(masked, mask), one(equal, value, *jump)]
        code += [one(answer, refuse | error), one(load, 0)]
    code.append(one(answer, allow))
    return b"".join(code)


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    # As in the kernel's header, where the descriptor follows without padding.
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def _landlock(plan: dict) -> None:  # type: ignore[type-arg] # plain JSON
    """Enter a domain: read `read`, write `write`, no TCP unless `network`, no signals outside."""
    abi = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        raise OSError("this kernel has no Landlock")
    every = _EXECUTE | _WRITE_FILE | _READ_FILE | _READ_DIR | _MAKE
    # A right that the kernel does not know makes the whole call fail, so each is asked for from its
    # version on.
    every |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    every |= _IOCTL if abi >= 5 else 0
    rules = _Ruleset(every, 0 if plan["network"] or abi < 4 else 3, 3 if abi >= 6 else 0)
    # The struct grew with the versions: a kernel takes no field that it does not know.
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    domain = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    reading = (_EXECUTE | _READ_FILE | _READ_DIR) & every
    for paths, rights in ((plan["read"], reading), (plan["write"], every)):
        for path in paths:
            _allow(domain, path, rights)
    _checked(_libc.syscall(_RESTRICT_SELF, domain, 0))
    os.close(domain)


def _allow(domain: int, path: str, rights: int) -> None:
    try:
        # O_PATH: a folder that may not be read can still be named.
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # a path that is not there needs no right
    try:
        if not os.path.isdir(path):
            # The kernel refuses a rule that gives a file the rights of a folder.
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
