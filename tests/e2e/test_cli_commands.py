"""The command line on a real repository, in real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import forked
from self_coding.testing import sample_repo, write_files

GOOD = "\n\ndef triple(number: int) -> int:\n    return number * 3\n"
BROKEN = "raise RuntimeError('broken on purpose')\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return sample_repo(tmp_path / "repository")


def run(
    repository: Path, *words: str, stdin: str = "", status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = forked.run("--repo", str(repository), *words, stdin=stdin)
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def told(repository: Path, *words: str, stdin: str = "", status: int = 0) -> object:
    return json.loads(run(repository, "--json", *words, stdin=stdin, status=status).stdout)


def source(repository: Path) -> Path:
    return repository / "src" / "calc" / "__init__.py"


def patch(repository: Path, text: str) -> str:
    file = source(repository)
    before = file.read_text()
    file.write_text(before + text if text == GOOD else text)
    argv = ["git", "diff"]
    diff = subprocess.run(argv, cwd=repository, capture_output=True, text=True, check=True).stdout
    file.write_text(before)
    return diff


def test_a_good_patch_lands(repository: Path) -> None:
    """`self-edit --patch` lands a green change, which is remembered; undo takes it back."""
    before = subprocess.check_output(["git", "rev-parse", "main"], cwd=repository)
    done = run(repository, "self-edit", "Add triple", "--patch", "-", stdin=patch(repository, GOOD))
    assert "test" in done.stderr  # progress
    assert "triple" in source(repository).read_text()  # the clean checkout followed main
    assert "Add triple" in run(repository, "attempts").stdout
    shown = told(repository, "show-attempt", "1")
    assert shown["attempt"]["outcome"] == "success"
    assert told(repository, "success-rates")["rates"]["overall"]["successes"] == 1
    assert run(repository, "verify").stdout
    run(repository, "undo")
    assert subprocess.check_output(["git", "rev-parse", "main"], cwd=repository) == before


def test_a_landing_that_is_reverted_loses_its_success(repository: Path) -> None:
    """When a person reverts what landed, the attempt and the rates say so."""
    run(repository, "self-edit", "Add triple", "--patch", "-", stdin=patch(repository, GOOD))
    assert told(repository, "success-rates")["rates"]["overall"]["successes"] == 1
    revert = ["git", "revert", "--no-edit", "-m", "1", "main"]
    subprocess.run(revert, cwd=repository, check=True, capture_output=True)
    assert told(repository, "attempts")[0]["outcome"] != "success"
    assert told(repository, "success-rates")["rates"]["overall"]["successes"] == 0


def test_a_breaking_patch_is_refused_and_explained(repository: Path) -> None:
    """A red change ends with status 1 and a reason; main stays; a second try is warned."""
    diff = patch(repository, BROKEN)
    before = subprocess.check_output(["git", "rev-parse", "main"], cwd=repository)
    done = run(repository, "self-edit", "Rewrite the module", "--patch", "-", stdin=diff, status=1)
    assert "show-attempt 1" in done.stdout
    assert subprocess.check_output(["git", "rev-parse", "main"], cwd=repository) == before
    assert "warning" in run(repository, "similar-attempts", "Rewrite the module").stdout
    assert "broken on purpose" in run(repository, "show-attempt", "1", "--output").stdout
    assert "broken on purpose" in run(repository, "show-attempt", "1", "--diff").stdout


def test_what_an_editor_said_is_shown(repository: Path) -> None:
    """An agent that changed nothing has mostly said why, and `show-attempt` has it."""
    refused = run(repository, "self-edit", "x", "--with", "echo I may not write here", status=1)
    assert "show" in refused.stdout
    assert "the editor said:\n  I may not write here" in run(repository, "show-attempt", "1").stdout


def test_a_command_makes_the_edit(repository: Path) -> None:
    """`self-edit --with` runs any command in the worktree; the task is handed to it."""
    relative = source(repository).relative_to(repository)
    script = f"sh -c 'printf \"\\n\\nTASK = 1\\n\" >> {relative}'"
    result = told(repository, "self-edit", "Add a constant", "--with", script)
    assert result["success"], result
    assert result["files_modified"] == [relative.as_posix()]


def test_paths_are_from_the_current_folder(repository: Path) -> None:
    """As git has it: in a sub-folder, names, patches and commands mean what is there."""
    here = repository / "src" / "calc"
    (repository / "core.py").write_text("X = 1\n")  # of the same name, and not meant
    assert told(here, "impact", "core.py")["paths"] == ["src/calc/core.py"]
    assert told(here, "impact", "../../core.py")["paths"] == ["core.py"]
    assert told(here, "symbol-users", "add", "--in", "core.py")["uses"]
    (repository / "core.py").unlink()
    (here / "core.py").write_text("# more\n" + (here / "core.py").read_text())
    argv = ["git", "diff", "--relative"]
    diff = subprocess.run(argv, cwd=here, capture_output=True, text=True, check=True).stdout
    subprocess.run(["git", "checkout", "-q", "."], cwd=here, check=True)
    assert told(here, "impact", "--diff", "-", stdin=diff)["paths"] == ["src/calc/core.py"]
    run(here, "self-edit", "Say more", "--patch", "-", stdin=diff)
    run(here, "self-edit", "Say most", "--with", "echo '# most' >> core.py && true")
    assert (here / "core.py").read_text().startswith("# more\n")
    assert (here / "core.py").read_text().endswith("# most\n")


def test_what_is_uncommitted_stays(repository: Path) -> None:
    """A landing does not touch a person's uncommitted and untracked files."""
    (repository / "mine.txt").write_text("untracked")
    readme = source(repository)
    readme.write_text(readme.read_text() + "# mine\n")
    mine = readme.read_text()
    diff = "--- /dev/null\n+++ b/new_file.txt\n@@ -0,0 +1 @@\n+hello\n"
    run(repository, "self-edit", "Add a file", "--patch", "-", stdin=diff)
    assert readme.read_text() == mine
    assert (repository / "mine.txt").read_text() == "untracked"


