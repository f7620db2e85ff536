"""Diffs and changes, whatever is configured."""

from __future__ import annotations

import re

import pytest

from self_coding.git_safety import GitOperationError


async def test_undecodable_diff(repo, git) -> None:
    """A diff of undecodable bytes is text, not an exception."""
    repo.write("latin.txt", b"caf\xe9\n")
    start = await git.get_current_commit()
    await git.commit("latin")
    assert "+caf\ufffd" in await git.get_diff(start)
    assert await git.get_modified_files(start) == ["latin.txt"]


async def test_a_persons_diff_settings_do_not_leak(repo, git) -> None:
    """Colours, prefixes and external diff programs of a person's do not run or show."""
    repo("config", "color.ui", "always")
    repo("config", "diff.noprefix", "true")
    repo("config", "diff.external", "touch stolen; false")
    repo.write("app.py", "two = 2\n")
    text = await git.get_diff("main")
    assert text.startswith("diff --git a/app.py b/app.py")
    assert "\x1b" not in text
    assert not repo.has("stolen")


async def test_read_and_change(repo, git) -> None:
    """Contents at a commit with None for what is absent; a change names every file with counts."""
    base = await git.get_main_commit()
    repo.write("app.py", "one = 1\ntwo = 2\n")
    repo.write("b.bin", b"\0\1")
    (repo.path / "README.md").unlink()
    head = await git.commit("x")
    found = await git.read(head, ["app.py", "README.md", "lib", "nowhere"])
    assert found == {
        "app.py": b"one = 1\ntwo = 2\n",
        "README.md": None,
        "lib": None,
        "nowhere": None,
    }
    made = await git.change(base, head)
    assert [(f.path, f.status, f.added, f.removed, f.binary) for f in made.files] == [
        ("README.md", "D", 0, 1, False),
        ("app.py", "M", 1, 0, False),
        ("b.bin", "A", 0, 0, True),
    ]
    assert "+two = 2" in made.diff
    assert (await git.change(base, base)).is_empty
    cut = await git.change(base, head, diff_limit=20)
    assert "cut here" in cut.diff


async def test_a_filter_in_an_included_file_does_not_run(repo, git) -> None:
    """Configuration that appears later in an included file is seen in time."""
    stolen = repo.path.parent / "stolen"
    included = repo.path.parent / "later.cfg"
    repo("config", "include.path", str(included))
    await git.snapshot(run_tests=False)
    included.write_text(f'[filter "x"]\n\tclean = "touch {stolen}; cat"\n')
    repo.write(".gitattributes", "*.py filter=x\n")
    repo.write("app.py", "agent\n")
    with pytest.raises(GitOperationError, match="filter"):
        await git.commit("x")
    await git.get_modified_files()
    assert not stolen.exists()


LONG = {
    "a.py": ("class Shop:\n    def total(self):\n", "        a = {}\n", "\n"),
    "a.ts": ("export class Shop {\n  total(a: number) {\n", "    run({})\n", "  }\n}\n"),
    "a.rs": ("impl Shop {\n    fn total(&self) {\n", "        run({});\n", "    }\n}\n"),
    "A.java": ("class Shop {\n    int total() {\n", "        run({});\n", "    }\n}\n"),
}


@pytest.mark.parametrize("name", LONG)
async def test_a_hunk_names_the_method_around_it(repo, git, name: str) -> None:
    """Between commits the line behind the second @@ is the method's, not the class's."""
    head, line, tail = LONG[name]
    commits = []
    for changed in (0, 99):
        body = "".join(line.format(changed if at == 8 else at) for at in range(10))
        repo.write(name, head + body + tail)
        commits.append(await git.commit(f"{name} {changed}"))
    assert re.search(r"@@ .* @@.*total", await git.get_diff(*commits))
