"""What runs with the project's keys or on people's machines: CI pipelines and commit hooks.

Pure, on text. An ordinary edit of them passes; one that gives a pipeline a power it did not have,
or takes away what sets it off, is a question for a person. It does not look into the actions, hooks
and installers that a pipeline names: like dependencies, they are the project's to trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from self_coding.audit.files import File, Files
from self_coding.values.verdicts import Finding

_PIPELINE = re.compile(
    r"\.(?:github/(?:workflows|actions)|circleci|gitlab|buildkite|woodpecker|forgejo)/.*|"
    r"\.gitlab-ci\.yml|\.travis\.yml|\.?appveyor\.yml|\.cirrus\.yml|azure-pipelines\.ya?ml|"
    r"bitbucket-pipelines\.yml|jenkinsfile|\.pre-commit-config\.yaml",
    re.IGNORECASE,
)
_POWERS = (
    (
        "is set off by others, with the project's keys",
        r"\b(?:pull_request_target|workflow_run|issue_comment|repository_dispatch)\b",
    ),
    ("may write", r"[\w\"'-]+\s*:\s*[\"']?write\b|\bwrite-all\b"),
    (
        "reads a secret",
        r"\$\{\{[^}]*\bsecrets\b(?!\s*\.\s*GITHUB_TOKEN\b)[^}]*|\bsecrets\s*:\s*inherit|"
        r"\bcredentials\s*\([^)]*",
    ),
    ("runs on the project's own machines", r"\bself-hosted\b|\bruns-on\s*:\s*\{.*"),
    ("runs a command of its own at each commit", r"\bentry\s*:.*"),
    ("is written in escapes", r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})"),
)
_EVENTS = re.compile(r"\b(?:push|pull_request|schedule|merge_group)\b")
_NARROWED = re.compile(
    r"^[ \t-]*[\"']?(?:branches|branches-ignore|paths|paths-ignore|types)[\"']?[ \t]*:|"
    r"\bwhen[ \t]*:[ \t]*(?:never|manual)\b",
    re.MULTILINE,
)
_TRIGGERS = re.compile(r"^[\"']?on[\"']?[ \t]*:.*(?:\n(?:[ \t].*|[ \t]*))*", re.MULTILINE)
_PERMISSIONS = re.compile(r"^[ \t]*permissions[ \t]*:", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_COMMENT_LINE = re.compile(r"^\s*#.*")


def is_pipeline(path: str) -> bool:
    """Whether a path configures a CI pipeline or the hooks of `pre-commit`."""
    return _PIPELINE.fullmatch(path) is not None


def audit_pipelines(files: Files) -> Iterator[Finding]:
    """Every power that the changed pipelines gain, and each one that is set off less."""
    changed = [file for file in files.changed if is_pipeline(file.path)]
    known = "\n".join(_live(file.old) for file in changed)  # one may have moved to another file
    for power, pattern in _POWERS:
        had = {_told(match) for match in re.finditer(pattern, known)}
        for file in changed:
            yield from _gained(file, power, pattern, had)
    for file in changed:
        if file.old is not None and file.new is not None:
            yield from _unbound(file)
            yield from _set_off_less(file)


def _gained(file: File, power: str, pattern: str, had: set[str]) -> Iterator[Finding]:
    for number, line in enumerate(_live(file.new).split("\n"), 1):
        for match in re.finditer(pattern, line):
            if _told(match) not in had:
                message = f"{power}: `{_told(match)[:80]}`"
                yield Finding(rule="pipeline-power", path=file.path, line=number, message=message)


def _unbound(file: File) -> Iterator[Finding]:
    """A pipeline without `permissions` has what the project's settings give, which may be all."""
    was, now = (len(_PERMISSIONS.findall(_live(text))) for text in (file.old, file.new))
    if now < was:
        message = "no longer bounds what it may do by `permissions`"
        yield Finding(rule="pipeline-power", path=file.path, message=message)


def _set_off_less(file: File) -> Iterator[Finding]:
    was, now = _triggers(file.old), _triggers(file.new)
    if _EVENTS.search(was) and not _EVENTS.search(now):
        message = "neither a push nor a pull request sets it off any more"
        yield Finding(rule="pipeline-off", path=file.path, message=message)
    elif len(_NARROWED.findall(now)) > len(_NARROWED.findall(was)):
        message = "is set off by less than it was"
        yield Finding(rule="pipeline-off", path=file.path, message=message)


def _triggers(text: str | None) -> str:
    """What sets a pipeline off: the part under `on`, or all of it in the formats without one."""
    code = "\n".join(_COMMENT.sub("", line) for line in (text or "").split("\n"))
    found = _TRIGGERS.search(code)
    return found[0] if found else code


def _live(text: str | None) -> str:
    """The lines, without those that are comments as a whole: a `#` within one may be live text."""
    return "\n".join(_COMMENT_LINE.sub("", line) for line in (text or "").split("\n"))


def _told(match: re.Match[str]) -> str:
    return " ".join(match[0].split())
