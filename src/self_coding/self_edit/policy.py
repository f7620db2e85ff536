"""The rules for a change, and their verdict on it: pure, before anything runs.

`Policy` holds values that the caller read from the *base* commit's settings; nothing of the
change can loosen them. Paths are judged as git would write them and as they resolve: through
links, `..`, and the other spellings that some file systems take for the same name. It refuses
to run, read or guess: what only a run can show is the gate's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from self_coding.audit import Contents, Kind, audit, read_files, read_toml
from self_coding.errors import ConfigError
from self_coding.redaction import find_secrets, is_secret_path
from self_coding.values.repository import Change, FileChange
from self_coding.values.verdicts import Finding, Verdict

PROTECTED = (
    ".git", ".git/**", "**/.git", "**/.git/**",
    ".githooks/**", ".husky/**", "hooks/pre-*", "CODEOWNERS", "**/CODEOWNERS",
    ".gitmodules", "**/.gitattributes", ".self-coding.toml", "self-coding.toml",
    ".self-coding", ".self-coding/**",
)  # fmt: skip
"""What no self-edit may touch unless the project says otherwise: git's own files and hooks, who
must approve, the guard's settings, where worktrees lie. CI pipelines are audited line by line."""

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

    def __post_init__(self) -> None:
        """Refuse what could never be meant.

        Raises:
            ConfigError: a limit is negative, or a word is none of the known ones.
        """
        if self.max_files < 0 or self.max_lines < 0:
            raise ConfigError("policy.max_files and policy.max_lines cannot be negative")
        for name, words in (("tests_may_change", _TESTS), ("mode", _MODES)):
            if getattr(self, name) not in words:
                raise ConfigError(
                    f"policy.{name} cannot be {getattr(self, name)!r}",
                    hint=f"it is one of {', '.join(words)}",
                )

    @property
    def asks(self) -> bool:
        """Whether broken rules are a question to a person, and not a refusal."""
        return self.mode == "ask"

    def judge(
        self,
        change: Change,
        *,
        before: Contents,
        after: Contents,
        covered: frozenset[str] | None = None,
        links: Mapping[str, str] | None = None,
    ) -> Verdict:
        """What this policy says of the change; see `judge`."""
        return judge(change, self, before=before, after=after, covered=covered, links=links)


def judge(
    change: Change,
    policy: Policy,
    *,
    before: Contents,
    after: Contents,
    covered: frozenset[str] | None = None,
    links: Mapping[str, str] | None = None,
) -> Verdict:
    """Every rule that the change breaks; an empty verdict allows it.

    Args:
        change: what the attempt wrote; its `files` are whole.
        policy: the rules, read from the base.
        before: contents at the base by path; best with pytest's settings (`SETTING_FILES`).
        after: contents at the head by path; of a link, its target.
        covered: the paths that tests reach, for `require_coverage`; None where unknown.
        links: the symbolic links of the base tree, path to target.
    """
    known = {**(links or {}), **_links(change, after)}
    findings: list[Finding] = [
        *_size(change, policy),
        *_paths(change, policy, known),
        *_kinds(change, policy, known, after),
        *_guard(change, policy, before, after),
        *_coverage(change, policy, before, covered),
        *_secrets(change, policy, before, after),
    ]
    texts = [file.path for file in change.files if not {file.mode, file.old_mode} <= _NO_TEXT]
    before, after = _as_texts(change, before, after)
    findings += _links_of_tests(change, before, after)
    if policy.tests_may_change == "no":
        findings += _any_test(list(change.paths), before, after)
    strict = policy.tests_may_change == "added"
    findings += audit(texts, before=before, after=after, strict=strict)
    return Verdict(findings=tuple(dict.fromkeys(findings)))


def matches(path: str, globs: tuple[str, ...]) -> bool:
    """Whether a path matches one of the globs: `*` within a folder, `**` over any number of
    them; letter case and Unicode composition make no difference."""
    folded = fold(path)
    return any(_pattern(fold(glob)).fullmatch(folded) is not None for glob in globs)


