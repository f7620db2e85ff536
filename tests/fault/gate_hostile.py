"""Hostile programs for the sandbox, and the small world that they try to harm.

Bounded on purpose: at worst a control run writes some megabytes below the world's folder, holds
some hundred megabytes for a moment and starts some hundred short-lived processes. Run as a script
it prints one row per level; `bench/gate.py` does so as root and as an ordinary user.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from self_coding.adapters import sandbox
from self_coding.adapters.process import Completed
from self_coding.adapters.sandbox import RunLimits, SandboxSpec
from self_coding.values.verdicts import GateSettings

MB = 1 << 20
IPC_KEY = 0x7ED7EA
SECRET = "a-secret-of-the-user"
SECONDS = 2.0
PROLOGUE = """
import json, os, signal, socket, subprocess, sys, time
world = json.loads(os.environ['WORLD'])
def done(text='done'):
    open(os.path.join(world['tree'], 'result'), 'w').write(str(text))
"""


@dataclass
class World:
    """What a program can harm: files, listeners and a process, all outside its tree."""

    root: Path
    heard: list[str]
    victim: subprocess.Popen[bytes]
    port: int
    udp: int
    abstract: str
    has_key: bool = False

    @property
    def tree(self) -> Path:
        return self.root / "tree"

    @property
    def result(self) -> str:
        path = self.tree / "result"
        return path.read_text() if path.exists() else ""

    def marked(self) -> list[int]:
        """The processes that carry this world's mark and are still there."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if f"hostile-{self.root.name}".encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found


Check = Callable[[World, Completed], bool]


@dataclass(frozen=True)
class Program:
    """One hostile program: its code, and what "contained" means for it."""

    name: str
    code: str
    contained: Check
    seconds: float = 20.0  # long enough on a busy machine: slow is not contained


def _no_result(world: World, _: Completed) -> bool:
    return world.result == ""


def _absent(*names: str) -> Check:
    return lambda world, _: not any((world.root / name).exists() for name in names)


def _nobody_left(world: World, _: Completed) -> bool:
    deadline = time.monotonic() + 2
    while world.marked() and time.monotonic() < deadline:
        time.sleep(0.05)
    left = world.marked()
    for pid in left:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return not left


def _quick_and_nobody_left(world: World, done: Completed) -> bool:
    return done.seconds < SECONDS + 8 and _nobody_left(world, done)


def _unheard(world: World, _: Completed) -> bool:
    time.sleep(0.1)
    return not world.heard


def _nothing_stays(world: World, _: Completed) -> bool:
    """Whether no shared memory, semaphores or queue of the program is left on the host."""
    libc = ctypes.CDLL(None)
    left = []
    for get, control, size in (("shmget", "shmctl", (0,)), ("semget", "semctl", (0,))):
        found = getattr(libc, get)(IPC_KEY, *size, 0)
        if found >= 0:
            left.append(found)
            getattr(libc, control)(found, 0, *((0,) if control == "semctl" else (None,)))
    if (queue := libc.msgget(IPC_KEY, 0)) >= 0:
        left.append(queue)
        libc.msgctl(queue, 0, None)
    shared = Path(f"/dev/shm/hostile-{world.root.name}")
    left += [0] if shared.exists() else []
    shared.unlink(missing_ok=True)
    return not left


def _no_set_uid(world: World, _: Completed) -> bool:
    return not any(one.lstat().st_mode & 0o4000 for one in world.tree.iterdir())


def _no_result_no_key(world: World, done: Completed) -> bool:
    return world.has_key and _no_result(world, done)


def _ended_with(text: bytes) -> Check:
    """Whether the supervisor said so, and the program did not come to its end."""
    return lambda world, done: text in done.stdout and world.result == ""


def _sleeper(wrapper: str) -> str:
    argv = "[sys.executable, '-c', 'import time; time.sleep(60)', world['mark']]"
    return wrapper.replace("SLEEP", f"os.execv(sys.executable, {argv})")


