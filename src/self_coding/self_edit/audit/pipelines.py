"""What runs with the project's keys or on people's machines: CI pipelines and commit hooks.

Pure, on text. An ordinary edit of them passes; one that gives a pipeline a power it did not have,
or takes away what sets it off, is a question for a person. It does not look into the actions, hooks
and installers that a pipeline names: like dependencies, they are the project's to trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from self_coding.self_edit.audit.files import File, Files
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
        r"\$\{\{[^}]*\bsecrets\b(?!\s*\.\s*GITHUB_TOKEN\b)[^}]*|\bsecrets\s*:\s*inherit",
    ),
    ("runs on the project's own machines", r"\bself-hosted\b"),
    ("runs a command of its own at each commit", r"\bentry\s*:.*"),
)
_EVENTS = re.compile(r"\b(?:push|pull_request|schedule|merge_group)\b")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def is_pipeline(path: str) -> bool:
    """Whether a path configures a CI pipeline or the hooks of `pre-commit`."""
    return _PIPELINE.fullmatch(path) is not None


def audit_pipelines(files: Files) -> Iterator[Finding]:
    """Every power that the changed pipelines gain, and each one that nothing sets off any more."""
    changed = [file for file in files.changed if is_pipeline(file.path)]
    known = "\n".join(_code(file.old) for file in changed)  # one may have moved to another file
    for power, pattern in _POWERS:
        had = {_told(match) for match in re.finditer(pattern, known, re.MULTILINE)}
        for file in changed:
            yield from _gained(file, power, pattern, had)
    for file in changed:
        was, now = (_EVENTS.search(_code(text)) for text in (file.old, file.new))
        if was and not now and file.new is not None:
            message = "neither a push nor a pull request sets it off any more"
            yield Finding(rule="pipeline-off", path=file.path, message=message)


def _gained(file: File, power: str, pattern: str, had: set[str]) -> Iterator[Finding]:
    for number, line in enumerate(_code(file.new).splitlines(), 1):
        for match in re.finditer(pattern, line):
            if _told(match) not in had:
                message = f"{power}: `{_told(match)[:80]}`"
                yield Finding(rule="pipeline-power", path=file.path, line=number, message=message)


def _told(match: re.Match[str]) -> str:
    return " ".join(match[0].split())


def _code(text: str | None) -> str:
    """The lines without their comments."""
    return "\n".join(_COMMENT.sub("", line) for line in (text or "").splitlines())