def test_begin_and_submit(repository: Path) -> None:
    """begin-edit hands out a worktree; what was edited there lands with submit-edit."""
    begun = told(repository, "begin-edit", "Add triple")
    relative = source(repository).relative_to(repository)
    file = Path(begun["worktree"]["path"]) / relative
    early = run(repository, "submit-edit", str(begun["attempt"]), status=3).stderr
    assert f"nothing is edited yet in {begun['worktree']['path']}" in early
    assert f"attempt {begun['attempt']} still waits" in early
    file.write_text(file.read_text() + GOOD)
    assert told(repository, "submit-edit", str(begun["attempt"]))["success"]


def test_propose_waits_and_land_lands(repository: Path) -> None:
    """With --propose a green change waits; land-edit lands it; another one is dropped."""
    diff = patch(repository, GOOD)
    words = ("self-edit", "Add triple", "--patch", "-", "--propose")
    first = told(repository, *words, stdin=diff, status=1)
    assert first["waiting"] == "approval"
    assert told(repository, "land-edit", str(first["attempt_id"]))["success"]
    run(repository, "drop-edit", "99", status=3)
    waiting = run(
        repository, "self-edit", "Add x", "--with", "touch src/x.py", "--propose", status=1
    )
    assert "next: self-coding land-edit 2, or self-coding drop-edit 2" in waiting.stdout


def test_what_waits_is_listed(repository: Path) -> None:
    """`attempts` tells which attempts wait, for what, and how each goes on; JSON stays as it is."""
    begun = told(repository, "begin-edit", "Add triple")
    run(repository, "self-edit", "Add x", "--with", "touch src/x.py", "--propose", status=1)
    listed = run(repository, "attempts").stdout
    assert "no attempts have ended yet" in listed
    assert f"attempt 1 waits for its edit in {begun['worktree']['path']}: Add triple" in listed
    assert "next: self-coding submit-edit 1, or self-coding drop-edit 1" in listed
    assert "attempt 2 waits for approval: Add x\nnext: self-coding land-edit 2" in listed
    done = run(repository, "--json", "attempts")
    assert json.loads(done.stdout) == []
    assert "2 more have not ended" in done.stderr
    run(repository, "drop-edit", "1")
    run(repository, "land-edit", "2")
    assert "waits" not in run(repository, "attempts").stdout
    assert "not ended" not in run(repository, "--json", "attempts").stderr


