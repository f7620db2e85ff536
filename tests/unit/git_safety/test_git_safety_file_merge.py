"""A landing in files that a person is changing, too: both sides stay."""

from __future__ import annotations

import random
import re
import subprocess

import pytest

from self_coding.git_safety import GitDirtyWorkingDirectoryError

LINES = [f"line {number}" for number in range(12)]


async def land(git, name="a", **files):
    """Land files as an agent leaves them; a value is the new content, None deletes."""
    tree = await git.isolate(name)
    for path, content in files.items():
        place = tree.path / path
        if content is None:
            place.unlink()
        else:
            place.write_bytes(content)
    return await git.land(await git.candidate(await git.record(tree, "x")))


def edited(lines, numbers, word, end="\n"):
    changed = [f"{word} {n}" if n in numbers else line for n, line in enumerate(lines)]
    return "".join(line + end for line in changed).encode()


def carry_out(said):
    """Run the command that the result names."""
    command = re.search(r"(?:both|against it): `(.+?)`", said)
    assert command, said
    return subprocess.run(command[1], shell=True, capture_output=True, text=True)


# Every pair of where and ends, and of each with a mode; all triples with `-m slow`.
PLACES, ENDS, MODES = (
    ("staged", "unstaged", "both"),
    ("lf", "crlf", "autocrlf", "rewritten"),
    3 * ("", "mine", "landed"),
)
TRIPLES = [
    pytest.param(where, end, mode, marks=[] if mode == MODES[at + n] else pytest.mark.slow)
    for at, where in enumerate(PLACES)
    for n, end in enumerate(ENDS)
    for mode in MODES[:3]
]


@pytest.mark.parametrize(("where", "ends", "mode"), TRIPLES)
async def test_no_commit_takes_a_landing_back(make, where, ends, mode) -> None:
    """Whatever is staged or not, with whatever line ends and modes: lines of both sides stay."""
    chance = random.Random(f"{where} {ends} {mode}")
    repo = make()
    if ends == "autocrlf":
        repo("config", "core.autocrlf", "true")
    end = "\n" if ends in ("lf", "rewritten") else "\r\n"
    repo.write("a.txt", edited(LINES, (), "", end))
    repo.commit()
    mine_end = "\r\n" if ends == "rewritten" else end
    places = chance.sample((0, 3, 6, 9), 3)  # no two of them touch
    staged, unstaged, landing = (place + chance.randrange(2) for place in places)
    mine = set()
    if where != "unstaged":
        mine.add(staged)
        place = repo.write("a.txt", edited(LINES, mine, "mine", mine_end))
        if mode == "mine":
            place.chmod(0o755)
        repo("add", "a.txt")
    if where != "staged":
        mine.add(unstaged)
        place = repo.write("a.txt", edited(LINES, mine, "mine", mine_end))
        if mode == "mine":
            place.chmod(0o755)
    git = repo.safety()
    tree = await git.isolate("a")
    theirs = tree.path / "a.txt"
    theirs.write_bytes(edited(LINES, {landing}, "landed", end))
    if mode == "landed":
        theirs.chmod(0o755)
    before = repo("diff"), repo("diff", "--cached")
    content = (repo.path / "a.txt").read_bytes()
    landed = await git.land(await git.candidate(await git.record(tree, "x")))
    assert landed.checkout.startswith("followed; merged with your changes: a.txt"), landed.checkout
    now = (repo.path / "a.txt").read_bytes()
    new = f"landed {landing}"
    assert now == content.replace(f"line {landing}{mine_end}".encode(), f"{new}{mine_end}".encode())
    ref = re.search(r"git show (\S+?):", landed.checkout)
    stored = subprocess.run(
        ["git", "show", f"{ref[1]}:worktree/a.txt"], cwd=repo.path, capture_output=True, check=True
    )
    assert stored.stdout == content
    # Taken back, everything is as it was before; then the landing comes again.
    await git.undo()
    assert (repo.path / "a.txt").read_bytes() == content
    assert (repo("diff"), repo("diff", "--cached")) == before
    await git.redo()
    assert (repo.path / "a.txt").read_bytes() == now
    for command in (["commit", "-qm", "staged"], ["commit", "-qam", "everything"]):
        if repo("status", "--porcelain") and (command[1] != "-qm" or where != "unstaged"):
            repo(*command)
        committed = repo("show", "HEAD:a.txt").splitlines()
        assert new in committed
    assert {line for line in committed if line.startswith("mine")} == {f"mine {n}" for n in mine}
    assert repo("status", "--porcelain") == ""
    executable = repo("ls-tree", "HEAD", "a.txt").startswith("100755")
    assert executable == bool(mode)


