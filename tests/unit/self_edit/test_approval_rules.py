"""Approval by rule: off unless main's own settings turn it on, for what they name and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from memory_services import Disk, MemoryEditor, MemoryRules, memory_services
from self_coding import open_app
from self_coding.app import App
from self_coding.errors import ConfigError
from self_coding.self_edit import SelfEdit
from self_coding.self_edit.policy import Policy
from self_coding.testing import SAMPLE, ScriptedEditor, sample_repo
from self_coding.values.edits import Limits, Question

RULES = (
    '[policy]\napprove_paths = ["docs/**", "*.md"]\napprove_risk = 0.2\nask_paths = ["src/**"]\n'
)
DOCS, CODE = {"docs/how.md": "How.\n"}, {"src/calc/new.py": "x = 1\n"}


def _app(path: Path, settings: str) -> App:
    files = {**SAMPLE, "self-coding.toml": 'test_command = "true"\n' + settings}
    return open_app(sample_repo(path / "repository", files), environ={})


async def _propose(app: App, files: dict[str, str]) -> str:
    """How a proposed edit stands in the end."""
    done = await app.edit.self_edit("Do it", editor=ScriptedEditor(files), hold=True)
    return done.stage


async def test_nothing_is_approved_unless_it_is_set(tmp_path: Path) -> None:
    """Without the settings a proposal waits, whatever it changes."""
    assert await _propose(_app(tmp_path, ""), DOCS) == "waiting"


async def test_what_a_rule_names_lands_and_says_so(tmp_path: Path) -> None:
    """Only docs, low risk: it lands; the journal has the rule, the moment and what was shown."""
    app = _app(tmp_path, RULES)
    assert await _propose(app, DOCS) == "landed"
    (told,) = (await app.edit.inbox()).decided
    assert (told.decision, told.stage) == ("approved", "landed")
    assert told.person.startswith("rule: only docs/**, *.md changes, and the risk of 0.")
    assert told.shown.startswith("1 file, +1 -0")
    (event,) = [one for one in await app.journal.events(1) if one.kind == "approved"]
    shown = event.data["shown"]
    assert isinstance(shown, dict)
    assert shown["tree"]
    assert shown["findings"] == []


async def test_one_path_outside_is_enough_to_wait(tmp_path: Path) -> None:
    """A change of docs and code together waits for a person."""
    assert await _propose(_app(tmp_path, RULES), {**DOCS, **CODE}) == "waiting"


async def test_what_is_held_waits_though_nobody_proposed_it(tmp_path: Path) -> None:
    """Paths that are held for a person wait, and say why; a person's word lands them."""
    app = _app(tmp_path, RULES)
    done = await app.edit.self_edit("Add it", editor=ScriptedEditor(CODE))
    assert done.stage == "waiting"
    (need,) = (await app.edit.inbox()).needs
    assert "policy.ask_paths" in need.why
    assert (await app.edit.land_edit(done.attempt_id or 0)).success
    (told,) = (await app.edit.inbox()).decided
    assert told.person.startswith("Sample <")


async def test_a_change_cannot_approve_itself(tmp_path: Path) -> None:
    """The rule is read from main: a change that brings one along waits like any other."""
    app = _app(tmp_path, '[policy]\nallow = ["self-coding.toml"]\n')
    loosened = {**DOCS, "self-coding.toml": RULES.replace("docs/**", "**")}
    done = await app.edit.self_edit("Do it", editor=ScriptedEditor(loosened), hold=True)
    assert done.stage == "waiting"


async def test_who_asks_a_person_gets_a_person(tmp_path: Path) -> None:
    """Where somebody sits at the question, no rule answers it for them."""
    app, asked = _app(tmp_path, RULES), list[Question]()

    def ask(question: Question) -> bool:
        asked.append(question)
        return False

    done = await app.edit.self_edit("Do it", editor=ScriptedEditor(DOCS), ask=ask)
    assert (done.stage, len(asked)) == ("refused", 1)


async def test_a_broken_rule_is_never_approved_by_rule(tmp_path: Path) -> None:
    """What a policy that asks would put to a person waits for one."""
    app = _app(tmp_path, RULES.replace("[policy]", '[policy]\nmode = "ask"\nmax_lines = 0'))
    assert await _propose(app, DOCS) == "waiting"


@pytest.mark.parametrize("holds", [True, False])
async def test_an_approval_by_rule_ends_with_the_rule(tmp_path: Path, holds: bool) -> None:
    """Main moved and it was tested anew: where the rule no longer holds, it waits for a person."""
    disk, rules = Disk(), MemoryRules(rule="only docs")
    layer = SelfEdit(memory_services(disk, rules), leases=tmp_path, limits=Limits())
    landing, count = layer.services.repository.land, 0

    async def land(*given: object, **more: object) -> object:
        nonlocal count
        count += 1
        if count == 1:
            disk.main.append(disk.main[-1] + "x")
            disk.trees[disk.main[-1]] = dict(disk.trees[disk.main[0]])
            object.__setattr__(rules, "rule", "only docs" if holds else "")
        return await landing(*given, **more)  # type: ignore[arg-type]

    layer.services.repository.land = land  # type: ignore[method-assign, assignment]
    editor = MemoryEditor(disk, {1: {"b.py": "2"}})
    done = await layer.self_edit("edit", editor=editor, hold=True)
    kinds = [event.kind for event in disk.events[1]]
    assert "moved" in kinds
    assert done.stage == ("landed" if holds else "waiting")


def test_risk_and_paths_are_held_to_their_words() -> None:
    """Paths turn it on; more risk than the bound waits; a risk is a share."""
    docs = Policy(approve_paths=("docs/**",))
    assert docs.approves(["docs/a.md"], 0.2)
    assert not docs.approves(["docs/a.md"], 0.21)
    assert not docs.approves(["docs/a.md", "a.py"], 0.0)
    assert not docs.approves([], 0.0)
    assert not Policy(approve_risk=1.0).approves(["a.md"], 0.0)
    held = Policy(approve_paths=("**",), approve_risk=1.0, ask_risk=0.5, ask_paths=("b/**",))
    assert held.approves(["a.md"], 0.4)
    assert "0.50" in held.asks_for(["a.md"], 0.5)
    assert not held.approves(["b/x", "a.md"], 0.1)
    with pytest.raises(ConfigError, match="ask_risk"):
        Policy(ask_risk=7)
