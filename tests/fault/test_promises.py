"""Twelve promises in five languages: each cell is one test, with its real tool chain.

Where a tool chain, or what it needs, is absent, its cells are skipped with the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import test_gate_other_runners as others
from gate_repo import Repo

from self_coding.adapters import sandbox
from self_coding.app import open_app
from self_coding.audit import audit
from self_coding.codebase_indexer import CodebaseIndexer
from self_coding.git_safety import GitSafety
from self_coding.languages import language_of
from self_coding.modification_journal import ModificationAttempt, ModificationJournal, Outcome
from self_coding.reflection import ReflectionService
from tool_chains import works

Change = dict[str, str]


@dataclass(frozen=True)
class Sample:
    """A repository in one language and what happens to it.

    Attributes:
        files: the code, and three files of tests.
        command: what runs them.
        program: the tool chain that must be here.
        bug: file, text and replacement that make the code wrong.
        test: file, id and name of the test that notices.
        bent: text and replacement that make this test take the bug.
        skipped: text and replacement that switch it off.
        cheat: text and replacement that the audit must refuse, and its rule.
        function: the name of the code's function, as its definition has it.
        selected: whether chosen tests can run by themselves.
    """

    files: Change
    command: str
    program: str
    bug: tuple[str, str, str]
    test: tuple[str, str]
    bent: tuple[str, str]
    skipped: tuple[str, str]
    cheat: tuple[str, str, str]
    function: str = "size"
    selected: bool = True

    def with_bug(self) -> Change:
        path, old, new = self.bug
        return {path: self.replaced(path, old, new)}

    def replaced(self, path: str, old: str, new: str) -> str:
        assert old in self.files[path]
        return self.files[path].replace(old, new, 1)


def _more(text: str, names: tuple[str, ...], path: str) -> Change:
    """Return further files of tests, one a name."""
    return {path.format(name): text.replace("@", name).replace("\x00", "@") for name in names}


PYTHON = Sample(
    files={
        "area.py": "def size(r):\n    return r * r\n",
        "test_area.py": "from area import size\n\n\ndef test_squares():\n    assert size(3) == 9\n",
        **_more("def test_@():\n    assert '@'\n", ("one", "two"), "test_{}.py"),
    },
    command=f"{sys.executable} -m pytest -q -p no:cacheprovider",
    program=sys.executable,
    bug=("area.py", "r * r", "r + r"),
    test=("test_area.py", "test_squares"),
    bent=("== 9", "== 6"),
    skipped=("def test_squares", "import pytest\n@pytest.mark.skip\ndef test_squares"),
    cheat=("    assert size(3) == 9", "    size(3)", "assert-removed"),
)
JAVASCRIPT = Sample(
    files={
        **others.TYPESCRIPT,
        **_more(
            "import { test } from 'node:test';\ntest('@', () => {});\n",
            ("one", "two"),
            "test/{}.test.js",
        ),
    },
    command="node --test",
    program="node",
    bug=("src/area.js", "r * r", "r + r"),
    test=("test/area.test.js", "squares"),
    bent=("size(3), 9", "size(3), 6"),
    skipped=("test('squares'", "test.skip('squares'"),
    cheat=("test('squares'", "test.only('squares'", "test-focused"),
)
GO = Sample(
    files={
        **others.GO,
        **_more(
            'package @\n\nimport "testing"\n\nfunc TestA(t *testing.T) {}\n',
            ("one", "two"),
            "{0}/{0}_test.go",
        ),
    },
    command="go test ./...",
    program="go",
    bug=("area/area.go", "r * r", "r + r"),
    test=("area/area_test.go", "TestSquares"),
    bent=("got != 9", "got != 6"),
    skipped=("testing.T) {\n\tif", "testing.T) {\n\tt.Skip()\n\tif"),
    cheat=("func TestSquares", "func testSquares", "test-removed"),
    function="Size",
)
RUST = Sample(
    files={
        **others.RUST,
        **_more(
            "#[test]\nfn @() {\n    assert!(area::size(1) > 0);\n}\n", ("one", "two"), "tests/{}.rs"
        ),
    },
    command="cargo test --offline",
    program="cargo",
    bug=("src/lib.rs", "r * r", "r + r"),
    test=("src/lib.rs", "tests::squares"),
    bent=("size(3), 9", "size(3), 6"),
    skipped=("    #[test]", "    #[ignore]\n    #[test]"),
    cheat=("assert_eq!(size(3), 9)", "assert!(true)", "assert-trivial"),
)
_JAVA_TEST = (
    "package org.acme;\n\nclass @Test {\n    \0org.junit.jupiter.api.Test\n    void a() {}\n}\n"
)
JAVA = Sample(
    files={
        **others.JAVA,
        **_more(_JAVA_TEST, ("One", "Two"), "src/test/java/org/acme/{}Test.java"),
    },
    command="sh test.sh",
    program="javac",
    bug=("src/main/java/org/acme/Area.java", "r * r", "r + r"),
    test=("src/test/java/org/acme/AreaTest.java", "squares()"),
    bent=("(9, Area", "(6, Area"),
    skipped=(
        "@Test\n    void squares",
        "@org.junit.jupiter.api.Disabled\n    @Test\n    void squares",
    ),
    cheat=("    @Test\n    void squares", "    void squares", "test-removed"),
    selected=False,
)
SAMPLES = {"python": PYTHON, "javascript": JAVASCRIPT, "go": GO, "rust": RUST, "java": JAVA}


class World:
    """A sample as a repository, whose gate remembers what it ran."""

    def __init__(self, sample: Sample, folder: Path) -> None:
        self.sample, self.root = sample, folder / "repo"
        self.repo = Repo(self.root)
        self.base = self.repo.commit(sample.files)
        self.test = f"{sample.test[0]}::{sample.test[1]}"

    def commit(self, files: Change) -> str:
        self.repo.git("checkout", "-q", "--detach", self.base)
        commit = self.repo.commit(files)
        self.repo.git("checkout", "-q", "main")
        return commit

    def run(self, commit: str, base: str | None = None, first=(), *, strict: bool = False):
        gate = self.repo.gate(self.sample.command, readable=tuple(others.CARGO), retries=0)
        return gate.run(commit, tree=self.repo.tree(commit), base=base, first=first, strict=strict)


@pytest.fixture(scope="module", params=list(SAMPLES))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world of one language, the same for all its cells."""
    sample = SAMPLES[request.param]
    if not works(sample.program):
        pytest.skip(f"{sample.program} does not run here")
    if missing := language_of(sample.bug[0]).missing:
        pytest.skip(missing)
    if request.param == "java" and not Path("/usr/share/java/junit-platform-console.jar").exists():
        pytest.skip("the JUnit console is not installed")
    return World(sample, tmp_path_factory.mktemp(request.param))