BESIDE = {  # what a person has of the three lines, what lands, and the two together
    "appended to both": ("1\n2\n3\nmine\n", "1\n2\n3\nlanded\n", "1\n2\n3\nlanded\nmine\n"),
    "under an appended one": ("1\n2\n3\nmine\n", "1\n2\nlanded\n", "1\n2\nlanded\nmine\n"),
    "appended under": ("1\n2\nmine\n", "1\n2\n3\nlanded\n", "1\n2\nmine\nlanded\n"),
    "above": ("1\nmine\n3\n", "landed\n2\n3\n", "landed\nmine\n3\n"),
    "put before": ("mine\n1\n2\n3\n", "landed\n2\n3\n", "mine\nlanded\n2\n3\n"),
    "deleted beside": ("1\n3\n", "landed\n2\n3\n", "landed\n3\n"),
    "same, and more": ("1\n2\nsame\nmine\n", "1\n2\nsame\n", None),
    "same line": ("1\nmine\n3\n", "1\nlanded\n3\n", None),
    "same gap": ("1\nmine\n2\n3\n", "1\nlanded\n2\n3\n", None),
    "one thing twice": ("1\n2\n3\ndef a():\n  mine\n", "1\n2\n3\ndef a():\n  landed\n", None),
    "no end of line": ("1\n2\n3\nmine", "1\n2\n3\nlanded", None),
    "across": ("1\nmine\n", "1\n2\nlanded\n", None),
}


@pytest.mark.parametrize(("where", "end"), [("staged", "\n"), ("unstaged", "\r\n")])
@pytest.mark.parametrize("kind", BESIDE)
async def test_a_landing_right_beside_a_persons_lines(make, where, end, kind) -> None:
    """Lines that merely touch are merged; else the file stays, and the commit against it is said.

    In no case does `git commit -a` take a landing back of which the result said nothing.
    """
    repo = make()
    mine, new, both = (text and text.replace("\n", end).encode() for text in BESIDE[kind])
    repo.write("a.txt", f"1{end}2{end}3{end}".encode())
    repo.commit()
    place = repo.write("a.txt", mine)
    if where == "staged":
        repo("add", "a.txt")
    git = repo.safety()
    landed = await land(git, **{"a.txt": new})
    assert place.read_bytes() == (both or mine)
    if both is None:
        assert "would take the landing back in a.txt" in landed.checkout
    else:
        assert landed.checkout.startswith("followed; merged with your changes: a.txt")
        await git.undo()
        assert place.read_bytes() == mine
        await git.redo()
        repo("commit", "-qam", "everything")
        assert repo("status", "--porcelain") == ""
        assert place.read_bytes() == both


@pytest.mark.parametrize("seed", range(12))
async def test_lines_of_both_sides_stay_or_it_is_said(make, seed) -> None:
    """Wherever the lines of the two are, touching or not: both are committed, or it was said."""
    chance = random.Random(seed)
    repo = make()
    base = [f"line {number}" for number in range(8)]

    def changed(word):
        lines = []
        for number, line in enumerate(base):
            lines += [f"{word} before {number}"] * (chance.random() < 0.1)
            lines += chance.choices([[line], [f"{word} {number}"], []], [8, 2, 1])[0]
        lines += [f"{word} at the end"] * (chance.random() < 0.5)
        return "".join(f"{line}\n" for line in lines).encode()

    repo.write("a.txt", "".join(f"{line}\n" for line in base))
    repo.commit()
    mine, new = changed("mine"), changed("landed")
    repo.write("a.txt", mine)
    if chance.random() < 0.5:
        repo("add", "a.txt")
    landed = await land(repo.safety(), **{"a.txt": new})
    repo("commit", "-qam", "everything", "--allow-empty")
    committed = repo("show", "HEAD:a.txt").splitlines()
    for content, word in ((mine, "mine"), (new, "landed")):
        kept = {line for line in content.decode().splitlines() if line.startswith(word)}
        assert kept <= {*committed} or "would take the landing back" in landed.checkout


