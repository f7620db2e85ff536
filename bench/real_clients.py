#!/usr/bin/env python3
"""Real MCP clients against `self-coding`, their models played by a script on loopback.

    python bench/real_clients.py CLIENTS [--only claude,codex] [--long 180] [--printed]

CLIENTS is a folder in which npm has installed them (`npm install --prefix CLIENTS
@anthropic-ai/claude-code opencode-ai @openai/codex @google/gemini-cli`). Each runs with a home of
its own below a temporary folder, an environment of a few variables, a key that is none, and no
other model than the script; telemetry and updates are switched off. What is tried:

    connects      `self-coding install`, or with --printed what we print; the client's own list
    lands         begin_edit, the client's own tool writes the file, submit_edit: on main
    refused       the same with a planted bug: main stays, and the client is told the failing test
    asked         undo, which a headless client cannot put to its person: declined, nothing undone
    long          a suite of --long seconds: clients have limits of their own
    defaults      the same, without the time limits that we enter: those of the client
    editor        `self-coding self-edit TASK --editor NAME`: the preset's command line
    hooks         (Claude Code) warning before an edit, snapshot after it, settings as before
    removed       `self-coding install --remove`: every file as it was

Prints a table; exit status 1 when anything was not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from model_endpoints import Call, Script, Step, Turn, playing
from self_coding.self_edit.editors import PRESETS
from self_coding.testing import git, sample_repo, write_files

OURS = [sys.executable, "-m", "self_coding"]
CORE, EXTRA = "src/calc/core.py", "src/calc/extra.py"
TRIPLE = "def triple(n):\n    return 3 * n\n"
PATIENCE = 900.0


@dataclass
class Client:
    """One client: how it is started, set up and made to write a file."""

    name: str
    command: str
    edit: Callable[[Path, str, str], Call]
    headless: list[str]
    variables: dict[str, str] = field(default_factory=dict)


def _claude(path: Path, old: str, new: str) -> Call:
    if not old:
        return Call("Write", {"file_path": str(path), "content": new})
    return Call("Edit", {"file_path": str(path), "old_string": old, "new_string": new})


def _opencode(path: Path, old: str, new: str) -> Call:
    if not old:
        return Call("write", {"filePath": str(path), "content": new})
    return Call("edit", {"filePath": str(path), "oldString": old, "newString": new})


def _gemini(path: Path, old: str, new: str) -> Call:
    if not old:
        return Call("write_file", {"file_path": str(path), "content": new})
    words = {"file_path": str(path), "old_string": old, "new_string": new, "instruction": "do it"}
    return Call("replace", words)


def _codex(path: Path, old: str, new: str) -> Call:
    if not old:
        return Call("exec_command", {"cmd": f"cat > '{path}' <<'END'\n{new}END\n"})
    return Call("exec_command", {"cmd": f"sed -i 's/{old}/{new}/' '{path}'"})


CLIENTS = {
    "claude": Client(
        "claude", "claude", _claude,
        ["-p", "Do it", "--permission-mode", "acceptEdits", "--allowedTools", "mcp__self-coding"],
    ),
    "opencode": Client("opencode", "opencode", _opencode, ["run", "Do it"]),
    "codex": Client(
        "codex", "codex", _codex,
        ["exec", "--strict-config", "--sandbox", "workspace-write", "Do it"],
    ),
    "gemini": Client(
        "gemini", "gemini", _gemini,
        ["--approval-mode", "auto_edit", "--skip-trust", "-m", "scripted", "-p", "Do it"],
    ),
}  # fmt: skip

READ = {"claude": ("Read", "file_path"), "opencode": ("read", "filePath")}


@dataclass
class Trial:
    """A repository and a home for one client, and the server that plays its model."""

    client: Client
    installed: Path
    top: Path
    home: Path
    script: Script

    def environment(self) -> dict[str, str]:
        """A few variables, none of them the machine's own settings or keys."""
        places = [str(self.installed / "node_modules" / ".bin"), os.environ.get("PATH", "")]
        return {
            "HOME": str(self.home),
            "PATH": os.pathsep.join(places),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
            "ANTHROPIC_BASE_URL": self.script.url,
            "ANTHROPIC_API_KEY": "none",
            "GOOGLE_GEMINI_BASE_URL": self.script.url,
            "GEMINI_API_KEY": "none",
            "SCRIPTED_KEY": "none",
        }

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """One command in the repository, as the client's user would start it."""
        return subprocess.run(
            words, cwd=self.top, env=self.environment(), input=given, timeout=PATIENCE,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def talk(self) -> subprocess.CompletedProcess[str]:
        """A headless session, in which the script plays the model."""
        words = self.client.headless
        if self.client.name == "gemini" and not PRINTED:  # there is nobody who could approve
            words = ["yolo" if word == "auto_edit" else word for word in words]
        return self.run(self.client.command, *words)

    def ours(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command line of ours, with the client's environment."""
        return self.run(*OURS, *words)

    def subjects(self) -> list[str]:
        """What stands on main, newest first."""
        return git(self.top, "log", "--format=%s", "main").splitlines()


@contextmanager
def trial(client: Client, installed: Path, *steps: Step, folder: Path) -> Iterator[Trial]:
    """A fresh repository and home, the model's address entered into the client's settings."""
    place = Path(tempfile.mkdtemp(prefix=f"{client.name}-", dir=folder))
    top, home = sample_repo(place / "repository"), place / "home"
    with playing(*steps) as script:
        made = Trial(client, installed, top, home, script)
        write_files(home, _settings(client.name, script.url))
        yield made


def _settings(name: str, url: str) -> dict[str, str]:
    """The client's own settings: a model that is the script, and nothing sent anywhere."""
    if name == "opencode":
        options = {"baseURL": f"{url}/v1", "apiKey": "none"}
        provider = {
            "npm": "@ai-sdk/openai-compatible", "name": "Scripted", "options": options,
            "models": {"scripted": {"name": "scripted"}},
        }  # fmt: skip
        whole = {"provider": {"scripted": provider}, "model": "scripted/scripted"}
        text = json.dumps({**whole, "share": "disabled", "autoupdate": False})
        return {".config/opencode/opencode.json": text}
    if name == "codex":
        text = (
            'model = "scripted"\nmodel_provider = "scripted"\n\n[model_providers.scripted]\n'
            f'name = "scripted"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
            'env_key = "SCRIPTED_KEY"\n\n[analytics]\nenabled = false\n\n'
        )
        return {".codex/config.toml": text}
    if name == "gemini":
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        }
        return {".gemini/settings.json": json.dumps(settings)}
    return {".claude.json": json.dumps({"hasCompletedOnboarding": True})}


#: What the person answers once: that the project's settings are to be trusted.
TRUST = {
    "claude": (".claude/settings.json", '{"enabledMcpjsonServers": ["self-coding"]}'),
    "codex": (".codex/config.toml", '\n[projects."TOP"]\ntrust_level = "trusted"\n'),
}
PRINTED = False


def install(made: Trial) -> str:
    """Enter our server as the documentation says; what the client lists then."""
    name = made.client.name
    if not PRINTED:
        with (made.top / ".git/info/exclude").open("a") as file:
            file.write(".mcp.json\n.claude/\n.codex/\n.gemini/\nopencode.json\n")
        if name in TRUST:
            place, text = TRUST[name]
            (made.home / place).parent.mkdir(parents=True, exist_ok=True)
            with (made.home / place).open("a") as file:
                file.write(text.replace("TOP", str(made.top)))
        done = made.ours("install", name, "--yes")
        assert done.returncode == 0 and "installed" in done.stdout, done.stdout + done.stderr
        return _listed(made)
    printed = made.ours("mcp", "--print-config", name).stdout
    if name == "codex":
        with (made.home / ".codex/config.toml").open("a") as file:
            file.write(printed)
    elif name == "opencode":
        (made.top / "opencode.json").write_text(printed)
        (made.top / ".git/info/exclude").open("a").write("opencode.json\n")
    elif name == "gemini":
        (made.top / ".git/info/exclude").open("a").write(".gemini/\n")
        made.run("gemini", "mcp", "add", "--trust", "self-coding", *OURS, "mcp")
    else:
        made.run("claude", "mcp", "add", "self-coding", "--", *OURS, "mcp")
    return _listed(made)


def _listed(made: Trial) -> str:
    done = made.run(made.client.command, "mcp", "list")
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def said(turn: Turn, at: int, key: str) -> str:
    """A field of an earlier reply, in whatever wrapping the client passes it on."""
    found = re.search(rf'{key}\\*": ?\\*"?([^",\\}}]+)', turn.results[at])
    return found.group(1) if found else ""


def session(client: Client, path: str, old: str, new: str) -> list[Step]:
    """Begin, edit with the client's own tool, submit."""

    def edited(turn: Turn) -> Call:
        return client.edit(Path(said(turn, 0, "worktree")) / path, old, new)

    def read(turn: Turn) -> Call:
        tool, argument = READ[client.name]
        return Call(tool, {argument: str(Path(said(turn, 0, "worktree")) / path)})

    def submit(turn: Turn) -> Call:
        return Call("submit_edit", {"attempt": int(said(turn, 0, "attempt") or 0)})

    steps: list[Step] = [lambda _: Call("begin_edit", {"task": "Change the sums"})]
    if old and client.name in READ:
        steps.append(read)  # these want a file read before they change it
    return [*steps, edited, submit]


def _connects(client: Client, installed: Path, folder: Path, _: float) -> str:
    with trial(client, installed, folder=folder) as made:
        listed = install(made)
        line = next((line for line in listed.splitlines() if "self-coding" in line), listed)
        good = re.search("connected|enabled", listed, re.IGNORECASE)
        return "" if good and "isconnected" not in listed else line.strip()


def _lands(client: Client, installed: Path, folder: Path, _: float) -> str:
    with trial(client, installed, *session(client, EXTRA, "", TRIPLE), folder=folder) as made:
        install(made)
        made.talk()
        landed = made.subjects()[1:2] == ["Change the sums"] and _landed(made) == [EXTRA]
        return "" if landed and _is_clean(made) else _last(made)


def _refused(client: Client, installed: Path, folder: Path, _: float) -> str:
    with trial(client, installed, *session(client, CORE, "a + b", "a - b"), folder=folder) as made:
        install(made)
        made.talk()
        told = "test_add" in _last(made) and "gate" in _last(made)
        return "" if told and len(made.subjects()) == 1 and _is_clean(made) else _last(made)


def _asked(client: Client, installed: Path, folder: Path, _: float) -> str:
    with trial(client, installed, lambda _: Call("undo", {}), folder=folder) as made:
        install(made)
        made.ours("self-edit", "Add triple", "--with", f"sh -c 'echo X = 1 > {EXTRA}'")
        made.talk()
        kept = made.subjects()[1:2] == ["Add triple"]
        told = re.search("declined|requires approval|denied|permission", _last(made))
        return "" if kept and told else _last(made)


def _long(client: Client, installed: Path, folder: Path, seconds: float) -> str:
    return _patient(client, installed, folder, seconds)


def _defaults(client: Client, installed: Path, folder: Path, seconds: float) -> str:
    return _patient(client, installed, folder, seconds, limits=False)


def _patient(
    client: Client, installed: Path, folder: Path, seconds: float, *, limits: bool = True
) -> str:
    """Submit, and do what the answers say, until it has landed."""

    def wait(turn: Turn) -> Call | str:
        is_tested = re.search(r'stage\\*": ?\\*"testing', turn.results[-1])
        attempt = int(said(turn, -1, "attempt") or 0)  # a client may have cleared older replies
        return Call("wait_edit", {"attempt": attempt}) if is_tested else "Done."

    waits: list[Step] = [wait] * 15
    steps = [*session(client, EXTRA, "", TRIPLE), *waits]
    with trial(client, installed, *steps, folder=folder) as made:
        suite = f"import time\n\n\ndef test_slow():\n    time.sleep({seconds})\n"
        write_files(made.top, {"tests/test_slow.py": suite})
        git(made.top, "add", "tests")
        git(made.top, "commit", "-qm", "slow")
        install(made)
        if not limits:
            _without_limits(made)
        made.talk()
        landed = made.subjects()[1:2] == ["Change the sums"] and _landed(made) == [EXTRA]
        return "" if landed and "landed" in _last(made) else _last(made)


def _without_limits(made: Trial) -> None:
    """Take the time limits out of what we entered, so that the client's own hold."""
    for file in (made.top / ".codex/config.toml", made.home / ".codex/config.toml"):
        if file.exists():
            lines = file.read_text().splitlines(keepends=True)
            file.write_text("".join(one for one in lines if "_timeout_sec" not in one))
    for name in (".gemini/settings.json", "opencode.json"):
        if (made.top / name).exists():
            whole = json.loads((made.top / name).read_text())
            for table in ("mcp", "mcpServers"):
                whole.get(table, {}).get("self-coding", {}).pop("timeout", None)
            (made.top / name).write_text(json.dumps(whole))


def _editor(client: Client, installed: Path, folder: Path, _: float) -> str:
    words = ["--editor", client.name]
    if client.name == "gemini":  # without a model's name it asks another model for one
        words = ["--with", f"{PRESETS['gemini']} --model scripted"]
    edited = client.edit(Path(EXTRA), "", TRIPLE)
    with trial(client, installed, lambda _: edited, folder=folder) as made:
        done = made.ours("self-edit", "Add triple", *words)
        good = done.returncode == 0 and _landed(made) == [EXTRA]
        return "" if good and _is_clean(made) else done.stdout + done.stderr + _last(made)


def _hooks(client: Client, installed: Path, folder: Path, _: float) -> str:
    if client.name != "claude":
        return "-"
    with trial(client, installed, folder=folder) as made:
        file = str(made.top / CORE)
        words = {"old_string": "return a + b", "new_string": "return a - b - a * b * 77"}
        made.script.steps = [
            lambda _: Call("Read", {"file_path": file}),
            lambda _: Call("Edit", {"file_path": file, **words}),
        ]
        mine = made.top / ".claude" / "settings.local.json"
        write_files(made.top, {".claude/settings.local.json": '{"model": "scripted"}\n'})
        (made.top / ".git/info/exclude").open("a").write(".claude/\n")
        before = mine.read_text()
        line = f"sed -i 's/{words['old_string']}/{words['new_string']}/' {CORE}"
        made.ours("self-edit", "Make add shorter", "--with", line)
        made.ours("install-hooks", "--for", "claude")
        made.talk()
        asked = json.dumps([body for _, body in made.script.asked])
        warned = "self-coding remembers" in asked and "Make add shorter" in asked
        taken = git(made.top, "for-each-ref", "--format=%(refname)", "refs/self-coding/snap")
        held = git(made.top, "show", f"{taken}:worktree/{CORE}") if taken else ""
        edited = words["new_string"] in (made.top / CORE).read_text()
        made.ours("remove-hooks")
        restored = json.loads(mine.read_text()) == json.loads(before)
        seen = {
            "edited": edited,
            "warned": warned,
            "snapshot": words["new_string"] in held,
            "restored": restored,
        }
        wrong = [name for name, true in seen.items() if not true]
        return f"not {', '.join(wrong)}: {_last(made)}" if wrong else ""


def _removed(client: Client, installed: Path, folder: Path, _: float) -> str:
    with trial(client, installed, folder=folder) as made:
        before = _files(made)
        made.ours("install", client.name, "--yes")  # the client not started: some write, too
        made.ours("install", client.name, "--remove", "--yes")
        after = _files(made)
        return "" if after == before else str(sorted(after.items() ^ before.items()))[:500]


def _files(made: Trial) -> dict[str, bytes]:
    names = (".mcp.json", ".claude", ".codex", ".gemini", "opencode.json")
    found = [one for name in names for one in [made.top / name, *(made.top / name).rglob("*")]]
    return {str(one): one.read_bytes() for one in found if one.is_file()}


def _landed(made: Trial) -> list[str]:
    """The files of the last landing: a client's own leavings are none of them."""
    if len(made.subjects()) == 1:
        return []
    return git(made.top, "diff", "--name-only", "main^1", "main").splitlines()


def _is_clean(made: Trial) -> bool:
    return git(made.top, "status", "--porcelain") == ""


def _last(made: Trial) -> str:
    """The last thing that the client told its model."""
    return made.script.results[-1] if made.script.results else "nothing was called"


TRIALS: dict[str, Callable[[Client, Path, Path, float], str]] = {
    "connects": _connects,
    "lands": _lands,
    "refused": _refused,
    "asked": _asked,
    "long": _long,
    "defaults": _defaults,
    "editor": _editor,
    "hooks": _hooks,
    "removed": _removed,
}


def version(client: Client, installed: Path, folder: Path) -> str:
    """What the client calls its version."""
    with trial(client, installed, folder=folder) as made:
        told = made.run(client.command, "--version").stdout
        found = re.search(r"\d+\.\d+\.\d+", told)
        return found.group(0) if found else "not installed"


def play(names: Sequence[str], trials: Sequence[str], installed: Path, long: float) -> int:
    """Try everything, print the table; how many were not as they should be."""
    folder = Path(tempfile.mkdtemp(prefix="real-clients-"))
    wrong = 0
    print("| client | version | " + " | ".join(trials) + " |")
    print("|---" * (len(trials) + 2) + "|")
    for name in names:
        client = CLIENTS[name]
        cells = []
        for one in trials:
            try:
                cells.append(TRIALS[one](client, installed, folder, long))
            except (subprocess.TimeoutExpired, OSError) as error:
                cells.append(str(error))
        wrong += sum(cell not in ("", "-") for cell in cells)
        row = [cell if cell == "-" else "no" if cell else "yes" for cell in cells]
        print(f"| {name} | {version(client, installed, folder)} | " + " | ".join(row) + " |")
        for one, cell in zip(trials, cells, strict=True):
            if cell not in ("", "-"):
                print(f"    {name}, {one}: {cell[-1500:]}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clients", type=Path, help="the folder in which npm installed them")
    parser.add_argument("--only", default=",".join(CLIENTS), help="some of them")
    parser.add_argument("--trials", default=",".join(TRIALS), help="some of what is tried")
    parser.add_argument("--long", type=float, default=180.0, help="seconds of a long suite")
    parser.add_argument("--printed", action="store_true", help="the printed settings, by hand")
    options = parser.parse_args()
    global PRINTED
    PRINTED = options.printed
    names, trials = options.only.split(","), options.trials.split(",")
    return 1 if play(names, trials, options.clients.resolve(), options.long) else 0


if __name__ == "__main__":
    sys.exit(main())
