#!/usr/bin/env python3
"""Judge from outside what a soak has left: with git, ssh-keygen and each project's own tests.

    python bench/soak_audit.py FOLDER

Nothing of self-coding is imported or started here. FOLDER holds for each project a repository and
what the person who worked in it noted down in plain JSON: the commits that they made, with the one
path that each may touch, and the bytes that they had in files. Exit status 1 when there was any:

    lost      a file, a staged file, an uncommitted change or a commit of the person's; fsck
    red       a commit that main ever stood at, over which its own tests or main's first ones fail
    unproved  a commit on main that is not the person's, without a receipt that ssh-keygen verifies
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NOTES, TYPE = "refs/notes/self-coding", "application/vnd.in-toto+json"
ALONE = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child")


class Audit:
    """One repository, and what is wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.top, self.folder = folder / "repo", folder
        self.told = json.loads((folder / "person.json").read_text())
        self.wrong: list[str] = []
        self.counted: Counter[str] = Counter()

    def git(self, *words: str, check: bool = True) -> str:
        run = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *words]
        done = subprocess.run(run, cwd=self.top, capture_output=True, text=True, check=False)
        if check and done.returncode:
            self.wrong.append(f"lost: git {' '.join(words)}: {done.stderr.strip()[:200]}")
        return done.stdout if not done.returncode or check else ""

    def look(self) -> None:
        """Look at everything."""
        self.person()
        stood = self.stood()
        self.receipts(stood)
        # Hostile tests that landed do to the person's files what no sandbox forbids them now.
        safe = self.top.rename(self.top.with_name("under-audit"))
        self.top, top = safe, self.top
        try:
            self.suites(stood)
        finally:
            self.top = safe.rename(top)

    def person(self) -> None:
        """Whether all that the person had is still there."""
        self.git("fsck", "--strict", "--no-dangling")
        for path, digest in self.told["files"].items():
            self.counted["files"] += 1
            file = self.top / path
            data = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
            if hashlib.sha256(data).hexdigest() != digest:
                self.wrong.append(f"lost: {path} is not as the person left it")
        for path, blob in self.told["staged"].items():
            self.counted["staged files"] += 1
            if self.git("rev-parse", f":{path}", check=False).strip() != blob:
                self.wrong.append(f"lost: {path} is not staged as it was")
        # What nobody staged would go into the person's next commit, and take others' work back. But
        # an index that holds a file of a folder cannot hold a file in that folder's place.
        held = {
            *self.told["staged"],
            *(str(up) for one in self.told["staged"] for up in Path(one).parents),
        }
        for path in self.git("diff", "--cached", "--name-only").splitlines():
            if path not in held:
                self.wrong.append(f"lost: {path} is staged, and not by the person")
        heads = self.git("for-each-ref", "--format=%(refname)", "refs/heads").split()
        known = set(self.git("rev-list", *heads).split())
        for commit, path in self.told["commits"].items():
            self.counted["commits"] += 1
            if commit not in known:
                self.wrong.append(f"lost: the person's commit {commit[:12]} is on no branch")
            if self.git("diff", "--name-only", f"{commit}^", commit).split() != [path]:
                self.wrong.append(f"lost: the person's commit {commit[:12]} holds more than {path}")

    def stood(self) -> list[str]:
        """Return every commit that main ever stood at, oldest first."""
        log = (self.top / ".git/logs/refs/heads/main").read_text(errors="replace").splitlines()
        seen = [line.split()[1] for line in log]
        seen += self.git("rev-list", "--first-parent", f"{self.told['base']}..main").split()[::-1]
        return list(dict.fromkeys(seen))

    def receipts(self, stood: list[str]) -> None:
        """Whether each landing has a signed receipt of this very tree."""
        for commit in stood:
            if commit == self.told["base"] or commit in self.told["commits"]:
                continue
            self.counted["landings"] += 1
            if why := self.unproved(commit):
                self.wrong.append(f"unproved: {commit[:12]}: {why}")

    def unproved(self, commit: str) -> str:
        """Return why the landing of a commit is not proved; empty where it is."""
        tree = self.git("rev-parse", f"{commit}^{{tree}}").strip()
        lines = self.git("notes", f"--ref={NOTES}", "show", commit, check=False).splitlines()
        if len(lines) != 2:
            return f"{len(lines)} statements instead of 2"
        for line in lines:
            told = json.loads(line)
            body = b64decode(told["payload"])
            signed = f"DSSEv1 {len(TYPE)} {TYPE} {len(body)} ".encode() + body
            if not told["signatures"]:
                return "not signed"
            with tempfile.NamedTemporaryFile() as sig:
                sig.write(b64decode(told["signatures"][0]["sig"]))
                sig.flush()
                words = ["ssh-keygen", "-q", "-Y", "verify", "-f", str(self.folder / "signers")]
                words += ["-I", "person@example.org", "-n", "self-coding", "-s", sig.name]
                if subprocess.run(words, input=signed, capture_output=True, check=False).returncode:
                    return "the signature does not hold"
            said = json.loads(body)
            named = [one["digest"] for one in said["subject"]]
            if named != [{"gitCommit": commit}, {"gitTree": tree}]:
                return "speaks of something else"
            how = said["predicate"].get("result") or said["predicate"].get("verificationResult")
            if how != "PASSED":
                return f"says {how}"
        return ""

    def suites(self, stood: list[str]) -> None:
        """Whether every tree that main stood at passes its tests, and those main had at first."""
        seen: dict[str, str] = {}
        for commit in stood:
            seen.setdefault(self.git("rev-parse", f"{commit}^{{tree}}").strip(), commit)
        for tree, commit in seen.items():
            self.counted["trees tested"] += 1
            with tempfile.TemporaryDirectory() as folder:
                self.unpack(tree, folder)
                commands = {
                    "its own tests": self.told["command"],
                    "main's first tests": self.told["command"],
                }
                commands = {"without a runner": self.told["oracle"], **commands}
                for which, command in commands.items():
                    # What landed has ended in time; here it may look for what no sandbox hides now,
                    # and leave something behind, which ends with its namespace.
                    words = [*ALONE, "timeout", "-k", "1", "120", "sh", "-c", command]
                    done = subprocess.run(
                        words, cwd=folder, capture_output=True, text=True, check=False
                    )
                    if done.returncode:
                        said = re.sub(r"\s+", " ", done.stdout + done.stderr)[-300:]
                        self.wrong.append(f"red: {commit[:12]}, {which}: {said}")
                    if which == "its own tests":
                        self.unpack(self.told["base"], folder, *self.told["suite"])

    def unpack(self, tree: str, folder: str, *paths: str) -> None:
        words = ["git", "archive", tree, *paths]
        made = subprocess.run(words, cwd=self.top, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=made.stdout, check=True)


def main() -> int:
    """Audit each repository of a soak; print what is wrong, and how much was looked at."""
    folders = sorted(one.parent for one in Path(sys.argv[1]).glob("*/person.json"))
    audits = [Audit(folder) for folder in folders]
    with ThreadPoolExecutor() as pool:
        list(pool.map(Audit.look, audits))
    for audit in audits:
        counted = ", ".join(f"{n} {what}" for what, n in audit.counted.items())
        kinds = Counter(one.partition(":")[0] for one in audit.wrong)
        print(f"{audit.folder.name}: {counted}")
        print(f"  lost {kinds['lost']}, red {kinds['red']}, unproved {kinds['unproved']}")
        print("".join(f"  {one}\n" for one in audit.wrong[:40]), end="")
    return 1 if any(audit.wrong for audit in audits) else 0


if __name__ == "__main__":
    sys.exit(main())
