"""Pure. What each setting means: a sentence, what it counts in, and an example as it is written.

The reference page, `self-coding config` and the hints are made from this; a test holds it complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from self_coding.values.verdicts import LIMITS


class Explanation(NamedTuple):
    """What one setting means; `unit` is empty where nothing is counted."""

    about: str
    example: str
    unit: str = ""

    def allowed(self, name: str) -> str:
        """Return the range of a number of the gate, in words; empty for other settings."""
        limit = LIMITS.get(name.removeprefix("gate."))
        return limit.range if limit and name.startswith("gate.") else ""


_ = Explanation
EXPLANATIONS: Mapping[str, Explanation] = {
    "main_branch": _("The branch that changes land on.", '"master"'),
    "test_command": _(
        "The shell command that proves a change; it runs at the top of the tree.", '"npm test"'
    ),
    "branch_prefix": _("What the branches of edits begin with, before a slash.", '"agents"'),
    "land_as": _(
        "How a change gets onto main: a merge commit, one commit (squash), or its commits one by"
        " one (rebase).",
        '"squash"',
    ),
    "src_dirs": _(
        "The folders that are indexed; without it, wherever there is code.", '["src", "lib"]'
    ),
    "carry": _(
        "What git ignores and the worktrees of edits are given as a copy, as `.env`: nothing"
        " unless it is named here. Whoever edits there can read it.",
        '[".env"]',
    ),
    "actor": _("The name under which operations are logged, and undone.", '"ci"'),
    "database": _(
        "The PostgreSQL server that keeps the journal for several machines; empty for a file"
        " beside the repository. A repository has a schema of its own.",
        '"postgresql://agents@db.example/journals"',
    ),
    "editor": _(
        "The editor of `self-edit` where none is named: a preset, one of `editors`, or model.",
        '"claude"',
    ),
    "editors": _(
        "Editors of your own: name and shell command, in which {task} is replaced.",
        '{ mine = "./edit.sh {task}" }',
    ),
    "tries": _("How many attempts one self-edit may make, one after the other.", "3", "attempts"),
    "best_of": _(
        "How many attempts are made side by side; the smallest green one lands.", "3", "attempts"
    ),
    "edit_seconds": _("The wall time that one edit may take.", "600", "seconds"),
    "edit_days": _("How long a worktree that was handed out waits to be submitted.", "30", "days"),
    "approval_days": _("How long a green attempt waits for approval, then expires.", "3", "days"),
    "cost": _(
        "Where the attempts of a self-edit stop, in what the editor itself reports as its cost.",
        "2.5",
        "the editor's currency",
    ),
    "day_cost": _(
        "What the attempts that begin here within 24 hours may cost; beyond it none begins.",
        "20",
        "the editor's currency",
    ),
    "day_attempts": _(
        "How many attempts may begin within 24 hours in this repository.", "200", "attempts"
    ),
    "moves": _(
        "How often a change is tested anew because main has moved, before it gives up.",
        "10",
        "times",
    ),
    "land_together": _(
        "How many changes that wait green are tested and landed at once; 1 lands each alone.",
        "4",
        "changes",
    ),
    "task_characters": _("The longest task that is accepted.", "100_000", "characters"),
    "context_tokens": _(
        "How much an editor is shown of code, past attempts and lessons.", "8000", "tokens"
    ),
    "model.name": _("The language model, as provider:model; empty is none.", '"openai:gpt-5"'),
    "model.base_url": _(
        "The address of an OpenAI-compatible endpoint that is not the provider's own.",
        '"http://localhost:11434/v1"',
    ),
    "model.api_key_env": _("The variable that holds the key, which is in no file.", '"MY_KEY"'),
    "model.timeout": _("How long one answer of the model may take.", "300", "seconds"),
    "model.max_tokens": _("The longest answer of the model.", "16_000", "tokens"),
    "notice.command": _(
        "A shell command that is run when something needs a person; it reads the notice as JSON.",
        "'notify-send \"$(cat)\"'",
    ),
    "notice.url": _(
        "An address that the notice is posted to as JSON; rather set it by a variable.",
        '"https://hooks.example/T0"',
    ),
    "notice.seconds": _("How long a notice may take; then it is given up.", "5", "seconds"),
    "remote.name": _(
        "The git remote where changes land, with their receipts; without it, on main here.",
        '"origin"',
    ),
    "remote.seconds": _("How long it may take to answer a fetch or a push.", "30", "seconds"),
    "remote.land_by": _(
        "By a `push` of main, or by a `request` (pull request, merge request) that others merge.",
        '"request"',
    ),
    "remote.forge": _("Which forge it is, where its address does not tell.", '"forgejo"'),
    "remote.api": _("Where the forge's API is.", '"https://git.example/api/v1"'),
    "gate.timeout": _("The wall time that the test command may take.", "1800", "seconds"),
    "gate.cpu_seconds": _("The CPU time of one process of the tests.", "600", "seconds"),
    "gate.memory_bytes": _(
        "The data that one process of the tests, and all of them together, may hold.",
        "17179869184",
        "bytes",
    ),
    "gate.processes": _(
        "How many processes and threads the tests may have at one time.",
        "2000",
        "processes",
    ),
    "gate.file_bytes": _(
        "The largest file that tests may write, and all of their new files together.",
        "8589934592",
        "bytes",
    ),
    "gate.output_bytes": _(
        "How much of the output is kept, head and tail; the cut is marked.", "4194304", "bytes"
    ),
    "gate.mutant_seconds": _(
        "How long one measuring of mutants may take: before another try, or when it is asked for.",
        "0",
        "seconds",
    ),
    "gate.retries": _("How often a new failure runs again before it counts.", "0", "times"),
    "gate.require_sandbox": _(
        "The least isolation in which tests may run: bwrap, landlock, limits or none.", '"bwrap"'
    ),
    "gate.sandbox": _(
        "The isolation to use although there is better: bwrap, landlock, limits or none.",
        '"landlock"',
    ),
    "gate.network": _("Let the tests reach the network.", "true"),
    "gate.loopback": _("Let the tests use 127.0.0.1 where the sandbox has no private one.", "true"),
    "gate.python": _(
        "The interpreter of the tests; empty looks for an environment.", '".venv/bin/python"'
    ),
    "gate.readable": _(
        "Folders outside of the repository that the tests may read, such as a tool chain's.",
        '["~/.cargo/bin", "~/.rustup"]',
    ),
    "gate.carry": _(
        "Paths of your checkout that git does not hold and the tests need, lent read-only.",
        '["node_modules"]',
    ),
    "gate.setup_command": _(
        "Prepares a tree for its tests, once for each state of the files that name dependencies.",
        '"npm ci"',
    ),
    "gate.setup_network": _("Let `gate.setup_command` reach the network.", "true"),
    "gate.baseline": _(
        "Compare with main's own result, so that only new failures refuse a change.", "false"
    ),
    "gate.environment": _(
        "Variables that the tests get beside the standard few, by name.", '["DATABASE_URL"]'
    ),
    "gate.base_judge": _(
        "Run main's tests on the changed code, too, where the change edits tests.", "false"
    ),
    "gate.judging": _(
        "Further paths that judge, as tests do; with `!`, paths that only look as if they did.",
        '["spec/**", "!src/testing/**"]',
    ),
    "gate.tests": _(
        "What a change is tested with: `all`, or only the `affected` tests where these are known;"
        " then all run once for those that land together.",
        '"affected"',
    ),
    "policy.max_files": _("The most files that one change may touch.", "20", "files"),
    "policy.max_lines": _("The most lines it may add and remove.", "1000", "lines"),
    "policy.protected": _("Paths that no self-edit may touch.", '[".git/**", "deploy/**"]'),
    "policy.allow": _("Paths that are taken out of `policy.protected`.", '[".gitmodules"]'),
    "policy.guard": _("Paths that no change may touch together with a test.", '["src/billing/**"]'),
    "policy.require_coverage": _("Let only files be modified that some test reaches.", "true"),
    "policy.may_create": _("Let a change add files.", "false"),
    "policy.may_delete": _("Let a change delete files.", "false"),
    "policy.may_link": _("Let a change add symbolic links.", "false"),
    "policy.may_submodule": _("Let a change add or move submodules.", "true"),
    "policy.may_make_executable": _("Let a change make files executable.", "true"),
    "policy.allow_secrets": _("Let a change hold what looks like a secret.", "true"),
    "policy.allow_secret_paths": _(
        "Paths in which what looks like a secret is none.", '["tests/fixtures/**"]'
    ),
    "policy.tests_may_change": _(
        "What may happen to tests: audited (they may claim no less), added (only grow), or no.",
        '"added"',
    ),
    "policy.mode": _(
        "What becomes of a change that breaks a rule: refuse it, or ask a person.", '"ask"'
    ),
    "policy.ask_paths": _(
        "Paths whose change waits for a person's approval, whoever makes it.", '["src/billing/**"]'
    ),
    "policy.ask_risk": _(
        "The risk (see `impact`) from which a change waits for approval; 0 is off.", "0.6", "0 to 1"
    ),
    "policy.approve_paths": _(
        "What waits for approval and changes these paths alone is approved by rule, if its risk is"
        " at most `policy.approve_risk`, it breaks no rule and main's tests do not object.",
        '["docs/**", "*.md"]',
    ),
    "policy.approve_risk": _(
        "The most risk (see `impact`) at which `policy.approve_paths` approves.",
        "0.3",
        "0 to 1",
    ),
}