@pytest.mark.parametrize("answer", ["", "n\n"], ids=["the input has ended", "no"])
def test_no_answer_is_no_approval(repository: Path, answer: str) -> None:
    """Where nobody answers, as where the answer is no, it is refused with its reason."""
    words = ("self-edit", "Add x", "--with", "touch src/x.py", "--ask")
    assert "it was not approved" in run(repository, *words, stdin=answer, status=1).stdout
    [one] = told(repository, "attempts")
    assert one["failure_analysis"] == "it was not approved"


def test_failures_of_before_are_not_called_green(repository: Path) -> None:
    """Where tests fail that failed before, the question and the result count them."""
    write_files(repository, {"tests/test_old.py": "def test_old():\n    assert False\n"})
    subprocess.run(["git", "add", "tests"], cwd=repository, check=True)
    subprocess.run(["git", "commit", "-qm", "red"], cwd=repository, check=True)
    words = ("self-edit", "Add x", "--with", "touch src/x.py", "--ask")
    done = run(repository, *words, stdin="y\n")
    for said in (done.stderr, done.stdout):
        known = "1 known: tests/test_old.py::test_old, fails on main too"
        assert f"tests, no new failures ({known})" in said
        assert "green" not in said


def test_an_interrupt_at_the_question_is_no_approval(repository: Path) -> None:
    """Ctrl-C ends the question at once; the attempt is refused, and nothing is left open."""
    words = [sys.executable, "-m", "self_coding", "--repo", str(repository), "self-edit", "Add x"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*words, "--with", "touch src/x.py", "--ask"], **pipes) as child:
        seen = b""
        while b"[y/N]" not in seen and child.poll() is None:
            seen += os.read(child.stderr.fileno(), 4096)
        time.sleep(1)  # a person answers once the question waits, not while it is being written
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(30) == 1
    [one] = told(repository, "attempts")
    assert one["failure_analysis"] == "it was not approved"


def test_reading_commands_answer(repository: Path) -> None:
    """Each command that only reads answers in text and in JSON."""
    relative = source(repository).relative_to(repository).as_posix()
    gone = repository / "src" / "calc" / "more.py"
    gone.write_text("import calc\n")
    subprocess.run(["git", "add", str(gone)], cwd=repository, check=True)
    subprocess.run(["git", "commit", "-qm", "more", str(gone)], cwd=repository, check=True)
    gone.unlink()  # a file that was deleted still has its dependents
    for words in (
        ("relevant-files", relative, "--explain"),
        ("impact", relative),
        ("impact", gone.relative_to(repository).as_posix()),
        ("symbol-users", "add", "--limit", "1"),
        ("code-summary", "--tokens", "200"),
        ("context", "change it"),
        ("lessons",),
        ("operations",),
        ("similar-attempts", "anything", "--explain"),
        ("doctor",),
    ):
        assert run(repository, *words).stdout
        assert told(repository, *words) is not None


def test_snapshot_and_rollback(repository: Path) -> None:
    """A snapshot, a change, the plan, the rollback, and its undo."""
    ref = told(repository, "snapshot")["ref"]
    file = source(repository)
    before = file.read_text()
    file.write_text(before + GOOD)
    assert file.relative_to(repository).as_posix() in run(repository, "plan-rollback", ref).stdout
    run(repository, "rollback", ref, "--yes")
    assert file.read_text() == before
    run(repository, "undo")
    assert file.read_text() == before + GOOD
    run(repository, "redo")
    assert file.read_text() == before


