"""Code that takes part in the judging of tests."""

import pytest
from audit_case import rules

FIXTURE = (
    "import shop\n\n\n@pytest.fixture()\ndef cheap(monkeypatch):\n"
    "    monkeypatch.setattr(shop, 'rate', lambda: 0)\n"
)


def test_a_fixture_that_becomes_automatic_is_new() -> None:
    """What a fixture did for who asked, it may not do for every test: its call is not new."""
    before = {"tests/conftest.py": FIXTURE}
    automatic = FIXTURE.replace("fixture()", "fixture(autouse=True)")
    assert rules(before, {"tests/conftest.py": automatic}) == ["autouse-patch"]
    assert rules(before, {"tests/conftest.py": FIXTURE + "\n\nX = 1\n"}) == []


def test_an_exit_is_ordinary_only_in_a_script() -> None:
    """The block under `if __name__` at the top level runs only by itself; any other may be run."""
    leave = "import os\n\n{}    os._exit(0)\n"
    script = leave.format('if __name__ == "__main__":\n')
    inner = leave.format('def f():\n  if __name__ == "__main__":\n')
    assert rules({"src/a.py": ""}, {"src/a.py": script}) == []
    assert rules({"src/a.py": ""}, {"src/a.py": inner}) == ["exit-forced"]


HOOK = "def pytest_collection_modifyitems(items):\n    {}\n    items.sort()\n"


def test_an_edited_hook_that_decides_nothing_new_passes() -> None:
    """What a hook says may change; what it does with the tests may not."""
    before = {"tests/conftest.py": HOOK.format("print('a')")}
    assert rules(before, {"tests/conftest.py": HOOK.format("print('b', len(items))")}) == []
    decides = {"tests/conftest.py": HOOK.format("items[:] = items[1:]")}
    assert rules(before, decides) == ["outcome-hook"]
    speaks_of = {"tests/conftest.py": HOOK.format("items[0].listener.write([])")}
    assert rules(before, speaks_of) == ["outcome-hook"]


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        ("gc.freeze()", []),
        ("cache = tags.cache\n    cache.clear()", []),
        ("session.items.clear()", ["outcome-hook"]),
        ("tests = session.items\n    tests.clear()", ["outcome-hook"]),
        ("pytest.skip('x')", ["outcome-hook"]),
        ("return 1", ["outcome-hook"]),
    ],
)
def test_a_new_hook_decides_by_what_it_was_given(body: str, broken: list[str]) -> None:
    """A hook that leaves alone what it is given, and says nothing, changes no outcome."""
    hook = f"import pytest\n\n\ndef pytest_collection_finish(session):\n    {body}\n"
    assert rules({"tests/conftest.py": ""}, {"tests/conftest.py": hook}) == broken


def test_a_plugin_is_judged_by_its_tests() -> None:
    """A project that is a plugin of pytest may grow hooks, and import more of pytest."""
    old = "import pytest\n\n\ndef pytest_addoption(parser):\n    parser.add()\n"
    new = f"import _pytest.python\n{old}\n\ndef pytest_collection_finish(a):\n    a.b = 1\n"
    assert rules({"src/a.py": old}, {"src/a.py": new}) == []
    assert "test-detected" in rules({"src/a.py": ""}, {"src/a.py": new})


def test_what_moves_is_not_new() -> None:
    """A hook may move to another file of the change."""
    hook = HOOK.format("items.clear()")
    assert rules({"tests/conftest.py": hook, "a/conftest.py": ""}, {"a/conftest.py": hook}) == []


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        (
            "collect_ignore = ['setup.py']",
            "collect_ignore = []\ncollect_ignore.append('setup.py')",
            [],
        ),
        ("x = 'test_a.py'", "collect_ignore = ['test_a.py']", ["collection-narrowed"]),
    ],
)
def test_what_was_left_out_may_stay_so(old: str, new: str, broken: list[str]) -> None:
    """Only what was left out before excuses an entry, not any text of the file."""
    assert rules({"tests/conftest.py": old}, {"tests/conftest.py": new}) == broken


