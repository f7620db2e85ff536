"""What each file is to the tests, by the settings that pytest would read."""

import pytest

from self_coding.audit import Kind, effective, kind_of
from self_coding.audit.files import Settings


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("tests/test_a.py", Kind.TEST),
        ("pkg/a_test.py", Kind.TEST),
        ("pkg/tests/test_a.py", Kind.TEST),
        ("tests/helpers.py", Kind.SUPPORT),
        ("conftest.py", Kind.SUPPORT),
        ("tests/a.json", Kind.DATA),
        ("src/a.py", Kind.SOURCE),
        ("Makefile", Kind.COMMAND),
        (".github/workflows/a.yml", Kind.COMMAND),
        ("noxfile.py", Kind.COMMAND),
        ("tox.ini", Kind.SETTING),
        ("pyproject.toml", Kind.SETTING),
        ("README.md", Kind.PROSE),
        ("docs/conf.toml", Kind.PROSE),
        ("data.bin", Kind.OTHER),
    ],
)
def test_files_are_told_apart(path: str, kind: Kind) -> None:
    """Each file is what it is to the tests."""
    assert kind_of(path, Settings()) is kind


def test_the_settings_decide_what_is_a_test() -> None:
    """`testpaths` and `python_files` of the project are used, not only pytest's defaults."""
    chosen = effective({"pytest.ini": "[pytest]\ntestpaths = checks\npython_files = check_*.py\n"})
    assert kind_of("checks/check_a.py", chosen) is Kind.TEST
    assert kind_of("other/check_a.py", chosen) is Kind.SOURCE
    assert kind_of("checks/test_a.py", chosen) is Kind.SOURCE


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"pytest.ini": "", "tox.ini": "[pytest]\n"}, "pytest.ini"),
        (
            {"pyproject.toml": "[tool.pytest.ini_options]\n", "tox.ini": "[pytest]\n"},
            "pyproject.toml",
        ),
        ({"pyproject.toml": "[project]\n", "tox.ini": "[pytest]\n"}, "tox.ini"),
        ({"setup.cfg": "[tool:pytest]\n"}, "setup.cfg"),
        ({"pyproject.toml": "no toml"}, ""),
    ],
)
def test_the_first_settings_win(files: dict[str, str | None], path: str) -> None:
    """Of several files the one counts that pytest would read."""
    assert effective(files).path == path