PROGRAMS = (
    Program(
        "write into ~/.ssh",
        "os.makedirs(world['home'] + '/.ssh', exist_ok=True)\n"
        "open(world['home'] + '/.ssh/authorized_keys', 'w').write('x')",
        _absent("home/.ssh/authorized_keys"),
    ),
    Program(
        "read ~/.netrc",
        "assert open(world['home'] + '/.netrc').read()\ndone()",
        _no_result,
    ),
    Program(
        "plant a git hook",
        "os.makedirs(world['git'] + '/hooks', exist_ok=True)\n"
        "open(world['git'] + '/hooks/pre-commit', 'w').write('x')",
        _absent("repo/.git/hooks/pre-commit"),
    ),
    Program(
        "move a ref",
        "open(world['git'] + '/refs/heads/evil', 'w').write('0' * 40)",
        _absent("repo/.git/refs/heads/evil"),
    ),
    Program(
        "write elsewhere",
        "open(world['root'] + '/elsewhere', 'w').write('x')",
        _absent("elsewhere"),
    ),
    Program(
        "write through a link",
        "os.symlink(world['root'], 'out')\nopen('out/linked', 'w').write('x')",
        _absent("linked"),
    ),
    Program(
        "secret in the environment",
        "assert os.environ['USER_TOKEN']\ndone()",
        _no_result,
    ),
    Program(
        "secret of another process",
        "seen = b''\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try:\n        seen += open(f'/proc/{pid}/environ', 'rb').read()\n"
        "    except OSError:\n        pass\n"
        "assert world['terces'][::-1].encode() in seen\ndone()",
        _no_result,
    ),
    Program(
        "connect to a local TCP port",
        "s = socket.create_connection(('127.0.0.1', world['port']), 1)\ns.sendall(b'tcp')",
        _unheard,
    ),
    Program(
        "send a UDP packet",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'udp', ('127.0.0.1', world['udp']))",
        _unheard,
    ),
    Program(
        "abstract unix socket",
        "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + world['abstract'])\n"
        "s.sendall(b'unix')",
        _unheard,
    ),
    Program(
        "double-forked daemon",
        _sleeper("if not os.fork():\n    os.setsid()\n    if not os.fork():\n        SLEEP\n"),
        _nobody_left,
    ),
    Program(
        "background child holds the output",
        _sleeper("if not os.fork():\n    SLEEP\n"),
        _quick_and_nobody_left,
        SECONDS,
    ),
    Program(
        "tree that ignores TERM past the limit",
        _sleeper(
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, "
            "signal.SIG_IGN)\nfor _ in range(3):\n    if not os.fork():\n        os.setsid()\n"
            "        SLEEP\nSLEEP\n"
        ),
        _quick_and_nobody_left,
        SECONDS,
    ),
    Program(
        "300 processes",
        "count = 0\ntry:\n    for _ in range(300):\n        if not os.fork():\n"
        "            time.sleep(10)\n            os._exit(0)\n        count += 1\n"
        # held, since they are counted by looking: the busier the machine, the less often
        "except OSError:\n    pass\nif count == 300:\n    time.sleep(8)\n    done()",
        _no_result,
    ),
    Program(
        "1.5 GB of memory",
        "b = bytearray(1500 << 20)\nfor i in range(0, len(b), 1 << 20):\n    b[i] = 1\ndone()",
        _no_result,
    ),
    Program(
        "a file of 400 MB",
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nf = open('big', 'wb')\n"
        "f.truncate(400 << 20)\nf.close()\ndone()",
        _no_result,
    ),
    Program(
        "kill the process that runs us",
        "pid = world['ours']\nos.kill(pid, 0)\nos.kill(pid, signal.SIGUSR1)",
        lambda world, _: "signal" not in world.heard,
    ),
    Program(
        "mount over the system",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "where = world['root'].encode()\n"
        "assert libc.mount(b'none', where, b'tmpfs', 0, b'size=4096') == 0\n"
        "open(world['root'] + '/mounted', 'w').write('x')\ndone()",
        lambda world, _: not os.path.ismount(world.root) and world.result == "",
    ),
    Program(
        "mount its control groups for writing",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "where = os.environ['TMPDIR'].encode() + b'/groups'\nos.mkdir(where)\n"
        "if libc.unshare(0x10000000 | 0x02000000 | 0x00020000) == 0:\n"
        "    for kind, part in (b'cgroup2', None), (b'cgroup', b'memory'):\n"
        "        if libc.mount(b'none', where, kind, 0, part) == 0:\n            done(kind)",
        _no_result,
    ),
    Program(
        "write kernel settings",
        "written = False\n"
        "for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/vm/swappiness',\n"
        "             '/proc/sys/kernel/sysrq', '/sys/kernel/mm/ksm/run'):\n"
        "    try:\n        same = open(path).read()\n        open(path, 'w').write(same)\n"
        "        written = True\n    except OSError:\n        pass\n"
        "if written:\n    done()",
        _no_result,
    ),
    Program(
        "read a key of the login",
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "for ring in (-3, -4, -5):\n"
        "    key = libc.syscall(250, 10, ring, b'user', b'hostile-key', 0)\n"
        "    if key > 0:\n        done(key)",
        _no_result_no_key,
    ),
    Program(
        "a daemon's socket file",
        "s = socket.socket(socket.AF_UNIX)\ns.connect(world['root'] + '/run/inner/d.sock')\n"
        "s.sendall(b'unix')",
        _unheard,
    ),
    Program(
        "a daemon's datagram socket, from a pair",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "a.sendto(b'unix', world['root'] + '/run/inner/datagram')",
        _unheard,
    ),
    Program(
        "sockets of other families",
        "for family, kind in ((40, 1), (17, 3), (2, 3), (10, 3), (38, 5)):\n"
        "    try:\n        socket.socket(family, kind)\n        done(family)\n"
        "    except OSError:\n        pass",
        _no_result,
    ),
    Program(
        "System V and shared memory that stays",
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        f"libc.shmget({IPC_KEY}, 1000, 0o1666)\nlibc.semget({IPC_KEY}, 1, 0o1666)\n"
        f"libc.msgget({IPC_KEY}, 0o1666)\nopen('/dev/shm/' + world['mark'], 'w').write('x')",
        _nothing_stays,
    ),
    Program(
        "set-user-id files",
        "open('a', 'w').close()\nos.close(os.open('d', os.O_CREAT | os.O_WRONLY, 0o4755))\n"
        "os.chmod('a', 0o4755)",
        _no_set_uid,
    ),
    Program(
        "rights over clock, devices and files",
        "status = dict(one.split(':') for one in open('/proc/self/status') if ':' in one)\n"
        "if int(status['CapEff'], 16) or int(status['NoNewPrivs']) != 1:\n    done()",
        _no_result,
    ),
    Program(
        "800 MB of memory in eight processes",
        "pids = []\nfor _ in range(8):\n    pid = os.fork()\n    if not pid:\n"
        "        b = bytearray(100 << 20)\n        b[::4096] = b'x' * len(b[::4096])\n"
        "        time.sleep(1.5)\n        os._exit(0)\n    pids.append(pid)\n"
        "if not any(os.waitpid(pid, 0)[1] for pid in pids):\n    done()",
        _no_result,
    ),
    Program(
        "300 MB in six files",
        "for name in 'abcdef':\n    with open(name, 'wb') as file:\n"
        "        for _ in range(50):\n            file.write(bytes(1 << 20))\n"
        "time.sleep(3)\ndone()",
        _ended_with(b"of files written"),
    ),
    Program(
        "300 MB in six files without a name",
        "files = []\nfor name in 'abcdef':\n    file = open(name, 'wb')\n    os.unlink(name)\n"
        "    file.write(bytes(50 << 20))\n    file.flush()\n    files.append(file)\n"
        "time.sleep(3)\ndone()",
        _ended_with(b"of files written"),
    ),
    Program(
        "a stopped tree past the limit",
        _sleeper(
            "if not os.fork():\n    os.setsid()\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
            "    SLEEP\nif not os.fork():\n    SLEEP\nos.kill(os.getpid(), signal.SIGSTOP)\n"
        ),
        _quick_and_nobody_left,
        SECONDS,
    ),
    Program(
        "trace another process",
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.ptrace(16, world['victim'], 0, 0) == 0\ndone()",
        _no_result,
    ),
)