def test_export_and_import(repository: Path, tmp_path: Path) -> None:
    """What one journal exports, another one imports."""
    run(repository, "self-edit", "Add triple", "--patch", "-", stdin=patch(repository, GOOD))
    lines = tmp_path / "journal.jsonl"
    assert "1 attempt written to" in run(repository, "export", str(lines)).stdout
    other = sample_repo(tmp_path / "other")
    run(other, "import", str(lines))
    assert "Add triple" in run(other, "attempts").stdout


def test_a_journal_is_copied(repository: Path, tmp_path: Path) -> None:
    """Whole, into another file; what cannot be is one sentence, and touches nothing."""
    copied = str(tmp_path / "copy.db")
    assert "no journal" in run(repository, "journal", "copy", ".", copied, status=3).stderr
    told(repository, "self-edit", "Add triple", "--patch", "-", stdin=patch(repository, GOOD))
    assert told(repository, "journal", "copy", ".", copied) == {"copied": 1}
    assert told(repository, "journal", "copy", copied, ".") == {"copied": 0}
    for target in (".", "nowhere/copy.db"):
        assert "hint:" in run(repository, "journal", "copy", ".", target, status=3).stderr


def test_an_export_replaces_no_file_unasked(repository: Path, tmp_path: Path) -> None:
    """A file that is there stays as it is until --force says otherwise; a link stays a link."""
    file, link = tmp_path / "notes.md", tmp_path / "link"
    file.write_text("mine")
    file.chmod(0o640)
    link.symlink_to(file)
    for name in (file, link):
        assert "--force" in run(repository, "export", str(name), status=3).stderr
        assert file.read_text() == "mine"
    assert told(repository, "export", "--force", str(link)) == {"exported": 0, "file": str(link)}
    assert link.is_symlink()
    assert file.read_text() == ""
    assert file.stat().st_mode & 0o777 == 0o640


def test_init_then_doctor(repository: Path) -> None:
    """init writes what it detects and looks for the tests; doctor finds everything in order."""
    assert re.search(r"ok +tests: \d+ tests seen", run(repository, "init").stdout)
    assert (repository / "self-coding.toml").exists()
    run(repository, "init", status=3)
    assert "fail" not in run(repository, "doctor").stdout


@pytest.mark.parametrize(
    ("words", "stdin", "status", "part"),
    [
        (("self-edit", "x"), "", 3, "hint"),
        (("self-edit", "   ", "--patch", "-"), "", 3, "hint"),
        (("self-edit", "x", "--patch", "-"), "this is no patch", 1, "patch"),
        (("self-edit", "x", "--patch", "/nowhere/a.diff"), "", 3, "cannot read"),
        (
            ("self-edit", "x", "--with", "no-such-command-here {task}"),
            "",
            3,
            "no-such-command-here",
        ),
        (("self-edit", "x", "--with", 'sh -c "rm -rf $PWD"'), "", 3, "leave it in its place"),
        (("show-attempt", "99"), "", 3, "no attempt"),
        (("rollback", "no-such-thing", "--yes"), "", 3, "hint"),
        (("explain", "no-such-thing"), "", 3, "hint"),
        (("self-edit", "x", "--patch", "-", "--main-branch", "nowhere"), "x", 3, "nowhere"),
        (("impact", "src/nowhere.py"), "", 3, "src/nowhere.py"),
        (("symbol-users", "no_such_name"), "", 3, "no class or function no_such_name is defined"),
        (("symbol-users", "add", "--in", "nowhere.py"), "", 3, "is defined in nowhere.py"),
        (("frobnicate",), "", 2, "frobnicate"),
        (("attempts", "-n", "0"), "", 2, "range 1<=x<=100000"),
        (("code-summary", "--tokens", "0"), "", 2, "range 1<=x<=1000000"),
        (("mcp", "--http", "--port", "99999"), "", 2, "range 0<=x<=65535"),
        (("export", "no-such-folder/file"), "", 3, "cannot write no-such-folder/file"),
        (("export", ""), "", 3, "hint: name a file"),
        (("import", "/"), "", 3, "cannot read /: Is a directory"),
        (("import", sys.executable), "", 3, "is not text in UTF-8"),
        (("impact", "x" * 300), "", 3, "is neither in"),
        (("--repo", "x" * 300, "attempts"), "", 3, "cannot look at"),
        (("explain", "HEAD@{99}"), "", 3, "no commit called"),
        (("impact", "../../outside.py"), "", 3, "is neither in"),
        (("rollback", "HEAD"), "", 130, "no answer"),
    ],
)
def test_bad_input_is_a_sentence(
    repository: Path, words: tuple[str, ...], stdin: str, status: int, part: str
) -> None:
    """Whatever is wrong with a command line is told in words, with a status and no traceback."""
    done = run(repository, *words, stdin=stdin, status=status)
    assert part in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (("show-attempt", "abc"), 2, "not a valid integer"),
        (("show-attempt", "99"), 3, "no attempt 99"),
        (("frobnicate",), 2, "frobnicate"),
        (("rollback", "nosuch"), 3, "nosuch"),
    ],
)
def test_bad_input_is_json_where_json_was_asked_for(
    repository: Path, words: tuple[str, ...], status: int, part: str
) -> None:
    """A program that reads our JSON gets its errors in it, too."""
    answer = told(repository, *words, status=status)
    assert part in answer["error"]["message"]
    assert answer["error"]["hint"]