def fold(path: str) -> str:
    """A path as the most forgiving file systems compare it: without case, composed, without
    invisible characters, trailing dots and spaces, or an NTFS stream."""
    text = unicodedata.normalize("NFKC", path).casefold().replace("\\", "/")
    text = re.sub("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]", "", text)
    parts = [re.sub(r"(?<=[^.])[. ]+$|::?\$.*$", "", part) for part in text.split("/")]
    return "/".join(".git" if part in {"git~1", ".git."} else part for part in parts)


def resolve(path: str, links: Mapping[str, str]) -> str | None:
    """Where a repository-relative path leads, through links; None: out of the repository.

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
        if hops > 40 or target.startswith("/") or re.match(r"[A-Za-z]:", target):
            return None
        todo += target.replace("\\", "/").split("/")[::-1]
    return "/".join(done)


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    out = ""
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif glob.startswith("**", at):
            out, at = out + ".*", at + 2
        elif glob[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif glob[at] == "?":
            out, at = out + "[^/]", at + 1
        else:
            out, at = out + re.escape(glob[at]), at + 1
    return re.compile(out + ("(?:/.*)?" if not glob.endswith("*") else ""), re.DOTALL)


def _links(change: Change, after: Contents) -> dict[str, str]:
    return {
        file.path: (after.get(file.path) or b"").decode("utf-8", "surrogateescape")
        for file in change.files
        if file.mode == _LINK
    }


def _size(change: Change, policy: Policy) -> Iterator[Finding]:
    if len(change.files) > policy.max_files:
        message = f"{len(change.files)} files change, the limit is {policy.max_files}"
        yield Finding(rule="too-many-files", message=message)
    if change.added + change.removed > policy.max_lines:
        message = f"{change.added + change.removed} lines change, the limit is {policy.max_lines}"
        yield Finding(rule="too-many-lines", message=message)


def _is_protected(path: str, policy: Policy) -> bool:
    return matches(path, policy.protected) and not matches(path, policy.allow)


def _paths(change: Change, policy: Policy, links: Mapping[str, str]) -> Iterator[Finding]:
    for file in change.files:
        parent, _, name = file.path.rpartition("/")
        where = resolve(parent, links)
        if where is None or ".." in file.path.split("/"):
            message = "does not lie inside the repository"
            yield Finding(rule="outside-repository", path=file.path, message=message)
            where = resolve(re.sub(r"(?:^|/)\.\.(?=/)", "", file.path).rpartition("/")[0], {}) or ""
        resolved = f"{where}/{name}" if where else name
        for spelling in dict.fromkeys((file.path, resolved, resolve(file.path, {}) or "")):
            if spelling and _is_protected(spelling, policy):
                message = "is protected" if spelling == file.path else f"is {spelling}: protected"
                yield Finding(rule="protected-path", path=file.path, message=message)
                break


def _kinds(
    change: Change, policy: Policy, links: Mapping[str, str], after: Contents
) -> Iterator[Finding]:
    for file in change.files:
        if file.mode == _LINK:
            yield from _link(file, policy, links)
        if _SUBMODULE in {file.mode, file.old_mode} and not policy.may_submodule:
            message = "is a submodule: its contents cannot be judged"
            yield Finding(rule="submodule", path=file.path, message=message)
        executable = file.mode == "100755" != file.old_mode and not policy.may_make_executable
        if executable and (after.get(file.path) or b"").startswith(_RUNNABLE):
            yield Finding(rule="made-executable", path=file.path, message="becomes executable")
        created = file.old_mode == _GONE and file.mode != _GONE
        if (created or file.status == "A") and not policy.may_create:
            yield Finding(rule="file-created", path=file.path, message="no file may be created")
        if file.status == "D" and not policy.may_delete:
            yield Finding(rule="file-deleted", path=file.path, message="no file may be deleted")


def _link(file: FileChange, policy: Policy, links: Mapping[str, str]) -> Iterator[Finding]:
    """A new link: where it leads decides."""
    target = links.get(file.path, "")
    where = resolve(file.path, links)
    if not policy.may_link:
        yield Finding(rule="link", path=file.path, message=f"is a symbolic link to {target!r}")
    if where is None:
        message = f"links out of the repository, to {target!r}"
        yield Finding(rule="link-outside", path=file.path, message=message)
    elif not where or _is_protected(where, policy) or _leads_to_protected(where, policy):
        message = f"links to {where or 'the repository itself'}, which is protected"
        yield Finding(rule="link-to-protected", path=file.path, message=message)


def _leads_to_protected(where: str, policy: Policy) -> bool:
    """Whether a folder holds protected paths, as far as the globs tell."""
    return any(
        fold(glob).startswith(fold(where) + "/")
        for glob in policy.protected
        if glob not in policy.allow
    )


def _guard(change: Change, policy: Policy, before: Contents, after: Contents) -> Iterator[Finding]:
    """The guard's settings never change; the guard never together with a test."""
    for path in ("pyproject.toml",):
        if change.touches(path):
            was, now = (_guard_tables(contents.get(path)) for contents in (before, after))
            if was != now:
                message = "the settings of the guard change"
                yield Finding(rule="guard-settings", path=path, message=message)
    guards = [path for path in change.paths if policy.guard and matches(path, policy.guard)]
    if guards:
        files = read_files(change.paths, before, after)
        tests = files.of(Kind.TEST, Kind.SUPPORT, Kind.DATA)
        if tests:
            message = f"the guard changes together with {tests[0].path}"
            yield Finding(rule="guard-and-tests", path=guards[0], message=message)