@contextmanager
def world(root: Path) -> Iterator[World]:
    """A world below `root`, with its listeners and its victim running."""
    for name in ("home", "tree", "run/inner", "repo/.git/hooks", "repo/.git/refs/heads"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "home" / ".netrc").write_text("password")
    heard: list[str] = []
    abstract = f"hostile-{os.getpid()}-{root.name}"
    tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    unix.bind("\0" + abstract)
    unix.listen()
    daemon = socket.socket(socket.AF_UNIX)
    daemon.bind(str(root / "run/inner/d.sock"))
    daemon.listen()
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(root / "run/inner/datagram"))
    threading.Thread(target=_receive, args=(datagram, heard), daemon=True).start()
    libc = ctypes.CDLL(None)
    libc.syscall(250, 1, None)  # a session of our own, as a login has
    key = libc.syscall(248, b"user", b"hostile-key", b"S3CRET", 6, ctypes.c_int(-3))
    for listener in (tcp, unix, daemon):
        threading.Thread(target=_listen, args=(listener, heard), daemon=True).start()
    threading.Thread(target=_receive, args=(udp, heard), daemon=True).start()
    victim = subprocess.Popen(["sleep", "600"], env={"TOKEN": SECRET})
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("signal"))
    try:
        ports = tcp.getsockname()[1], udp.getsockname()[1]
        yield World(root, heard, victim, *ports, abstract, has_key=key > 0)
    finally:
        signal.signal(signal.SIGUSR1, before)
        victim.kill()
        victim.wait()
        for one in (tcp, unix, udp, daemon, datagram):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _listen(listener: socket.socket, heard: list[str]) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            heard.append("connected")
            connection.close()


