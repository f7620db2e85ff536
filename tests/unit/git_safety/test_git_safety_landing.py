"""The merge is made unseen, tested, and main moves to it."""

from __future__ import annotations

import subprocess

import pytest

from self_coding.git_safety import GitOperationError, GitSafety, landing, transaction
from self_coding.values.verdicts import GateSettings


@pytest.fixture
def conflicting(repo):
    """Branch `other` and main changed the same line."""
    repo("checkout", "-qb", "other")
    repo.commit("theirs", **{"app.py": "theirs = 1\n"})
    repo("checkout", "-q", "main")
    repo.commit("ours", **{"app.py": "ours = 1\n"})
    return repo


async def test_merge_conflict_leaves_nothing(conflicting) -> None:
    """A conflict is an error with the paths; no merge is in progress, nothing changed."""
    git = conflicting.safety()
    with pytest.raises(GitOperationError, match="conflict") as caught:
        await git.merge_to_main("other", require_tests=False)
    assert caught.value.paths == ("app.py",)
    assert conflicting("status", "--porcelain") == ""
    assert not conflicting.has(".git/MERGE_HEAD")
    assert conflicting.read("app.py") == "ours = 1\n"


async def test_conflict_as_a_value(conflicting) -> None:
    """A candidate that does not merge says which paths, and shows both sides."""
    conflict = await conflicting.safety().candidate("other")
    [file] = conflict.files
    assert (file.path, file.ours, file.theirs) == ("app.py", "ours = 1\n", "theirs = 1\n")
    assert "<<<<<<<" in file.merged
    assert "CONFLICT" in file.message


async def test_failed_tests_put_you_back(repo) -> None:
    """After failed tests the person is where they were, with what they had."""
    git = GitSafety(repo.path, test_command="exit 1")
    branch = await git.create_branch("try")
    await git.commit("empty", allow_empty=True)
    repo("checkout", "-q", "main")
    repo.write("README.md", "# Mine\n")
    with pytest.raises(GitOperationError, match="tests failed"):
        await git.merge_to_main(branch)
    assert repo("branch", "--show-current") == "main"
    assert repo("status", "--porcelain") == " M README.md"
    assert repo("branch", "--list", branch) != ""


async def test_the_merge_result_is_tested(repo) -> None:
    """Two green branches that are red together do not land."""
    git = GitSafety(repo.path, test_command="! (test -f a.txt && test -f b.txt)")
    for name in ("a", "b"):
        await git.create_branch(name)
        repo.write(f"{name}.txt")
        await git.commit(name)
        repo("checkout", "-q", "main")
    await git.merge_to_main("a")
    with pytest.raises(GitOperationError, match="tests failed"):
        await git.merge_to_main("b")
    assert not repo.has("b.txt")


async def test_main_moving_during_the_tests(repo) -> None:
    """When main moves while a candidate is tested, the new merge is tested, too."""
    other = repo.path.parent / "other"
    command = (
        f"if test ! -f {other}; then touch {other}; cd {repo.path} && git -c user.name=p"
        " -c user.email=p@p commit -q --allow-empty -m moved; fi"
    )
    branch = await repo.safety().create_branch("try")
    await repo.safety().commit("try", allow_empty=True)
    repo("checkout", "-q", "main")
    git = GitSafety(repo.path, test_command=command)
    what = await git.candidate(branch)
    repo("commit", "-q", "--allow-empty", "-m", "moved")
    moved = await git.land(what)
    assert moved.expected == what.onto
    assert moved.actual == repo("rev-parse", "main")


async def test_no_pull_ever(repo, make) -> None:
    """A remote that has moved on changes nothing here."""
    upstream = make("upstream")
    upstream.commit("up", **{"app.py": "up\n"})
    repo("remote", "add", "origin", str(upstream.path))
    repo("fetch", "-q", "origin")
    repo("branch", "-q", "-u", "origin/main", "main")
    start = repo("rev-parse", "main")
    await repo.safety().create_branch("try")
    assert repo("rev-parse", "main") == start
    assert repo("status", "--porcelain") == ""


async def test_a_person_at_a_ref(repo, git) -> None:
    """A foreign lock on a ref is reported, not removed, and nothing has moved."""
    lock = repo.write(".git/refs/heads/main.lock", "theirs")
    start = repo("rev-parse", "main")
    repo.write("new.py")
    with pytest.raises(GitOperationError):
        await git.commit("x", ["new.py"])
    assert lock.exists()
    assert repo("rev-parse", "main") == start
    assert repo("status", "--porcelain") == "?? new.py"


async def test_test_land_and_receipt(repo, git) -> None:
    """A tested candidate lands with a receipt; main contains it then, and not before."""
    tree = await git.isolate("a")
    (tree.path / "new.py").write_text("x = 1\n")
    made = await git.record(tree, "new")
    what = await git.candidate(made)
    assert not await git.landed([what.commit])
    report = await git.test(what)
    assert (report.passed, report.commit) == (True, what.commit)
    landed = await git.land(what, attempt="a")
    assert (landed.old, landed.new) == (what.onto, what.commit)
    assert await git.landed([what.commit])
    assert await git.has_receipt(what.commit)
    assert not await git.has_receipt(what.onto)