MARKER = """import os
import pytest


def pytest_collection_modifyitems(items):
    if hasattr(os, "link"):
        return
    for item in items:
        if item.get_closest_marker("links"):
            item.add_marker(pytest.mark.{mark})
"""


@pytest.mark.parametrize(
    ("mark", "condition", "told"),
    [
        ("skip(reason='none here')", 'item.get_closest_marker("links")', False),
        ("skip(reason='none here')", '"links" in item.keywords', False),
        ("skip(reason='none here')", "True", True),
        ("xfail(reason='none here')", 'item.get_closest_marker("links")', True),
    ],
)
def test_a_hook_may_skip_what_is_marked(mark: str, condition: str, told: bool) -> None:
    """What is skipped by its mark shows in the run; what is skipped anyhow, or may fail, counts."""
    text = MARKER.format(mark=mark).replace('item.get_closest_marker("links")', condition)
    found = rules({}, {"tests/conftest.py": text})
    assert found == (["outcome-hook"] if told else [])


def test_conditions_of_a_hook_are_what_they_say() -> None:
    """Two conditions, one inside the other, are both; to decide without one of them is more."""
    head = "def pytest_collection_modifyitems(items):\n    for item in items:\n"
    nested = head + "        if a(item):\n            if b(item):\n                item.drop()\n"
    both = head + "        if a(item) and b(item):\n            item.drop()  # pytest\n"
    one = head + "        if a(item):\n            item.drop()  # pytest\n"
    found = [rules({"tests/conftest.py": nested}, {"tests/conftest.py": t}) for t in (both, one)]
    assert found == [[], ["outcome-hook"]]


def test_a_child_that_the_tests_fork_may_leave() -> None:
    """A helper for forked processes may end one; a conftest, and code that forks nothing, not."""
    text = "import os\n\n\ndef leave(status):\n    os._exit(status)\n"
    forks = text + "\n\ndef fork():\n    return os.fork()\n"
    assert rules({}, {"tests/fork_helpers.py": forks}) == []
    for path, body in (
        ("tests/conftest.py", forks), ("tests/helpers.py", text), ("src/shop.py", forks),
        ("tests/helpers.py", forks + "\n\nos._exit(0)\n"),
    ):  # fmt: skip
        assert rules({}, {path: body}) == ["exit-forced"], path


def test_types_make_no_new_fixture() -> None:
    """An automatic fixture that says its types now is the one that was there."""
    old = (
        "import pytest\nimport shop\n\n\n@pytest.fixture(autouse=True)\n"
        "def cheap(request, monkeypatch):\n"
        "    monkeypatch.setattr(shop, 'rate', request.param)\n"
    )
    typed = old.replace("request,", "request: Request,").replace(
        "monkeypatch)", "monkeypatch: M) -> None"
    )
    other = old.replace("request.param", "request.node")
    found = [rules({"tests/conftest.py": old}, {"tests/conftest.py": t}) for t in (typed, other)]
    assert found == [[], ["autouse-patch"]]


def test_plugins_that_do_nothing_unasked() -> None:
    """pytest's own `pytester` may be named; it and another one not."""
    one, two = (f"pytest_plugins = {text}\n" for text in ('["pytester"]', '["pytester", "mine"]'))
    found = [rules({}, {"tests/conftest.py": text}) for text in (one, two)]
    assert found == [[], ["plugin-added"]]


def test_what_is_done_at_the_end_of_the_process() -> None:
    """A function of the code may be called at exit; one that exits may not."""
    text = "import atexit, os\n\natexit.register({})\n"
    found = [
        rules({}, {"src/a.py": text.format(call)}) for call in ("x._atexit_signal", "os._exit, 0")
    ]
    assert found == [[], ["exit-forced"]]