def _receive(udp: socket.socket, heard: list[str]) -> None:
    with suppress(OSError):
        while udp.recv(100):
            heard.append("udp")


def attack(program: Program, here: World, level: str) -> bool:
    """Run one program at one level; whether it was contained."""
    os.environ.update(HOME=str(here.root / "home"), USER_TOKEN=SECRET)
    told = {
        "root": str(here.root),
        "tree": str(here.tree),
        "home": str(here.root / "home"),
        "git": str(here.root / "repo" / ".git"),
        "port": here.port,
        "udp": here.udp,
        "abstract": here.abstract,
        "terces": SECRET[::-1],  # not in its own environment as it is
        "victim": here.victim.pid,
        "ours": os.getpid(),
        "mark": f"hostile-{here.root.name}",
    }
    (here.tree / "evil.py").write_text(PROLOGUE + program.code + "\n")
    here.heard.clear()
    (here.tree / "result").unlink(missing_ok=True)
    env = {"PATH": os.environ["PATH"], "WORLD": json.dumps(told)}
    if level == "plain":
        done = _plain(here, os.environ | env, program.seconds)
    else:
        prefixes = {Path(sys.base_prefix), Path(sys.prefix)}
        spec = SandboxSpec(
            tree=here.tree,
            mount=here.tree,
            env=env,
            readable=tuple((p, p) for p in (*prefixes, here.root / "run") if len(p.parts) > 2),
            rlimits=GateSettings(memory_bytes=512 * MB, processes=64, file_bytes=100 * MB).rlimits,
        )
        command = f"{sys.executable} -S evil.py 2>/dev/null"  # the program's own errors only
        done = sandbox.run(spec, command, RunLimits(timeout=program.seconds), at=level)
    try:
        return program.contained(here, done)
    finally:
        _nobody_left(here, done)
        for name in ("big", "out", *"abcdef"):
            (here.tree / name).unlink(missing_ok=True)


def _plain(here: World, env: dict[str, str], seconds: float) -> Completed:
    """As a naive runner does it: a shell, its output read to the end, the shell killed in time."""
    started = time.monotonic()
    argv = ["sh", "-c", f"{sys.executable} -S evil.py 2>/dev/null"]
    child = subprocess.Popen(argv, cwd=here.tree, env=env, stdout=subprocess.PIPE)
    timed_out = False
    try:
        child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        child.kill()
        child.wait()
    spent = time.monotonic() - started
    return Completed(tuple(argv), child.returncode, b"", b"", spent, timed_out)


def clean(here: World) -> None:
    """Undo what a program achieved, so that the next one starts from the same world."""
    for name in ("elsewhere", "linked", "mounted", "home/.ssh/authorized_keys"):
        (here.root / name).unlink(missing_ok=True)
    for name in ("hooks/pre-commit", "refs/heads/evil"):
        (here.root / "repo/.git" / name).unlink(missing_ok=True)


def control(here: World, level: str) -> bool:
    """What must still work: Python, writing in the tree and in tmp, a few processes."""
    code = (
        "import tempfile\ntempfile.TemporaryFile().write(b'x')\nopen('mine', 'w').write('x')\n"
        "assert subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True).stdout\n"
        "open('/dev/null', 'w').write('x')\ndone()"
    )
    attack(Program("control", code, _no_result), here, level)
    return here.result == "done"


def table(root: Path, levels: list[str]) -> dict[str, object]:
    """Which programs each level contained, and whether its control passed."""
    found: dict[str, object] = {}
    for level in levels:
        folder = root / level
        folder.mkdir()
        with world(folder) as here:
            missed = []
            for program in PROGRAMS:
                if not attack(program, here, level):
                    missed.append(program.name)
                clean(here)
                if os.path.ismount(here.root):
                    subprocess.run(["umount", str(here.root)], check=True)
            found[level] = {"missed": missed, "control": control(here, level)}
    return found


if __name__ == "__main__":
    print(json.dumps(table(Path(sys.argv[1]), sys.argv[2].split(","))))
