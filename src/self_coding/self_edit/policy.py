"""The rules for a change, and their verdict on it: pure, before anything runs.

`Policy` holds values that the caller read from the *base* commit's settings; nothing of the
change can loosen them. Paths are judged as git would write them and as they resolve: through
links, `..`, and the other spellings that some file systems take for the same name. It refuses
to run, read or guess: what only a run can show is the gate's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from self_coding.audit import Contents, Kind, audit, effective, kind_of, read_files
from self_coding.audit.files import read_toml
from self_coding.audit.syntax import finding
from self_coding.errors import ConfigError
from self_coding.redaction import find_secrets, is_secret_path
from self_coding.text import fold, matches
from self_coding.values.repository import Change, FileChange
from self_coding.values.verdicts import Finding, Verdict

PROTECTED = (
    ".git", ".git/**", "**/.git", "**/.git/**",
    ".githooks/**", ".husky/**", "hooks/pre-*", "CODEOWNERS", "**/CODEOWNERS",
    ".gitmodules", "**/.gitattributes", ".self-coding.toml", "self-coding.toml",
    ".self-coding", ".self-coding/**",
)  # fmt: skip
"""What no self-edit may touch unless the project says otherwise: git's own files and hooks, who
must approve, the guard's settings, the worktrees. CI pipelines are audited line by line."""

_GUARD_TABLES = ("self-coding", "self_coding")
_LINK, _SUBMODULE = "120000", "160000"
_GONE = "000000"
_NO_TEXT = {_LINK, _SUBMODULE, _GONE}
_JUDGES = (Kind.TEST, Kind.SUPPORT, Kind.COMMAND, Kind.SETTING)
_TESTS, _MODES = ("audited", "added", "no"), ("refuse", "ask")
_RUNNABLE = (b"#!", b"\x7fELF")  # what a system runs; the bit alone on other text is harmless


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a self-edit may do.

    `max_files` and `max_lines` (added plus removed) bound its size. No path that matches
    `protected` may change, nor any of the files that match `guard` together with a test.
    `allow` takes paths out of `protected`. `require_coverage`: only files that tests reach may
    be modified. `may_link` and `may_submodule` let it add symbolic links and submodules.
    `tests_may_change`: "audited" lets tests change as long as they claim no less, "added" lets
    them only grow (no expectation changes, no test goes), "no" not at all. `mode` is "refuse",
    or "ask": then broken rules are put to a person.

    What touches `ask_paths`, or has at least the risk `ask_risk` (0 is off), waits for a person's
    approval. What waits for approval and touches `approve_paths` alone is approved by rule where
    its risk is at most `approve_risk` and no rule is broken; off where there are no such paths.
    """

    max_files: int = 50
    max_lines: int = 5000
    protected: tuple[str, ...] = PROTECTED
    allow: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()
    require_coverage: bool = False
    may_create: bool = True
    may_delete: bool = True
    may_link: bool = True
    may_submodule: bool = False
    may_make_executable: bool = False
    allow_secrets: bool = False
    allow_secret_paths: tuple[str, ...] = ()
    tests_may_change: Literal["audited", "added", "no"] = "audited"
    mode: Literal["refuse", "ask"] = "refuse"
    ask_paths: tuple[str, ...] = ()
    ask_risk: float = 0.0
    approve_paths: tuple[str, ...] = ()
    approve_risk: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what could never be meant.

        Raises:
            ConfigError: a limit is negative, a word is unknown, or a risk is no share.
        """
        if self.max_files < 0 or self.max_lines < 0:
            raise ConfigError("policy.max_files and policy.max_lines cannot be negative")
        for name in ("ask_risk", "approve_risk"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"policy.{name} must be from 0 to 1, as `impact` has the risk")
        for name, words in (("tests_may_change", _TESTS), ("mode", _MODES)):
            if getattr(self, name) not in words:
                raise ConfigError(
                    f"policy.{name} cannot be {getattr(self, name)!r}",
                    hint=f"it must be one of {', '.join(words)}",
                )

    @property
    def asks(self) -> bool:
        """Whether broken rules are a question to a person, and not a refusal."""
        return self.mode == "ask"

    def asks_for(self, paths: Sequence[str], risk: float) -> str:
        """Return why a change that breaks no rule waits for a person; empty if it does not."""
        held = [path for path in paths if matches(path, self.ask_paths)]
        if held:
            more = f" and {len(held) - 1} more" if len(held) > 1 else ""
            return f"{held[0]}{more} changes, which policy.ask_paths holds for a person"
        if self.ask_risk and risk >= self.ask_risk:
            return f"its risk of {risk:.2f} is not below policy.ask_risk ({self.ask_risk:g})"
        return ""

    def approves(self, paths: Sequence[str], risk: float) -> str:
        """Return the rule that approves a change in a person's place; empty if none does."""
        inside = bool(paths) and all(matches(path, self.approve_paths) for path in paths)
        if not inside or risk > self.approve_risk or self.asks_for(paths, risk):
            return ""
        only = ", ".join(self.approve_paths)
        return f"only {only} changes, and the risk of {risk:.2f} is at most {self.approve_risk:g}"

    def judge(
        self,
        change: Change,
        *,
        before: Contents,
        after: Contents,
        covered: frozenset[str] | None = None,
        links: Mapping[str, str] | None = None,
    ) -> Verdict:
        """Return every rule that the change breaks; an empty verdict allows it.

        Args:
            change: what the attempt wrote; its `files` are complete.
            before: contents at the base by path; best with pytest's settings (`SETTING_FILES`).
            after: contents at the head by path; of a link, its target.
            covered: the paths that tests reach, for `require_coverage`; None if unknown.
            links: the symbolic links of the base tree, path to target.
        """
        new_links = {
            file.path: (after.get(file.path) or b"").decode("utf-8", "surrogateescape")
            for file in change.files
            if file.mode == _LINK
        }
        # a file that becomes a link is gone for its readers, and the other way round
        linked = {file.path: None for file in change.files if file.old_mode in _NO_TEXT}
        now_linked = {file.path: None for file in change.files if file.mode in _NO_TEXT}
        old, new = {**before, **linked}, {**after, **now_linked}
        texts = [path for path in change.paths if path not in linked or path not in now_linked]
        findings = [
            *(
                f
                for file in change.files
                for f in _file(file, self, {**(links or {}), **new_links})
            ),
            *(f for file in change.files for f in _contents(file, self, before, after)),
            *_whole(change, self, before, after, covered),
        ]
        # the text of a test, a setting or a pipeline that is a link may be where nobody audits it
        findings += [
            finding("link", file.path, 0, f"a {file.kind} must be a file, not a link")
            for file in read_files(new_links, old, new).of(*_JUDGES)
        ]
        strict = self.tests_may_change == "added"
        findings += audit(texts, before=old, after=new, strict=strict)
        return Verdict(findings=tuple(dict.fromkeys(findings)))