def test_a_port_of_somebody_else_is_refused(repository: Path) -> None:
    """The server says that it serves only once the port is its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(repository, "mcp", "--http", "--port", port, status=3)
    assert f"port {port}" in done.stderr
    assert "serving" not in done.stderr


def test_outside_a_repository(tmp_path: Path) -> None:
    """Every command says that this is no repository, and what to do."""
    for words in (("attempts",), ("relevant-files", "x"), ("self-edit", "x", "--patch", "-")):
        assert "hint" in run(tmp_path, *words, status=3).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_ends_everything(repository: Path, tmp_path: Path, number: int) -> None:
    """Ctrl-C or SIGTERM while the editor runs: nothing is left running, the journal says what
    happened, and no rate or warning counts it."""
    mark = tmp_path / "started"
    command = f"sh -c 'touch {mark}; sleep 60'"
    argv = [sys.executable, "-m", "self_coding", "--repo", str(repository), "self-edit", "x"]
    child = subprocess.Popen([*argv, "--with", command], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, number)
    _, errors = child.communicate(timeout=150)
    assert child.returncode == 130
    assert "interrupted" in errors
    assert subprocess.run(["pgrep", "-f", str(mark)], capture_output=True).stdout == b""
    assert [one["outcome"] for one in told(repository, "attempts")] == ["failure"]
    assert told(repository, "similar-attempts", "x")["dead_end"] is None
    assert told(repository, "success-rates")["rates"]["overall"]["total"] == 0


def test_what_a_crash_interrupted_is_listed(repository: Path, tmp_path: Path) -> None:
    """`attempts` tells an attempt that is under way from one whose process died, and what to do."""
    mark = tmp_path / "started"
    command = f"sh -c 'touch {mark}; sleep 5; touch src/late.py'"
    argv = [sys.executable, "-m", "self_coding", "--repo", str(repository), "self-edit", "Be late"]
    child = subprocess.Popen([*argv, "--with", command], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    said = run(repository, "attempts").stdout
    assert re.search(r"attempt 1 is worked on by process \d+ .*: Be late", said)
    child.kill()
    child.communicate()
    listed = run(repository, "attempts").stdout
    assert "no attempts have ended yet" in listed
    assert "attempt 1 was interrupted: Be late\nnext: self-coding resume" in listed
    run(repository, "resume")
    assert [one["outcome"] for one in told(repository, "attempts")] == ["success"]


def test_a_bare_repository_is_named_as_such(repository: Path, tmp_path: Path) -> None:
    """Where there is no working tree, that is what is said, and what to do."""
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", repository, bare], check=True)
    for words in (["attempts"], ["self-edit", "x", "--with", "true"], ["doctor"]):
        done = run(bare, *words, status=3)
        said = done.stdout + done.stderr
        assert f"{bare} is a bare repository" in said
        assert "linked worktree" in said
    assert "no working tree" in run(bare, "install-hooks", status=3).stderr


def test_before_the_first_commit(tmp_path: Path) -> None:
    """A repository without a commit is told to get one."""
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    assert (
        "make a first commit" in run(tmp_path, "self-edit", "x", "--with", "true", status=3).stderr
    )
    assert "no attempts yet" in run(tmp_path, "attempts").stdout, "what never began is no failure"
    assert "make a first commit" in run(tmp_path, "init", status=3).stderr
    assert not (tmp_path / "self-coding.toml").exists()


def test_what_is_set_aside_is_named(repository: Path) -> None:
    """A repository that an editor made inside is kept as it was, and the result says where."""
    edit = "mkdir web && cd web && git init -q . && echo work > a.js && cd .. && echo b > b.txt"
    said = run(repository, "self-edit", "scaffold", "--with", edit).stdout
    [place] = re.findall(r"kept as it was: (\S+)", said)
    assert (Path(place) / "web" / "a.js").read_text() == "work\n"


def test_nothing_to_forget_is_said(repository: Path) -> None:
    """A command that finds nothing to do is not silent."""
    assert run(repository, "gc").stdout.strip() == "nothing to forget"


def test_settings_are_listed_and_explained(repository: Path) -> None:
    """`config` tells each setting's value, where it comes from and what it means."""
    write_files(repository, {"self-coding.toml": "[gate]\ntimeout = 77\n"})
    assert re.search(r"gate\.timeout +77.0 +self-coding.toml", run(repository, "config").stdout)
    assert run(repository, "config", "get", "gate.timeout").stdout == "77.0\n"
    said = run(repository, "config", "explain", "gate.timeout").stdout
    assert "seconds" in said
    assert "1 to 604800" in said
    row = told(repository, "config", "explain", "gate.timeout")
    assert isinstance(row, dict)
    assert (row["value"], row["source"], row["default"]) == (77.0, "self-coding.toml", 600.0)
    refused = run(repository, "config", "get", "timeout", status=3).stderr
    assert "gate.timeout or model.timeout" in refused or "model.timeout or gate.timeout" in refused


