"""The operation log."""

from __future__ import annotations


async def test_the_log_says_who_and_why(repo) -> None:
    """Each operation has its actor, reason and refs; raw commands that move a branch, too."""
    git = repo.safety(actor="robin")
    old = repo("rev-parse", "HEAD")
    repo.write("new.py")
    new = await git.commit("why not")
    await git._run_git("commit", "-q", "--allow-empty", "-m", "raw")
    raw, ours = (await git.operations())[:2]
    assert (ours.actor, ours.kind, ours.reason) == ("robin", "commit", "why not")
    assert ours.refs == (("refs/heads/main", old, new),)
    assert (raw.kind, raw.refs[0][1]) == ("git", new)
