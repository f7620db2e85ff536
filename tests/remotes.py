"""Remotes for tests: bare repositories, over file:// or a daemon on loopback, with hooks."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from self_coding.git_safety.remote import RemoteSafety, clone
from self_coding.git_safety.remote_landing import Remote
from self_coding.testing import git, sample_repo

FILES = {"app.py": "one = 1\n", "README.md": "# Here\n"}

# What a host would check: main moves with a receipt that names it, upon the chain as it is.
CHECKING = """#!/bin/sh
zero=0000000000000000000000000000000000000000
while read old new ref; do
  case $ref in
    refs/heads/main) main=$new;;
    refs/self-coding/receipts) chain=$new; before=$old;;
  esac
done
[ -n "$main" ] || exit 0
[ -n "$chain" ] || { echo "no receipt came with main"; exit 1; }
if [ $before != $zero ]; then
  [ "$(git rev-parse $chain^)" = $before ] || { echo "the chain is cut"; exit 1; }
fi
git grep -q "\\"landed\\": \\"$main\\"" $chain -- || { echo "the receipt names another"; exit 1; }
"""


class BareRemote:
    """A bare repository with one commit on main, whose address is `url`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "remote.git"
        git(sample_repo(folder / "first", FILES), "clone", "-q", "--bare", ".", str(self.path))
        git(self.path, "config", "user.name", "Another")
        git(self.path, "config", "user.email", "another@example.invalid")
        self.url = f"file://{self.path}"
        self._cache = folder

    def __call__(self, *args: str) -> str:
        return git(self.path, *args)

    def hook(self, name: str, text: str) -> None:
        """Install a server hook."""
        path = self.path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def machine(self, name: str = "a", *, url: str = "", **more: object) -> RemoteSafety:
        """The services of another machine: its own clone."""
        place = clone(url or self.url, self._cache / name)
        git(place, "config", "user.name", "A Person")
        git(place, "config", "user.email", "person@example.invalid")
        remote = Remote("origin", **more)  # type: ignore[arg-type]
        return RemoteSafety(place, "main", "true", remote=remote)

    @property
    def main(self) -> str:
        """Where main is."""
        return self("rev-parse", "main")

    @property
    def chain(self) -> list[str]:
        """The landings in the chain of receipts, oldest first."""
        ref = "refs/self-coding/receipts"
        if not self("for-each-ref", ref):
            return []
        entries = self("rev-list", "--reverse", "--first-parent", ref).split()
        found: dict[str, str] = {}
        for entry in entries:
            for name in self("ls-tree", "--name-only", entry).split():
                if name.endswith(".json"):
                    text = self("show", f"{entry}:{name}")
                    found[name] = text.partition('"landed": "')[2].partition('"')[0]
        return [found[name] for name in sorted(found)]


@contextlib.contextmanager
def daemon_of(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve a folder's remotes at an address, by processes that outlive their clients."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    words = ["git", "daemon", "--reuseaddr", f"--listen={host}", f"--port={port}", "--export-all"]
    words += ["--enable=receive-pack", f"--base-path={folder}"]
    served = subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
                break
            time.sleep(0.05)
        yield f"git://{host}:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(served.pid, 15)
        served.wait()


@contextlib.contextmanager
def daemon(remote: BareRemote) -> Iterator[str]:
    """Serve a remote at an address of the loopback."""
    with daemon_of(remote.path.parent) as url:
        yield f"{url}/{remote.path.name}"


async def green(machine: RemoteSafety, name: str, text: str = "x = 1\n"):
    """A green candidate of an attempt that adds a file."""
    tree = await machine.isolate(name)
    (tree.path / f"{name}.py").write_text(text)
    change = await machine.record(tree, f"add {name}")
    what = await machine.candidate(change, f"add {name}")
    assert (await machine.test(what)).passed
    return what


if __name__ == "__main__":  # a pusher that can be killed: CLONE ATTEMPT
    import asyncio

    async def main() -> None:
        place, name = sys.argv[1:]
        machine = RemoteSafety(Path(place), "main", "true", remote=Remote("origin"))
        what = await green(machine, name)
        print(what.commit, flush=True)
        print(await machine.land(what, attempt=name), flush=True)

    asyncio.run(main())