async def test_gate_settings(repo) -> None:
    """The test command given is the gate's."""
    settings = GateSettings(command="false", timeout=5)
    assert repo.safety(gate=settings).gate == GateSettings(command="true", timeout=5)


@pytest.mark.parametrize("when", ["prepare_checkouts", "move_refs"])
async def test_a_person_who_leaves_main_during_a_landing(repo, git, monkeypatch, when) -> None:
    """A branch that a person starts meanwhile gets nothing of what lands, and main moves."""
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("one = 2\n")
    what = await git.candidate(await git.record(tree, "x"))
    room = landing if when == "prepare_checkouts" else transaction
    before = getattr(room, when)

    def switching(*arguments: object) -> object:
        found = before(*arguments)
        if repo("branch", "--show-current") == "main":
            repo("branch", "idea", what.onto)
            repo("symbolic-ref", "HEAD", "refs/heads/idea")  # as `checkout -b`, without its lock
        return found

    monkeypatch.setattr(room, when, switching)
    landed = await git.land(what)
    assert repo("rev-parse", "main") == what.commit == landed.new
    assert repo("status", "--porcelain") == ""
    assert repo("rev-parse", "idea") == what.onto
    assert repo.read("app.py") == "one = 1\n"


async def test_landing_while_elsewhere(repo, git) -> None:
    """A person on another branch sees nothing of it."""
    repo("checkout", "-qb", "mine")
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout == "not on main; `git merge main` brings the landing there"
    assert repo.read("app.py") == "one = 1\n"
    assert repo("show", "main:app.py") == "agent"


@pytest.mark.parametrize(
    "words",
    [
        "tag main",
        "update-ref refs/heads/HEAD HEAD",
        "update-ref refs/main HEAD",
        "update-ref refs/remotes/main/HEAD HEAD",
        "branch heads/main",
    ],
)
async def test_another_ref_with_the_name_of_main(repo, git, words) -> None:
    """`main` is the branch, whatever else has that name, a file too."""
    repo(*words.split())
    tip = repo.commit("two", **{"two.py": "2", "main": "a file"})
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent\n")
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert (landed.checkout, repo.read("app.py")) == ("followed", "agent\n")
    assert repo("rev-parse", "refs/heads/main^1") == tip
    assert repo("rev-parse", "HEAD") == repo("rev-parse", "refs/heads/main")
    await git.create_branch("try")
    assert repo("rev-parse", "HEAD") == repo("rev-parse", "refs/heads/main")


@pytest.mark.parametrize("require_tests", [True, False])
async def test_main_is_not_merged_into_itself(repo, git, require_tests) -> None:
    """Merging main into main is refused with a hint, and no commit is made."""
    before = repo("rev-parse", "main")
    with pytest.raises(GitOperationError, match="into itself") as refused:
        await git.merge_to_main("main", require_tests=require_tests)
    assert "name the branch" in refused.value.hint
    assert repo("rev-parse", "main") == before


async def test_landing_as_one_commit(make) -> None:
    """A squash has main alone as its parent, the tested tree, and the task in main's own log."""
    repo = make()
    repo.commit("one", **{"app.py": "one = 1\n"})
    git = repo.safety(land_as="squash")
    tree = await git.isolate("a")
    for text in ("one\n", "two\n"):
        (tree.path / "n.txt").write_text(text)
        change = await git.record(tree, text)
    repo.commit("meanwhile", **{"m.txt": "m"})
    what = await git.candidate(change, "Add n (attempt 1)")
    assert (await git.test(what)).passed
    assert (await git.land(what)).new == what.commit
    assert repo("log", "--first-parent", "--format=%s", "-2") == "Add n (attempt 1)\nmeanwhile"
    assert repo("rev-parse", "main^{tree}") == what.tree
    assert (repo.read("n.txt"), repo.read("m.txt")) == ("two\n", "m")
    assert await git.verify() == []
    assert await git.has_receipt("main")
    await git.undo()
    assert repo("log", "-1", "--format=%s") == "meanwhile"
    assert not repo.has("n.txt")