@pytest.mark.parametrize("staged", [True, False])
async def test_a_conflict_is_left_and_explained(repo, git, staged) -> None:
    """Where both changed the same line, nothing is touched and the command named brings both."""
    repo.write("app.py", "one = 'mine'\n")
    if staged:
        repo("add", "app.py")
    landed = await land(git, **{"app.py": b"one = 'landed'\n"})
    assert repo.read("app.py") == "one = 'mine'\n"
    command = "git commit" if staged else "git commit -a"
    assert f"`{command}` would take the landing back in app.py" in landed.checkout
    carry_out(landed.checkout)
    both = repo.read("app.py")
    assert "one = 'mine'" in both
    assert "one = 'landed'" in both


async def test_a_conflict_in_the_file_alone(make) -> None:
    """What is staged merges although what is not staged does not: `git commit` is safe then."""
    repo = make()
    repo.commit(**{"a.txt": edited(LINES, (), "").decode()})
    repo.write("a.txt", edited(LINES, {0}, "mine"))
    repo("add", "a.txt")
    repo.write("a.txt", edited(LINES, {0, 8}, "mine"))
    landed = await land(repo.safety(), **{"a.txt": edited(LINES, {8}, "landed")})
    assert "`git commit -a` would" in landed.checkout
    assert "`git commit` would" not in landed.checkout
    assert repo.read("a.txt").encode() == edited(LINES, {0, 8}, "mine")
    repo("commit", "-qm", "mine")
    assert {"mine 0", "landed 8"} <= set(repo("show", "HEAD:a.txt").splitlines())


async def test_a_deleted_file_that_is_staged(repo, git) -> None:
    """A landing deletes what a person has staged lines of: kept, and the way out is said."""
    repo.write("app.py", "mine\n")
    repo("add", "app.py")
    landed = await land(git, **{"app.py": None})
    assert "`git commit` would take the landing back in app.py" in landed.checkout
    assert carry_out(landed.checkout).returncode == 0
    assert (repo.read("app.py"), repo("diff", "--cached", "HEAD")) == ("mine\n", "")


@pytest.mark.parametrize("attribute", ["-merge", "binary", "merge=lockfile"])
async def test_files_that_are_not_merged_by_line(make, attribute) -> None:
    """A file that `.gitattributes` keeps from merging is left, and so is one with NULs."""
    repo = make()
    content = edited(LINES, (), "")
    repo.write("a.txt", content)
    repo.write("b.bin", content + b"\0\n")
    repo.commit(**{".gitattributes": f"a.txt {attribute}\n"})
    mine = edited(LINES, {0}, "mine")
    repo.write("a.txt", mine)
    repo.write("b.bin", mine + b"\0\n")
    new = edited(LINES, {9}, "landed")
    landed = await land(repo.safety(), **{"a.txt": new, "b.bin": new + b"\0\n"})
    assert landed.checkout.startswith("left: a.txt (uncommitted changes), b.bin (uncommitted")
    assert (repo.path / "a.txt").read_bytes() == mine


async def test_saved_between_reading_and_writing(make, monkeypatch) -> None:
    """A file that is saved once more after it was read for merging keeps what was saved."""
    from self_coding.git_safety import landing

    repo = make()
    repo.commit(**{"a.txt": edited(LINES, (), "").decode()})
    repo.write("a.txt", edited(LINES, {0}, "mine"))
    prepare = landing.prepare_checkouts

    def and_save(*args):
        prepared = prepare(*args)
        repo.write("a.txt", edited(LINES, {0, 1}, "mine"))
        return prepared

    monkeypatch.setattr(landing, "prepare_checkouts", and_save)
    landed = await land(repo.safety(), **{"a.txt": edited(LINES, {9}, "landed")})
    assert (repo.path / "a.txt").read_bytes() == edited(LINES, {0, 1}, "mine")
    assert "`git commit -a` would take the landing back in a.txt" in landed.checkout


async def test_undo_over_later_lines(make) -> None:
    """Taking a landing back leaves what came into the file since, unless it is the same line."""
    repo = make()
    repo.commit(**{"a.txt": edited(LINES, (), "").decode()})
    git = repo.safety()
    new = edited(LINES, {9}, "landed")
    await land(git, **{"a.txt": new})
    repo.write("a.txt", new.replace(b"line 0", b"mine 0"))
    await git.undo()
    assert (repo.path / "a.txt").read_bytes() == edited(LINES, {0}, "mine")
    await git.redo()
    repo.write("a.txt", new.replace(b"landed 9", b"mine 9"))
    with pytest.raises(GitDirtyWorkingDirectoryError):
        await git.undo()
    assert repo("show", "main:a.txt") == new.decode().rstrip("\n")
