"""Receipts as signed statements in git's notes, which a stranger checks with git and ssh-keygen.

The landed commit of each receipt gets a note under `refs/notes/self-coding`: one DSSE envelope a
line, around an in-toto statement. They are written after the landing, outside its lock, since a
signature may take seconds; what a crash leaves out, the next landing adds. The formats are
in-toto's Statement v1 and DSSE v1; the predicates are in-toto's test-result v0.1 and SLSA's
verification summary v1. Who has `commit.gpgSign` set gets them signed by the same key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from self_coding.adapters import git, process
from self_coding.errors import ProcessError, SelfCodingError
from self_coding.git_safety.receipts import read_receipts
from self_coding.git_safety.repository import Repository
from self_coding.values.verdicts import Finding, Receipt

NOTES = "refs/notes/self-coding"
NAMESPACE = "self-coding"  # of the signature: one that was made for a commit does not fit
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
VERIFIER = "pkg:pypi/self-coding"
_LOOKED_AT = 50  # newest receipts that may lack their note
_SIGN_SECONDS = 20.0  # a key on a token may want to be touched
_logger = logging.getLogger(__name__)


def attest(repo: Repository) -> int:
    """Write the notes that the newest receipts lack; return how many.

    A note that cannot be written is logged, and tried again after the next landing: main has
    moved already. A signature that cannot be had leaves the statement unsigned.
    """
    written = 0
    try:
        newest = read_receipts(repo.chain, _LOOKED_AT)
        have = {landed for _, landed in _listed(repo)} if newest else set()
        signing = _signing(repo)
        for receipt in newest:
            if receipt.landed in have or not receipt.passed:
                continue
            lines = [envelope(body, signing) for body in statements(receipt)]
            args = ("notes", f"--ref={NOTES}", "add", "-F", "-", receipt.landed)
            text = "".join(f"{line}\n" for line in lines).encode()
            repo.git.run(*args, stdin=text, env=repo.git.settings.identity)
            written += 1
    except SelfCodingError as error:
        _logger.warning("no note of the receipt: %s", error)
    return written


def statements(receipt: Receipt) -> tuple[bytes, bytes]:
    """Return what a receipt says as two in-toto statements: the tests' result, and the verdict."""
    known = list(receipt.failures)
    facts = {
        "receipt": receipt.number,
        "previous": receipt.previous,
        "hash": receipt.hash,
        "sandbox": receipt.sandbox,
        "limits": receipt.limits,
        "judgedByBase": receipt.judged_by_base,
        "outcomes": dict(receipt.outcomes),
        "testsHash": receipt.tests_hash,
        "outputHash": receipt.output_hash,
        "testedCommit": receipt.commit,
        "onto": receipt.onto,
        "attempt": receipt.attempt,
        **({"testedUnder": receipt.top} if receipt.top else {}),
    }
    command = {
        "name": "test_command",
        "content": base64.b64encode(receipt.command.encode()).decode(),
        "annotations": facts,
    }
    result = {
        "result": "WARNED" if known else "PASSED",
        "configuration": [command],
        "warnedTests": known,
    }
    digest = hashlib.sha256(f"{receipt.command}\0{receipt.limits}".encode()).hexdigest()
    summary = {
        "verifier": {"id": VERIFIER},
        "timeVerified": receipt.at,
        "resourceUri": f"git:{receipt.landed}",
        "policy": {"uri": "git:self-coding.toml", "digest": {"sha256": digest}},
        "inputAttestations": [
            {"uri": f"self-coding:receipt/{receipt.number}", "digest": {"sha256": receipt.hash}}
        ],
        "verificationResult": "PASSED",
        "verifiedLevels": [f"SELF_CODING_TESTED_{'GROUP' if receipt.top else 'TREE'}"],
    }
    return _statement(receipt, TEST_RESULT, result), _statement(receipt, SUMMARY, summary)


def _statement(receipt: Receipt, kind: str, predicate: Mapping[str, object]) -> bytes:
    body = {
        "_type": STATEMENT,
        "subject": [
            {"name": "commit", "digest": {"gitCommit": receipt.landed}},
            {"name": "tree", "digest": {"gitTree": receipt.tree}},
        ],
        "predicateType": kind,
        "predicate": predicate,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def envelope(body: bytes, signing: Mapping[str, str]) -> str:
    """Return a DSSE envelope around a statement, signed where `signing` says that commits are."""
    signature = _sign(_signed_bytes(body), signing)
    signatures = [{"sig": base64.b64encode(signature).decode()}] if signature else []
    whole = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": signatures,
    }
    return json.dumps(whole, separators=(",", ":"))


def check(repo: Repository) -> list[Finding]:
    """Compare each note with its receipt, and check each signature against git's own settings.

    A signature by ssh is checked against `gpg.ssh.allowedSignersFile` where that is set, else
    only that it fits the key it names. A landing without a note, or one that is not signed, is
    no finding: it claims nothing.
    """
    receipts, signing = {one.landed: one for one in read_receipts(repo.chain)}, _signing(repo)
    findings = []
    for note in [one for one in _Note.read_all(repo) if one.landed in receipts]:
        said = tuple(body for body, _ in note.envelopes)
        signed = [(body, one) for body, signatures in note.envelopes for one in signatures]
        problem = ""
        rule, name = "note-signature", note.landed[:12]
        if not note.readable or said != statements(receipts[note.landed]):
            rule, problem = "note-changed", f"the note of {name} does not say what its receipt says"
        else:
            checks = (_refused(_signed_bytes(body), one, signing) for body, one in signed)
            if why := next(filter(None, checks), ""):
                problem = f"the note of {name} is not signed by it: {why}"
        if problem:
            findings.append(Finding(rule=rule, path=note.landed, message=problem))
    return findings