@pytest.mark.parametrize("kind", ["clean", "one commit", "back and forth", "with a merge"])
async def test_landing_commit_by_commit(make, kind) -> None:
    """A rebase puts each commit onto main; one that cannot be replayed lands as one commit."""
    repo = make()
    repo.commit(**{"a.txt": "1\n2\n3\n4\n5\n"})
    git = repo.safety(land_as="rebase")
    tree = await git.isolate("a")
    texts = {"clean": ("1\n2\n3\n4\nfive\n", "1\n2\n3\n4\n5!\n")}
    # The first one touches what main has changed meanwhile, and the second takes it back.
    texts["back and forth"] = ("one\n2\n3\n4\n5\n", "1\n2\n3\n4\n5!\n")
    for number, text in enumerate(texts.get(kind, texts["clean"][1:])):
        (tree.path / "a.txt").write_text(text)
        change = await git.record(tree, f"step {number}")
    repo.commit("meanwhile", **{"a.txt": "uno\n2\n3\n4\n5\n"})
    if kind == "with a merge":
        subprocess.run(["git", "merge", "-q", "main"], cwd=tree.path, check=True)
        change = await git.record(tree, "merged")
    what = await git.candidate(change, "Change five (attempt 1)")
    assert (await git.test(what)).passed
    assert (await git.land(what)).new == what.commit
    assert repo.read("a.txt") == "uno\n2\n3\n4\n5!\n"
    assert repo("rev-parse", "main^{tree}") == what.tree
    assert repo("rev-list", "--merges", f"{what.onto}..main") == ""
    log = repo("log", "--reverse", "--format=%s", f"{what.onto}..main").splitlines()
    assert log == (["step 0", "step 1"] if kind == "clean" else ["Change five (attempt 1)"])
    assert "Change five (attempt 1)" in repo("log", "-1", "--format=%B")
    assert await git.verify() == []


STANDS = {
    "detached": ("checkout", "-q", "--detach"),
    "another branch": ("switch", "-qc", "feat"),
    "an unborn branch": ("switch", "-q", "--orphan", "none"),
    "a bisect from main": ("bisect", "start", "HEAD", "HEAD~3"),
    "a tag": ("checkout", "-q", "v1"),
}


async def _landed(git: GitSafety, name: str = "agent.py"):
    tree = await git.isolate("a")
    (tree.path / name).write_text("agent\n")
    return await git.land(await git.candidate(await git.record(tree, "x")))


@pytest.mark.parametrize("how", STANDS)
async def test_who_does_not_stand_on_main_is_told(repo, git, how) -> None:
    """The landing moves main alone, and says how it comes to where the person is."""
    repo("tag", "v1")
    for name in ("second", "third", "fourth"):
        repo.commit(name, **{f"{name}.py": "2\n"})
    repo(*STANDS[how])
    before = repo("status", "--porcelain"), repo("symbolic-ref", "-q", "HEAD", check=False)
    landed = await _landed(git)
    assert landed.checkout == "not on main; `git merge main` brings the landing there"
    assert repo("rev-parse", "main") == landed.new
    after = repo("status", "--porcelain"), repo("symbolic-ref", "-q", "HEAD", check=False)
    assert (after, repo.has("agent.py")) == (before, False)


@pytest.mark.parametrize("how", ["main", "apply", "of another branch"])
async def test_a_landing_beside_a_rebase(repo, git, how) -> None:
    """While main is rebased nothing lands, for the rebase would fail at its end; one of another
    branch is no obstacle, and goes on."""
    repo("switch", "-qc", "side")
    repo.commit("side", **{"app.py": "side = 1\n"})
    repo("switch", "-q", "main")
    repo.commit("main", **{"app.py": "main = 1\n"})
    one, other = ("side", "main") if how == "of another branch" else ("main", "side")
    repo("switch", "-q", one)
    repo("rebase", "--apply" if how == "apply" else "--merge", other, check=False)
    start = repo("rev-parse", "main")
    if how == "of another branch":
        assert (await _landed(git)).checkout.startswith("not on main")
    else:
        with pytest.raises(GitOperationError, match="rebase"):
            await _landed(git)
    assert (repo("rev-parse", "main") == start) == (how != "of another branch")
    repo.write("app.py", "both = 1\n")
    repo("add", "app.py")
    repo("-c", "core.editor=true", "rebase", "--continue")
    assert repo("status", "--porcelain") == ""


@pytest.mark.parametrize("how", ["clean", "edited", "edited the same", "two of them"])
async def test_main_in_another_worktree_follows(repo, git, how) -> None:
    """Each checkout on main moves along, wherever the tool runs; what is edited there stays, and
    `git commit -a` there takes nothing back."""
    repo("switch", "-qc", "work")
    place = repo.path.parent / "on main"
    repo("worktree", "add", "-q", str(place), "main")
    if how == "two of them":
        repo("worktree", "add", "-qf", str(repo.path.parent / "also"), "main")
    if how.startswith("edited"):
        (place / ("app.py" if how == "edited the same" else "README.md")).write_text("mine\n")
    landed = await _landed(git, "app.py")
    clash = how == "edited the same"
    assert landed.checkout.startswith("left: app.py" if clash else "followed")
    assert (place / "app.py").read_text() == ("mine\n" if clash else "agent\n")
    if how == "edited":
        repo("-C", str(place), "commit", "-qam", "mine")
        assert repo("show", "main:app.py") == "agent"
    if not clash:
        assert repo("-C", str(place), "status", "--porcelain") == ""
    assert (repo.read("app.py"), repo("branch", "--show-current")) == ("one = 1\n", "work")