def test_landing_as_one_commit_on_a_branch_of_ones_own(repository: Path, tmp_path: Path) -> None:
    """`--squash` lands one commit, `--branch` keeps the edit; elsewhere it is said who is meant."""
    feat = tmp_path / "feat"
    argv = ["git", "worktree", "add", "-q", "-b", "feat", str(feat)]
    subprocess.run(argv, cwd=repository, check=True)
    edit = ["self-edit", "Add a note", "--with", "echo note > note.txt"]
    done = run(feat, *edit, "--squash", "--branch", "notes/one")
    assert "this is for main; your checkout is on feat" in done.stderr

    def git(*words: str) -> list[str]:
        words = ("git", *words)
        done = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert git("log", "-1", "--format=%s", "main") == ["Add a note (attempt 1)"]
    assert len(git("rev-list", "--parents", "-1", "main")[0].split()) == 2
    assert git("branch", "--format=%(refname:short)") == ["feat", "main", "notes/one"]
    assert git("diff", "main", "notes/one") == []
    assert run(repository, "verify").stdout == "every receipt holds\n"


@pytest.mark.parametrize("words", ["attempts", "--json attempts", "config", "--json operations"])
@pytest.mark.parametrize("end", [">/dev/full", ">&-", "2>&-", "| head -c 1 >/dev/null"])
def test_an_output_that_breaks_is_no_bug(repository: Path, words: str, end: str) -> None:
    """A full, closed or abandoned output, which cannot show each letter, gives no traceback."""
    line = f"{sys.executable} -m self_coding {words} {end}"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        line, shell=True, cwd=repository, capture_output=True, text=True, env=environ
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "bug in self-coding" not in done.stderr
    assert (done.returncode != 0) == (end == ">/dev/full"), done.stderr
