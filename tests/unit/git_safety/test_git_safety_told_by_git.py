"""A landing and a rollback touch what they change and nothing else, whatever git was told."""

from __future__ import annotations

import pytest

TOLD = {
    "nothing": {},
    "no exec bits": {"core.fileMode": "false"},
    "links are files": {"core.symlinks": "false"},
    "autocrlf": {"core.autocrlf": "true"},
    "input": {"core.autocrlf": "input"},
    "eol": {"core.eol": "crlf"},
    "untracked files hidden": {"status.showUntrackedFiles": "no"},
    "no prefixes": {"diff.noPrefix": "true"},
    "other prefixes": {"diff.mnemonicPrefix": "true", "color.ui": "always"},
    "names unquoted": {"core.quotePath": "false"},
    "messages in Latin-1": {"i18n.commitEncoding": "ISO-8859-1"},
    "logs in Latin-1": {"i18n.logOutputEncoding": "ISO-8859-1", "log.showSignature": "true"},
    "short hashes": {"core.abbrev": "4", "log.date": "relative"},
    "many files": {"feature.manyFiles": "true", "core.untrackedCache": "true"},
    "coarse times": {"core.checkStat": "minimal", "core.trustctime": "false"},
    "no case": {"core.ignoreCase": "true"},
    "a configuration for each worktree": {"extensions.worktreeConfig": "true"},
    "no renames": {"merge.renames": "false", "diff.renames": "copies"},
    "white space": {"apply.whitespace": "error-all", "core.whitespace": "cr-at-eol,tab-in-indent"},
    "conflicts in three": {"merge.conflictStyle": "diff3", "rerere.enabled": "true"},
}
OTHERS = ("crlf.txt", "lib/core.py", "link", "run.sh", "\u00e4 b.txt")


@pytest.mark.parametrize("told", TOLD)
async def test_only_what_differs_is_touched(repo, told) -> None:
    """Modes, line ends, times and inodes of other files stay, and the checkout is clean."""
    repo.write(".gitattributes", "*.txt text=auto\n" if told == "eol" else "*.sh eol=lf\n")
    repo.write("crlf.txt", b"one\r\ntwo\r\n")
    repo.write("\u00e4 b.txt", "x\n")
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (repo.path / "link").symlink_to("app.py")
    repo.commit("second")
    for name, value in TOLD[told].items():
        repo("config", name, value)
    repo("add", "--renormalize", ".")
    repo("commit", "-qm", "as told", check=False)
    for name in OTHERS:
        (repo.path / name).unlink()
    repo("checkout", "--", ".")
    if told == "no exec bits":
        (repo.path / "app.py").chmod(0o755)
        (repo.path / "run.sh").chmod(0o644)

    def seen() -> tuple[object, ...]:
        stats = [(repo.path / name).lstat() for name in OTHERS]
        kept = [(one.st_mtime_ns, one.st_ino, one.st_size, one.st_mode) for one in stats]
        return (*kept, repo("ls-tree", "main", "--", *OTHERS), repo("status", "--porcelain"))

    before = seen()
    assert before[-1] == ""
    git = repo.safety()
    tree = await git.isolate("a")
    (tree.path / "app.py").write_text("agent = 1\n")
    (tree.path / "\u00fc.py").write_text("agent\n")
    change = await git.record(tree, "Pr\u00fcfe \u652f\u6255\u3044")
    assert change.paths == ("app.py", "\u00fc.py")
    assert (await git.land(await git.candidate(change))).checkout == "followed"
    assert seen() == before
    subject = repo("log", "-1", "--encoding=UTF-8", "--no-color", "--format=%s", "main^2")
    assert subject == "Pr\u00fcfe \u652f\u6255\u3044"
    assert repo("ls-tree", "main", "app.py")[:6] == "100644"
    taken = await git.snapshot(run_tests=False)
    repo.write("app.py", "later\n")
    repo.write("new.py", "later\n")
    await git.rollback(taken)
    assert (repo.read("app.py"), repo.has("new.py"), seen()) == ("agent = 1\n", False, before)
