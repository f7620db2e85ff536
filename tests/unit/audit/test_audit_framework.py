"""Code that takes part in the judging of tests."""

from audit_case import rules

FIXTURE = "@pytest.fixture()\ndef cheap(monkeypatch):\n    monkeypatch.setattr(shop, 'RATE', 0)\n"


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
