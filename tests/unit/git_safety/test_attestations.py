"""Receipts as signed notes: written by each landing, and checked by tools that are not ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from self_coding.git_safety import attestations
from self_coding.git_safety.attestations import NOTES, attest
from self_coding.git_safety.repository import discover

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "check-a-receipt.md"


@pytest.fixture
def key(repo, tmp_path) -> Path:
    """A signing key, as git's own settings name it."""
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    sign_with(repo, str(path))
    return path


def sign_with(repo, key: str) -> None:
    for name, value in (
        ("gpg.format", "ssh"),
        ("user.signingKey", key),
        ("commit.gpgSign", "true"),
    ):
        repo("config", name, value)


async def land(git, name: str = "new.py") -> str:
    tree = await git.isolate(name[:-3])
    (tree.path / name).write_text("x = 1\n")
    what = await git.candidate(await git.record(tree, "new"))
    assert (await git.test(what)).passed
    return (await git.land(what, attempt="7")).new


def note(repo, commit: str) -> list[dict]:
    text = repo("notes", f"--ref={NOTES}", "show", commit)
    return [json.loads(line) for line in text.splitlines()]


def replace_note(repo, commit: str, envelopes: list[dict]) -> None:
    text = "\n".join(map(json.dumps, envelopes))
    repo("notes", f"--ref={NOTES}", "add", "-f", "-m", text, commit)


def script(tmp_path: Path) -> Path:
    """The shell script of the how-to page."""
    path = tmp_path / "check"
    path.write_text(PAGE.read_text().split("```sh\n", 1)[1].split("```", 1)[0])
    return path


def run_script(repo, tmp_path: Path, commit: str, key: Path) -> subprocess.CompletedProcess[str]:
    signers = tmp_path / "signers"
    signers.write_text(f"me@example.org {key.with_suffix('.pub').read_text()}")
    argv = ["sh", str(script(tmp_path)), commit, str(signers), "me@example.org"]
    return subprocess.run(argv, cwd=repo.path, capture_output=True, text=True, check=False)


async def test_a_landing_says_in_a_note_what_was_tested(repo, git) -> None:
    """Two in-toto statements about the landed commit; unsigned where git signs none."""
    landed = await land(git)
    first, second = note(repo, landed)
    assert first["signatures"] == second["signatures"] == []
    result, summary = (json.loads(b64decode(one["payload"])) for one in (first, second))
    tree = repo("rev-parse", f"{landed}^{{tree}}").strip()
    for one in (result, summary):
        assert [s["digest"] for s in one["subject"]] == [{"gitCommit": landed}, {"gitTree": tree}]
    assert result["predicate"]["result"] == "PASSED"
    assert summary["predicate"]["verificationResult"] == "PASSED"
    assert await git.verify() == []


async def test_a_stranger_checks_a_signed_landing_with_git_and_ssh_keygen(repo, git, key, tmp_path):
    """The script of the how-to page needs nothing of ours."""
    landed = await land(git)
    done = run_script(repo, tmp_path, landed, key)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "tested tree" in done.stdout
    assert await git.verify() == []


@pytest.mark.parametrize("what", ["payload", "signature", "other commit", "unsigned"])
async def test_the_script_refuses_what_does_not_hold(repo, git, key, tmp_path, what) -> None:
    """A payload that was changed, another one's signature or note, none at all."""
    landed, other = await land(git), await land(git, "other.py")
    envelopes = note(repo, landed)
    if what == "payload":
        body = b64decode(envelopes[0]["payload"]).replace(b"PASSED", b"WARNED")
        envelopes[0]["payload"] = b64encode(body).decode()
    elif what == "signature":
        envelopes[0]["signatures"] = note(repo, other)[0]["signatures"]
    elif what == "other commit":
        envelopes = note(repo, other)
    else:
        for one in envelopes:
            one["signatures"] = []
    replace_note(repo, landed, envelopes)
    assert run_script(repo, tmp_path, landed, key).returncode != 0
    findings = {one.rule for one in await git.verify()}
    signature = {"signature": {"note-signature"}, "unsigned": set()}
    assert findings == signature.get(what, {"note-changed"})


async def test_a_key_that_is_not_allowed_is_named(repo, git, key, tmp_path) -> None:
    """Where git knows who may sign, nobody else's signature holds."""
    landed = await land(git)
    (tmp_path / "allowed").write_text("")
    repo("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "allowed"))
    [finding] = await git.verify()
    assert finding.rule == "note-signature" and landed[:12] in finding.message
    (tmp_path / "allowed").write_text(f"me {key.with_suffix('.pub').read_text()}")
    assert await git.verify() == []


async def test_the_repository_names_no_program(repo, git, key, tmp_path) -> None:
    """Who can write its settings is not thereby let out of the sandbox."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    repo("config", "gpg.ssh.program", str(program))
    landed = await land(git)
    assert not (tmp_path / "ran").exists() and note(repo, landed)[0]["signatures"]


async def test_a_key_that_cannot_sign_costs_no_landing(repo, git, tmp_path) -> None:
    """Main has moved: the note says it without a signature."""
    sign_with(repo, str(tmp_path / "gone"))
    landed = await land(git)
    assert [one["signatures"] for one in note(repo, landed)] == [[], []]


@pytest.mark.skipif(not shutil.which("gpg"), reason="no gpg here")
async def test_who_signs_by_gpg_has_them_signed_by_gpg(repo, git, tmp_path, monkeypatch) -> None:
    """Git's own default format: the key of `user.signingKey`, or of the e-mail address."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    batch = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "me@example.org"]
    subprocess.run(batch, check=True, capture_output=True)
    repo("config", "commit.gpgSign", "true")
    repo("config", "user.email", "me@example.org")
    landed = await land(git)
    [first, _] = note(repo, landed)
    assert b64decode(first["signatures"][0]["sig"]).startswith(b"-----BEGIN PGP SIGNATURE")
    assert await git.verify() == []
    first["signatures"] = [{"sig": b64encode(b"-----BEGIN PGP SIGNATURE-----").decode()}]
    replace_note(repo, landed, [first, note(repo, landed)[1]])
    assert [one.rule for one in await git.verify()] == ["note-signature"]


async def test_a_note_that_a_crash_left_out_is_written_later(repo, git, monkeypatch) -> None:
    """The process died between the landing and its note: the next one adds it, and only once."""
    with monkeypatch.context() as patched:
        patched.setattr(attestations, "attest", lambda _: 0)
        landed = await land(git)
    second = await land(git, "other.py")
    assert len(note(repo, landed)) == len(note(repo, second)) == 2
    assert attest(discover(repo.path, main="main")) == 0
