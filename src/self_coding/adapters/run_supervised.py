"""Run a command below a supervisor, so that nothing outlives it: `setsid`, double forks and all.

At the time limit, when the call is cancelled, and when this process is gone, the supervisor ends
every descendant. The command keeps all its rights unless a `Box` is given: agents need the network,
the home directory and their keys.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from self_coding.adapters import process, process_list
from self_coding.adapters.process import Completed

MARK = "SELF_CODING_RUN"  # a variable that every process of one run carries
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_GROUPS, _GROUP = Path("/sys/fs/cgroup"), "self-coding-"
_OLD = 600.0  # seconds after which nobody enters a group any more
_OWN = 8  # tasks beside the command's: bubblewrap's, and shells


@dataclass(frozen=True, kw_only=True)
class Box:
    """What a command may use and reach, for it and all its descendants.

    Attributes:
        limits: resource limits by name (`RLIMIT_CPU`), of each process.
        memory: bytes that all together may hold; 0 for no limit. So with `disk` and `processes`.
        disk: bytes of the files in `written` that are new.
        processes: threads of all processes at one time.
        written: the folders on disk that it can write to.
        in_memory: the places of file systems that are held in memory.
        landlock: the `read` and `write` paths of a Landlock domain, and whether it has `network`.
        closed: True refuses what Landlock does not see: socket files and datagrams.
        namespaces: True where the command makes its own, and needs the rights for it.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    memory: int = 0
    disk: int = 0
    processes: int = 0
    written: tuple[str, ...] = ()
    in_memory: tuple[str, ...] = ()
    landlock: Mapping[str, object] | None = None
    closed: bool = False
    namespaces: bool = False


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float | None,
    stdin: bytes = b"",
    output_bytes: int = 1 << 20,
    watch: Callable[[bytes], None] | None = None,
    box: Box | None = None,
    handed: Sequence[int] = (),
    readers: Mapping[int, int] | None = None,
) -> Completed:
    """Run `argv` (its first word an absolute path); its two outputs are merged and capped.

    Args:
        argv: the command and its arguments.
        cwd: the directory it runs in.
        env: its whole environment.
        timeout: wall seconds; None waits for ever.
        stdin: bytes fed to it.
        output_bytes: bytes of output kept, head and tail.
        watch: called with each piece of output when it comes.
        box: what it may not do or exceed.
        handed: descriptors that go over to it.
        readers: descriptors to read while it runs, each with the bytes kept of it.

    Raises:
        ProcessError: it could not be started.
    """
    mark = secrets.token_hex(16)
    # The supervisor watches the reading end: it closes when this process is gone, however it went.
    lifeline, ours = os.pipe()
    group = _task_group(box.processes) if box and box.processes else None
    plan: dict[str, object] = {"parent": os.getpid(), "lifeline": lifeline, "argv": list(argv)}
    plan["box"] = asdict(box) if box else None
    plan["group"] = str(group / "cgroup.procs") if group else ""

    def terminate(pid: int) -> None:
        with suppress(ProcessLookupError):
            # Not SIGKILL: the supervisor is what ends the rest, and would leave them alive.
            os.kill(pid, signal.SIGTERM)

    try:
        return process.run(
            # Isolated, without site: nothing of the tested tree reaches what guards it.
            [sys.executable, "-I", "-S", str(_SUPERVISOR), json.dumps(plan, ensure_ascii=False)],
            cwd=cwd,
            env={**env, MARK: mark},
            stdin=stdin,
            timeout=timeout,
            limit=output_bytes,
            tail=output_bytes // 2,
            merged=True,
            # Closed here once it is handed over: our own copy would keep the pipe open.
            handed=(lifeline, *handed),
            readers=readers,
            kill=terminate,
            watch=watch,
        )
    finally:
        os.close(ours)
        # For when the supervisor itself was killed: its orphans carry the mark.
        process_list.kill_marked(MARK, mark)
        if group:
            with suppress(OSError):  # one that is not empty yet goes with the next run
                group.rmdir()


def _task_group(most: int) -> Path | None:
    """Make a control group of at most so many tasks, where that is needed and can be had.

    The kernel counts the processes of a user, but not root's: a fork bomb of root's takes the
    machine before the supervisor looks twice.
    """
    ours = Path("/proc/self/cgroup")
    if os.geteuid() or not ours.exists():
        return None
    for line in ours.read_text(encoding="utf-8", errors="replace").splitlines():
        _, kind, own = line.split(":", 2)
        top = _GROUPS / {"pids": "pids", "": "."}.get(kind, "nothing")
        here = top / own.lstrip("/")
        # Below our own, so that its limits hold as well. In the second version that is refused
        # where processes are, which leaves a place beside it.
        for above in (here, here.parent) if here != top else (here,):
            if not (above / "cgroup.procs").is_file():
                continue  # in a plain folder the limit would be a plain file
            group = above / f"{_GROUP}{secrets.token_hex(8)}"
            with suppress(OSError):
                for left in above.glob(f"{_GROUP}*"):  # of those that were killed
                    with suppress(OSError):
                        # A younger one may be somebody's who has not entered it yet.
                        if time.time() - left.stat().st_mtime > _OLD:
                            left.rmdir()
                group.mkdir()
                try:
                    (group / "pids.max").write_text(f"{most + _OWN}", encoding="ascii")
                except OSError:
                    group.rmdir()
                else:
                    return group
    return None