async def snapshot(world: World) -> None:
    """What is uncommitted comes back as it was."""
    file = world.root / world.sample.bug[0]
    file.write_text("mine\n")
    git = GitSafety(world.root)
    taken = await git.snapshot(run_tests=False)
    file.write_text("lost\n")
    await git.rollback(taken)
    assert file.read_text() == "mine\n"
    world.repo.git("checkout", "-q", "--", ".")


async def isolate(world: World) -> None:
    """An edit happens in a worktree; the checkout stays as it is."""
    app = open_app(world.root, environ={}, test_command=world.sample.command)
    begun = await app.edit.begin_edit("make it right")
    file = begun.worktree.path / world.sample.bug[0]
    assert file.read_text() == world.sample.files[world.sample.bug[0]]
    file.write_text("edited\n")
    assert world.repo.git("status", "--porcelain") == ""
    await app.edit.drop_edit(begun.attempt)


async def gate_by_test_id(world: World) -> None:
    """Each test is known by its id, and a bug fails the one that sees it, at its place."""
    report = world.run(world.base)
    assert report.passed, (report.reason, report.output)
    assert world.test in {one.id for one in report.tests}
    report = world.run(world.commit(world.sample.with_bug()), world.base)
    assert not report.passed
    assert report.new_failures == (world.test,), (report.reason, report.output)


async def base_as_judge(world: World) -> None:
    """A bug whose test was bent to it is refused by main's own test."""
    path, bent = world.sample.test[0], world.sample.bent
    files = world.sample.with_bug()
    text = files.get(path, world.sample.files[path])
    report = world.run(world.commit({**files, path: text.replace(*bent)}), world.base, strict=True)
    assert not report.passed
    assert {one.rule for one in report.findings} == {"base-judge"}, (report.reason, report.output)