def _guard_tables(body: bytes | None) -> list[object]:
    document = read_toml((body or b"").decode("utf-8", "replace"))
    tool = document.get("tool", {})
    return [tool.get(name) if isinstance(tool, dict) else None for name in _GUARD_TABLES]


def _coverage(
    change: Change, policy: Policy, before: Contents, covered: frozenset[str] | None
) -> Iterator[Finding]:
    if not policy.require_coverage:
        return
    for file in read_files(change.paths, before, {}).of(Kind.SOURCE):
        if file.old is not None and file.path not in (covered or frozenset()):
            message = "is modified, and no test reaches it"
            yield Finding(rule="not-covered", path=file.path, message=message)


def _secrets(
    change: Change, policy: Policy, before: Contents, after: Contents
) -> Iterator[Finding]:
    if policy.allow_secrets:
        return
    for file in change.files:
        body = after.get(file.path)
        if file.mode == _GONE or body is None:
            continue
        allowed = matches(file.path, policy.allow_secret_paths)
        if is_secret_path(file.path) and not allowed and before.get(file.path) != body:
            yield Finding(rule="secret-file", path=file.path, message="holds secrets by its name")
        text, old = (
            (side or b"").decode("utf-8", "replace") for side in (body, before.get(file.path))
        )
        known = {old[s.start : s.end] for s in find_secrets(old)} if old else set()
        for secret in [] if allowed else find_secrets(text):
            if text[secret.start : secret.end] not in known:
                message = f"holds a secret ({secret.rule})"
                yield Finding(rule="secret", path=file.path, line=secret.line, message=message)


def _as_texts(change: Change, before: Contents, after: Contents) -> tuple[Contents, Contents]:
    """The contents without those of links: a file that becomes one is gone for its readers."""
    was = {file.path: None for file in change.files if file.old_mode in _NO_TEXT}
    now = {file.path: None for file in change.files if file.mode in _NO_TEXT}
    return {**before, **was}, {**after, **now}


def _links_of_tests(change: Change, before: Contents, after: Contents) -> Iterator[Finding]:
    """A test, a setting or a pipeline that is a link: its text may lie where nobody audits it."""
    links = [file.path for file in change.files if file.mode == _LINK]
    for file in read_files(links, before, after).of(*_JUDGES):
        message = f"a {file.kind} must be a file, not a link"
        yield Finding(rule="link", path=file.path, message=message)


def _any_test(paths: list[str], before: Contents, after: Contents) -> Iterator[Finding]:
    for file in read_files(paths, before, after).of(Kind.TEST, Kind.SUPPORT, Kind.DATA):
        yield Finding(rule="test-changed", path=file.path, message="tests may not change")