class _Note:
    """The envelopes of one landed commit."""

    def __init__(self, landed: str, text: str) -> None:
        self.landed = landed
        self.envelopes: list[tuple[bytes, list[bytes]]] = []
        self.readable = True
        for line in text.splitlines():
            try:
                whole = json.loads(line)
                body = base64.b64decode(whole["payload"], validate=True)
                signatures = [base64.b64decode(one["sig"]) for one in whole["signatures"]]
            except (ValueError, TypeError, KeyError, binascii.Error):
                self.readable = False
            else:
                self.envelopes.append((body, signatures))

    @classmethod
    def read_all(cls, repo: Repository) -> Iterable[_Note]:
        """Read every note with two processes, however many there are."""
        pairs = _listed(repo)
        asked = "".join(f"{blob}\n" for blob, _ in pairs).encode()
        out = repo.git.run("cat-file", "--batch", stdin=asked).stdout if pairs else b""
        at = 0
        for _, landed in pairs:
            end = out.index(b"\n", at)
            size = int(out[at:end].rsplit(b" ", 1)[1])
            at = end + 1 + size + 1
            yield cls(landed, git.decode(out[end + 1 : end + 1 + size], errors="replace"))


def _listed(repo: Repository) -> list[list[str]]:
    """Return the blob of each note, and the commit that it is about."""
    listed = git.decode(repo.git.run("notes", f"--ref={NOTES}", "list", ok=None).stdout)
    return [line.split(" ") for line in listed.splitlines()]


def _signed_bytes(body: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of a statement: what is signed."""
    return b"DSSEv1 %d %s %d " % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(body)) + body


def _signing(repo: Repository) -> Mapping[str, str]:
    """Return the user's own settings of signatures, which our door to git switches off."""
    names = r"^(commit\.gpgsign|user\.(signingkey|email)|gpg\..*)$"
    asked = ("config", "-z", "--show-scope", "--get-regexp", names)
    done = git.run(asked, cwd=repo.git.top or repo.common, config=(), ok=(0, 1))
    parts, values = git.decode(done.stdout).split("\0"), {}
    for scope, entry in zip(parts[::2], parts[1::2], strict=False):
        key, _, value = entry.partition("\n")
        # What an agent may have written into the repository's settings starts no program here.
        if scope in ("global", "system") or not key.endswith(".program"):
            values[key] = value
    return values


def _sign(data: bytes, values: Mapping[str, str]) -> bytes:
    """Return a signature by the key that signs the user's commits; empty where none does."""
    if values.get("commit.gpgsign", "").lower() not in ("true", "yes", "on", "1"):
        return b""
    key = values.get("user.signingkey", "")
    if values.get("gpg.format", "openpgp") != "ssh":
        program = values.get("gpg.openpgp.program") or values.get("gpg.program") or "gpg"
        who = ["-u", key or values.get("user.email", "")]
        # never a window that asks for a passphrase: nobody may be there
        return _run([program, "--batch", "--pinentry-mode", "error", "-abs", *who], data)
    program = values.get("gpg.ssh.program") or "ssh-keygen"
    literal = key.removeprefix("key::")
    if not key.startswith(("key::", "ssh-", "ecdsa-", "sk-")):
        path = str(Path(key).expanduser())
        return _run([program, "-Y", "sign", "-n", NAMESPACE, "-f", path], data) if key else b""
    with tempfile.NamedTemporaryFile("w", suffix=".pub") as public:  # its other half is the agent's
        public.write(f"{literal}\n")
        public.flush()
        return _run([program, "-Y", "sign", "-n", NAMESPACE, "-U", "-f", public.name], data)


def _refused(data: bytes, signature: bytes, values: Mapping[str, str]) -> str:
    """Return why a signature does not hold; empty where it does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "signature"
        path.write_bytes(signature)
        if not signature.startswith(b"-----BEGIN SSH"):
            program = values.get("gpg.openpgp.program") or values.get("gpg.program") or "gpg"
            return _complaint([program, "--batch", "--verify", str(path), "-"], data)
        program = values.get("gpg.ssh.program") or "ssh-keygen"
        check = [program, "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(path)]
        if allowed := values.get("gpg.ssh.allowedsignersfile", ""):
            known = str(Path(allowed).expanduser())
            find = [program, "-Y", "find-principals", "-s", str(path), "-f", known]
            who = git.decode(_run(find, data)).splitlines()
            if not who:
                return f"its key is not in {allowed}"
            check = [program, "-Y", "verify", "-n", NAMESPACE, "-s", str(path), "-f", known]
            check += ["-I", who[0]]
        return _complaint(check, data)


def _run(argv: list[str], data: bytes) -> bytes:
    done = _start(argv, data)
    if done is None or done.returncode or done.timed_out:
        why = git.decode(done.stderr, errors="replace").strip()[-200:] if done else "not found"
        _logger.warning("not signed: %s: %s", argv[0], why)
        return b""
    return done.stdout


def _complaint(argv: list[str], data: bytes) -> str:
    done = _start(argv, data)
    if done is None:
        return f"{argv[0]} was not found"
    said = git.decode(done.stderr or done.stdout, errors="replace").strip()
    return said[-200:] or "refused" if done.returncode else ""


def _start(argv: list[str], data: bytes) -> process.Completed | None:
    # Without a terminal or display ssh-keygen fails at a passphrase instead of asking for it.
    silent = {"SSH_ASKPASS_REQUIRE": "never"}
    env = {k: v for k, v in os.environ.items() if k != "DISPLAY"} | silent
    try:
        return process.run(argv, env=env, stdin=data, timeout=_SIGN_SECONDS)
    except ProcessError:
        return None