async def cheat_refused(world: World) -> None:
    """A test that is made to say less is refused before anything runs."""
    path, (old, new, rule) = world.sample.test[0], world.sample.cheat
    before = {path: world.sample.files[path].encode()}
    after = {path: world.sample.replaced(path, old, new).encode()}
    assert rule in {one.rule for one in audit([path], before=before, after=after)}


async def skip_seen(world: World) -> None:
    """A test that ran on main and is switched off is missed."""
    path = world.sample.test[0]
    changed = world.commit({path: world.sample.replaced(path, *world.sample.skipped)})
    report = world.run(changed, world.base)
    assert not report.passed
    assert {one.rule for one in report.findings} == {"skips-grew"}, (report.reason, report.output)


async def red_base(world: World) -> None:
    """What fails on main as well does not count, and is named."""
    red = world.commit(world.sample.with_bug())
    world.repo.git("checkout", "-q", "--detach", red)
    more = world.repo.commit({"notes.md": "more\n"})
    world.repo.git("checkout", "-q", "main")
    report = world.run(more, red)
    assert report.passed, (report.reason, report.output)
    assert report.known_failures == (world.test,)


async def affected_first(world: World) -> None:
    """The affected tests alone say no; where they cannot be chosen, all of them do."""
    world.run(world.base)
    files = {**world.sample.with_bug(), "first.md": "another tree\n"}
    report = world.run(world.commit(files), world.base, first=(world.sample.test[0],))
    assert report.new_failures == (world.test,), (report.reason, report.output)
    ran = {one.id.partition("::")[0] for one in report.tests}
    assert (ran == {world.sample.test[0]}) is world.sample.selected


async def relevant_lines(world: World) -> None:
    """The lines of the function that a task names come with its code."""
    [file, *_] = await CodebaseIndexer(world.root).relevant_files(
        f"{world.sample.function} of a square is wrong", spans=True
    )
    best = max(file.spans, key=lambda span: span.score)
    assert file.path == world.sample.bug[0]
    assert world.sample.bug[1] in best.code
    assert best.symbol.endswith(world.sample.function)


async def impact(world: World) -> None:
    """A change of the code names the test that it can break."""
    blast = await CodebaseIndexer(world.root).impact([world.sample.bug[0]])
    assert world.sample.test[0] in (*blast.tests, *blast.paths)


async def reflection(world: World) -> None:
    """What failed, where, and which file is to blame is read from the run."""
    report = world.run(world.commit(world.sample.with_bug()), world.base)
    path, old, new = world.sample.bug
    attempt = ModificationAttempt(
        "make it faster",
        outcome=Outcome.FAILURE,
        files_modified=[path],
        diff=f"--- a/{path}\n+++ b/{path}\n@@ -1,3 +1,3 @@\n-    {old}\n+    {new}\n",
        test_results=report.output,
    )
    failed = [one for one in report.tests if one.id in report.new_failures]
    failure = await ReflectionService().analyse(attempt, new_failures=failed)
    assert failure.failing_tests == (world.test,)
    assert failure.root_cause_file == path


async def similar(world: World) -> None:
    """An earlier attempt at the same code is found by its words."""
    journal = ModificationJournal(db_path=world.root / ".git/j.db")
    path = world.sample.bug[0]
    await journal.log_attempt(
        ModificationAttempt("the size of a square", files_modified=[path], outcome=Outcome.FAILURE)
    )
    [found] = await journal.find_similar("square has a wrong size")
    assert found.files_modified == [path]


PROMISES: tuple[Callable[[World], Awaitable[None]], ...] = (
    *(snapshot, isolate, gate_by_test_id, base_as_judge, cheat_refused, skip_seen, red_base),
    *(affected_first, relevant_lines, impact, reflection, similar),
)
_RUN = {gate_by_test_id, base_as_judge, skip_seen, red_base, affected_first, reflection}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_a_promise_holds_in_a_language(world: World, promise) -> None:
    """Each promise holds in each language, with its own tool chain."""
    if promise in _RUN and world.sample is not PYTHON and sandbox.level() == "landlock":
        pytest.skip("Landlock lets nobody open the pipe of the other runners")
    await promise(world)
