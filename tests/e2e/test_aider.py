"""A real agent as the editor: aider, against a server on loopback that plays its model.

Run by hand, with aider installed where it may be and the histories where they lie:
`RUN_AIDER=/path/to/aider RUN_HISTORY=/path/to/cachetools.bundle
python -m pytest tests/e2e/test_aider.py -m slow -n 0`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openai_server import Say, serving

AIDER = os.environ.get("RUN_AIDER", "")
HISTORY = os.environ.get("RUN_HISTORY", "")
KEYS = "src/cachetools/keys.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(500),
    pytest.mark.skipif(not (AIDER and HISTORY), reason="no aider, or no history to edit"),
]

REPLY = """\
I make the edit that was asked for.

{path}
```python
<<<<<<< SEARCH
{search}
=======
{replace}
>>>>>>> REPLACE
```
"""
METHODKEY = '''\
def methodkey(self, *args, **kwargs):
    """Return a cache key for use with cached methods."""
    return hashkey(*args, **kwargs)'''
GOOD = (
    METHODKEY
    + '''


def pairkey(left, right):
    """Return a cache key for two hashable arguments, whatever their order."""
    return frozenset((left, right))'''
)
BAD = METHODKEY.replace("return hashkey(*args, **kwargs)", "return hashkey(self, *args, **kwargs)")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    clone = tmp_path / "cachetools"
    subprocess.run(["git", "clone", "-q", HISTORY, str(clone)], check=True)
    return clone


def _git(repository: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=repository, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _try(
    repository: Path, task: str, replace: str
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, object]]]:
    """One self-edit by aider, whose model says the same thing whenever it is asked."""
    home = repository.parent / "home"
    home.mkdir(exist_ok=True)
    reply = REPLY.format(path=KEYS, search=METHODKEY, replace=replace)
    with serving(Say(reply)) as script:
        env = {
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), str(Path(AIDER).parent), "/usr/bin", "/bin"]
            ),
            "HOME": str(home),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "OPENAI_API_BASE": script.url,
            "OPENAI_API_KEY": "none",
            "AIDER_MODEL": "openai/scripted",
            "AIDER_EDIT_FORMAT": "diff",
            "AIDER_STREAM": "false",
            "AIDER_ANALYTICS": "false",
            "AIDER_SHOW_RELEASE_NOTES": "false",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "SELF_CODING_MAIN_BRANCH": "master",
        }
        done = subprocess.run(
            [sys.executable, "-m", "self_coding", "--json", "try", task, "--editor", "aider"],
            cwd=repository, env=env, capture_output=True, text=True, timeout=450,
        )  # fmt: skip
        return done, script.asked


def test_what_aider_edits_lands(repository: Path) -> None:
    """Aider edits in the worktree, the project's own tests pass there, and only its edit lands."""
    before = _git(repository, "rev-parse", "master")
    done, asked = _try(repository, "Add pairkey, a key for two arguments in any order", GOOD)
    result = json.loads(done.stdout)
    assert done.returncode == 0, (result, done.stderr)
    assert asked, "aider asked its model"
    assert _git(repository, "rev-parse", "master") == result["commit_hash"] != before
    assert "def pairkey" in _git(repository, "show", f"master:{KEYS}")
    assert _git(repository, "diff", "--name-only", before, "master") == KEYS


def test_a_bad_edit_of_aider_is_refused(repository: Path) -> None:
    """An edit that breaks the project's tests stays off main; the failing tests are named."""
    before = _git(repository, "rev-parse", "master")
    done, _ = _try(repository, "Let methodkey tell its instances apart", BAD)
    result = json.loads(done.stdout)
    assert (done.returncode, result["success"], result["by"]) == (1, False, "gate"), done.stderr
    assert any("test_methodkey" in test for test in result["failing_tests"])
    assert _git(repository, "rev-parse", "master") == before
