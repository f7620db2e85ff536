"""Tasks made of a repository's own history: a past commit's message, and the files it changed.

Many and cheap, so that small differences show; noisy, because many a message says little. Used by
`localize.py --made`. What a task's files must be is what the development set's are: source files
that were there before, neither tests nor beside the product.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from self_coding import languages
from self_coding.codebase_indexer import ranking

_FORMAT = "--format=%x01%H %P%x02%B%x02"
_TEST = re.compile(
    r"(?:^|/)(?:tests?|testing)/|(?:^|/)(?:test_[^/]*|[^/]*_test|conftest|tests)\.py$"
)
_TRAILER = re.compile(
    r"^(?:co-authored-by|git-svn-id|signed-off-by|change-id|reviewed-by)\b.*$", re.I | re.M
)
_NUMBER = re.compile(r"\(?(?:\b[\w-]+/[\w-]+)?#\d+\)?|https?://\S+/(?:issues|pull)/\d+")
_ROUTINE = re.compile(r"\b(?:bump|merge|revert|release|version)\b|^v?\d+\.\d+|pre-commit", re.I)
_FILES, _PRODUCT = 10, 5  # a commit of more files, or of more of the product, is no task
_YOUNG = 0.12  # the share of a history that is left out, because nothing precedes it
_CHARACTERS = 500


def tasks(bare: Path, repo: str, many: int) -> list[dict[str, Any]]:
    """At most so many tasks of one history, oldest first, always the same ones."""
    found = list(_found(bare, repo))
    found = found[int(len(found) * _YOUNG) :]
    chosen = random.Random(11).sample(range(len(found)), min(many, len(found)))
    return [found[at] for at in sorted(chosen)]


def _found(bare: Path, repo: str) -> Iterator[dict[str, Any]]:
    log = ["log", "--all", "--no-merges", "--topo-order", "--reverse", "-z", "--raw", "-r"]
    argv = ["git", "-C", str(bare), *log, "--no-renames", _FORMAT]
    text = subprocess.run(argv, check=True, capture_output=True).stdout.decode("utf-8", "replace")
    for part in text.split("\x01")[1:]:
        head, message, changes = part.split("\x02")[:3]
        task = _NUMBER.sub("", _TRAILER.sub("", message)).strip()[:_CHARACTERS]
        files = _files([token.strip() for token in changes.split("\0") if token.strip()])
        _, *parents = head.split()
        if len(parents) == 1 and files and _tells(task.partition("\n")[0]):
            base = {
                "repo": repo,
                "kind": "made",
                "base_commit": parents[0],
                "commit": head.split()[0],
            }
            yield {**base, "task": task, "files": files}


def _files(tokens: list[str]) -> list[str]:
    """The files of the product that a commit changed; none when it is too wide for a task."""
    changed = [(tokens[at].split()[-1], tokens[at + 1]) for at in range(0, len(tokens) - 1, 2)]
    files = sorted(
        path
        for status, path in changed
        if status == "M" and languages.is_source(path)
        if not (_TEST.search(path) if path.endswith(".py") else languages.is_test(path))
        if not ranking.is_auxiliary(path)
    )
    return files if len(changed) <= _FILES and len(files) <= _PRODUCT else []


def _tells(title: str) -> bool:
    return len(re.findall(r"\w{2,}", title)) >= 3 and not _ROUTINE.search(title)
