#!/usr/bin/env python3
"""Measure landings: how many suite runs a group costs, and what a cut link leaves behind.

    python bench/landing.py group [--attempts 50] [--red 0.05]   suite runs per landing
    python bench/landing.py cut [--times 20]                     the link cut in mid-landing

`group` has real self-edits wait green until all have come, and lets them land; those that are red
are so only upon others. `cut` lands over git:// through a proxy on loopback that falls silent, as
a pulled cable does, at a moment of its own in each landing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from self_coding.app import open_app
from self_coding.errors import RemoteUnreachableError
from self_coding.gate import Gate
from self_coding.testing import ScriptedEditor, git, sample_repo
from self_coding.values.repository import Landed
from self_coding.values.verdicts import GateReport

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
# A suite that turns red where a bad file meets more than three others.
CHECK = "import glob; assert not (glob.glob('bad*') and len(glob.glob('n*')) > 3)\n"


def told(what: str, *values: object) -> None:
    print(f"{what:<46}", *values, flush=True)


async def group(attempts: int, red: float) -> None:
    """Let many green attempts wait, then count what their landing costs."""
    runs: list[GateReport] = []
    gate_run = Gate.run

    def counted(self: Gate, *given: object, **more: object) -> GateReport:
        report = gate_run(self, *given, **more)  # type: ignore[arg-type]
        if not report.cached:
            runs.append(report)
        return report

    Gate.run = counted  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        top = sample_repo(Path(folder) / "r", {"check.py": CHECK})
        command = f"{sys.executable} check.py"
        gate = {"sandbox": "limits", "retries": 0}
        app = open_app(top, environ={}, test_command=command, gate=gate)
        turn = app.edit.leases.turn("main")
        await turn.take()
        bad = set(random.Random(7).sample(range(attempts), max(1, round(attempts * red))))

        async def one(number: int) -> bool:
            name = f"bad{number}.txt" if number in bad else f"n{number}.txt"
            layer = open_app(top, environ={}, test_command=command, gate=gate).edit
            result = await layer.self_edit(f"add {name}", editor=ScriptedEditor({name: "x\n"}))
            return result.success

        began = time.monotonic()
        tasks = []
        # The red ones come last: landed first they would be green, and all others red upon them.
        for some in ([n for n in range(attempts) if n not in bad], [*bad]):
            tasks += [asyncio.create_task(one(number)) for number in some]
            while len(await app.journal.recent_events(("landing",), limit=500)) < len(tasks):
                await asyncio.sleep(0.5)
        told("green and waiting", attempts, f"after {time.monotonic() - began:.0f} s")
        before, began = len(runs), time.monotonic()
        await turn.release()
        landed = sum(await asyncio.gather(*tasks))
        cost = len(runs) - before
        told("landed, refused", landed, attempts - landed, f"in {time.monotonic() - began:.0f} s")
        told("suite runs, per landing", cost, f"{cost / landed:.2f}")
        tips = [new for one in await app.git.operations(500) if one.kind == "land"
                for _, _, new in one.refs]  # fmt: skip
        reports = [await app.git.test(tip) for tip in tips]
        told("moves of main, red ones", len(tips), sum(not one.passed for one in reports))
        commits = git(top, "rev-list", "--first-parent", "main").split()[:-1]
        subjects = git(top, "log", "--first-parent", "--format=%s", "main").splitlines()
        twice = sorted({one for one in subjects if subjects.count(one) > 1})
        told("landed twice", len(twice), *twice)
        receipts = [*(app.common / "self_coding/receipts").glob("0*")]
        findings = await app.git.verify()
        told("merge commits, receipts, findings", len(commits), len(receipts), len(findings))


class Link:
    """A line to a server that can fall silent: nothing comes through, nothing is closed."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()

    async def open(self, port: int) -> int:
        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 14):
                await self.up.wait()
                writer.write(data)
                await writer.drain()
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            both = (pipe(reader, back), pipe(there, writer))
            await asyncio.gather(*both, return_exceptions=True)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return server.sockets[0].getsockname()[1]


async def cut(times: int) -> None:
    """Cut the link at a moment of each landing; compare what was told with what is there."""
    from remotes import BareRemote, daemon, green

    chance = random.Random(3)
    with tempfile.TemporaryDirectory() as folder:
        remote = BareRemote(Path(folder))
        remote.hook("pre-receive", "#!/bin/sh\ncat > /dev/null\nsleep .3\n")
        with daemon(remote) as url:
            link = Link()
            port = await link.open(int(url.split(":")[2].split("/")[0]))
            near = f"git://127.0.0.1:{port}/remote.git"
            # In a thread: the link is this loop's, and a clone comes through it.
            machine = await asyncio.to_thread(remote.machine, "a", url=near, seconds=2.5)
            open_, at_once, wrong = 0, 0, 0
            for number in range(times):
                what = await green(machine, f"n{number}")
                landing = asyncio.create_task(machine.land(what, attempt=f"{number}"))
                await asyncio.sleep(chance.uniform(0, 1.0))
                link.up.clear()
                while True:
                    try:
                        done = isinstance(await landing, Landed)
                        at_once += done
                        break
                    except RemoteUnreachableError:
                        open_ += 1
                        link.up.set()  # the cable is back; the attempt is taken up
                        held = await machine.landed([what.commit], settle=True)
                        done = bool(held)
                        break
                    finally:
                        link.up.set()
                await asyncio.sleep(0.5)
                there = git(remote.path, "branch", "--list", "--contains", what.head, "main")
                wrong += done != bool(there)
                if not done:  # a new candidate, as the lifecycle makes it
                    again = await machine.candidate(what.head, f"n{number} again")
                    assert (await machine.test(again)).passed
                    assert isinstance(await machine.land(again, attempt=f"{number}"), Landed)
            names = git(remote.path, "ls-tree", "--name-only", "main").split()
            commits = git(remote.path, "rev-list", "--first-parent", "main").split()[:-1]
            told("cuts; told at once, left open, told wrongly", times, at_once, open_, wrong)
            told("landed, twice", len(commits), len(commits) - len(set(remote.chain)))
            told("lost", sum(f"n{number}.py" not in names for number in range(times)))
            await machine.sync()
            told("receipts in the chain, findings", len(remote.chain), len(await machine.verify()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=["group", "cut"])
    parser.add_argument("--attempts", type=int, default=50)
    parser.add_argument("--red", type=float, default=0.05)
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    work = group(given.attempts, given.red) if given.row == "group" else cut(given.times)
    asyncio.run(work)


if __name__ == "__main__":
    main()