def judge(
    change: Change,
    policy: Policy,
    *,
    before: Contents,
    after: Contents,
    covered: frozenset[str] | None = None,
    links: Mapping[str, str] | None = None,
) -> Verdict:
    """Return what a policy says of a change: `Policy.judge` under its former name."""
    return policy.judge(change, before=before, after=after, covered=covered, links=links)


def resolve(path: str, links: Mapping[str, str]) -> str | None:
    """Return where a repository-relative path leads, through links; None: out of the repository.

    `.` and empty parts go, `..` goes up; a chain of links that never ends leads nowhere (None).
    """
    todo = path.replace("\\", "/").split("/")[::-1]
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return None
    done: list[str] = []
    hops = 0
    while todo:
        part = todo.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not done:
                return None
            done.pop()
            continue
        target = links.get("/".join([*done, part]))
        if target is None:
            done.append(part)
            continue
        hops += 1
        # as Linux does: after 40 links it gives up (ELOOP)
        if hops > 40 or target.startswith("/") or re.match(r"[A-Za-z]:", target):
            return None
        todo += target.replace("\\", "/").split("/")[::-1]
    return "/".join(done)


def _is_protected(path: str, policy: Policy) -> bool:
    return matches(path, policy.protected) and not matches(path, policy.allow)


def _file(file: FileChange, policy: Policy, links: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what a changed path breaks by its name and kind, also where links lead it."""
    path = file.path
    parent, _, name = path.rpartition("/")
    where = resolve(parent, links)
    if where is None or ".." in path.split("/"):
        yield finding("outside-repository", path, 0, "is not inside the repository")
        where = resolve(re.sub(r"(?:^|/)\.\.(?=/)", "", path).rpartition("/")[0], {}) or ""
    resolved = f"{where}/{name}" if where else name
    # Protected is what any reading of the path reaches: as written, through the links of the
    # tree, and with its dots resolved but no link followed.
    for spelling in (path, resolved, resolve(path, {}) or ""):
        if spelling and _is_protected(spelling, policy):
            message = "is protected" if spelling == path else f"is {spelling}, which is protected"
            yield finding("protected-path", path, 0, message)
            break
    if file.mode == _LINK:
        target, leads_to = links.get(path, ""), resolve(path, links)
        if not policy.may_link:
            yield finding("link", path, 0, f"is a symbolic link to {target!r}")
        # A link to a folder above a protected path would give that path a second name.
        held = (fold(glob) for glob in policy.protected if glob not in policy.allow)
        if leads_to is None:
            yield finding("link-outside", path, 0, f"links out of the repository, to {target!r}")
        elif (
            not leads_to
            or _is_protected(leads_to, policy)
            or any(glob.startswith(f"{fold(leads_to)}/") for glob in held)
        ):
            message = f"links to {leads_to or 'the repository itself'}, which is protected"
            yield finding("link-to-protected", path, 0, message)
    if _SUBMODULE in {file.mode, file.old_mode} and not policy.may_submodule:
        yield finding("submodule", path, 0, "is a submodule: its contents cannot be judged")
    # A kept entry whose old side is gone was made anew, whatever letter git gave it.
    created = file.status == "A" or (file.old_mode == _GONE and file.mode != _GONE)
    if created and not policy.may_create:
        yield finding("file-created", path, 0, "no file may be created")
    if file.status == "D" and not policy.may_delete:
        yield finding("file-deleted", path, 0, "no file may be deleted")


def _contents(
    file: FileChange, policy: Policy, before: Contents, after: Contents
) -> Iterator[Finding]:
    """Yield what a changed file breaks by what it contains: programs and secrets."""
    path, body, old_body = file.path, after.get(file.path), before.get(file.path)
    if file.mode == _GONE or body is None:
        return
    executable = file.mode == "100755" != file.old_mode and not policy.may_make_executable
    # a script with its interpreter in its first line runs without the bit as well
    script = body.startswith(b"#!") and "/." not in f"/{path}"
    if executable and body.startswith(_RUNNABLE) and not script:
        yield finding("made-executable", path, 0, "becomes executable")
    if policy.allow_secrets or matches(path, policy.allow_secret_paths):
        return
    if is_secret_path(path) and old_body != body:
        yield finding("secret-file", path, 0, "contains secrets, going by its name")
    text, old = ((side or b"").decode("utf-8", "replace") for side in (body, old_body))
    old_secrets = {old[secret.start : secret.end] for secret in find_secrets(old)}
    shows = {Kind.TEST, Kind.SUPPORT, Kind.DATA, Kind.PROSE}
    for secret in find_secrets(text, examples=kind_of(file.path, effective({})) in shows):
        if text[secret.start : secret.end] not in old_secrets:
            yield finding("secret", path, secret.line, f"contains a secret ({secret.rule})")


def _whole(
    change: Change,
    policy: Policy,
    before: Contents,
    after: Contents,
    covered: frozenset[str] | None,
) -> Iterator[Finding]:
    """Yield what the change as a whole breaks: size, the guard's settings, tests, coverage."""
    files, lines = len(change.files), change.added + change.removed
    if files > policy.max_files:
        message = f"{files} files change, the limit is {policy.max_files}"
        yield finding("too-many-files", "", 0, message)
    if lines > policy.max_lines:
        message = f"{lines} lines change, the limit is {policy.max_lines}"
        yield finding("too-many-lines", "", 0, message)
    # Our own file is protected as a whole; this one is shared with every other tool, so that
    # only our tables are compared.
    if change.touches("pyproject.toml"):
        texts = (
            (side.get("pyproject.toml") or b"").decode("utf-8", "replace")
            for side in (before, after)
        )
        tools = (read_toml(text).get("tool") for text in texts)
        was, now = (
            [tool.get(name) if isinstance(tool, dict) else None for name in _GUARD_TABLES]
            for tool in tools
        )
        if was != now:
            message = "the settings of the guard change"
            yield finding("guard-settings", "pyproject.toml", 0, message)
    read = read_files(change.paths, before, after)
    tests = read.of(Kind.TEST, Kind.SUPPORT, Kind.DATA)
    guards = [path for path in change.paths if policy.guard and matches(path, policy.guard)]
    if guards and tests:
        message = f"the guard changes together with {tests[0].path}"
        yield finding("guard-and-tests", guards[0], 0, message)
    for file in tests if policy.tests_may_change == "no" else ():
        yield finding("test-changed", file.path, 0, "tests may not change")
    for file in read.of(Kind.SOURCE) if policy.require_coverage else ():
        if file.old is not None and file.path not in (covered or frozenset()):
            yield finding("not-covered", file.path, 0, "is modified, and no test reaches it")
