"""What the gate recorded narrows the tests of a change, and what it cannot tell widens them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from self_coding import CodebaseIndexer
from self_coding.values.recording import FOR_ALL, Doer, Recording

TOOLS = "LIMIT = 1\ndef one(f=None):\n    return f\n\ndef two():\n    return 2\n"
FILES = {
    "pkg/__init__.py": "",
    "pkg/tools.py": TOOLS,
    "pkg/user.py": "from pkg.tools import one\n@one\ndef use():\n    return 1\n",
    "tests/conftest.py": "from pkg import tools\n",
    "tests/test_a.py": "from pkg import user\ndef test_a():\n    assert user\n",
    "tests/test_b.py": "from pkg import tools\ndef test_b():\n    assert tools.two()\n",
    "tests/test_c.py": "from pkg import tools\ndef test_c():\n    assert tools\n",
}
A, B, C = (Doer(f"tests/test_{name}.py", False) for name in "abc")
USER, CONFTEST = Doer("pkg/user.py", True), Doer("tests/conftest.py", True)
LOADED = {Doer(path, True): {} for path in FILES}
ONE, TWO = {"pkg/tools.py": frozenset([3])}, {"pkg/tools.py": frozenset([6])}
RAN = LOADED | {A: {}, B: TWO, C: {}, USER: ONE}
ALL = ["tests/test_a.py", "tests/test_b.py", "tests/test_c.py"]
Lines = Mapping[Doer, Mapping[str, frozenset[int]]]


@pytest.fixture
def indexer(tree: Path, tmp_path: Path, write) -> CodebaseIndexer:
    write(**FILES)
    return CodebaseIndexer(tree, tmp_path / "index.db")


async def remember(indexer: CodebaseIndexer, lines: Lines, **more: object) -> None:
    sources = {path: (indexer.repo_path / path).read_bytes() for path in FILES}
    await indexer.remember(Recording(lines=lines, **more), sources)


def change(write, old: str, new: str, path: str = "pkg/tools.py") -> None:
    assert old in FILES[path]
    write(**{path: FILES[path].replace(old, new)})


async def affected(indexer: CodebaseIndexer, path: str = "pkg/tools.py") -> list[str]:
    return sorted(await indexer.affected_tests([path]))


async def test_a_body_needs_who_ran_it(write, indexer) -> None:
    """A changed body runs the tests that ran it; a body that nobody ran runs none."""
    await remember(indexer, RAN)
    change(write, "return 2", "return 3")
    assert await affected(indexer) == ["tests/test_b.py"]
    await remember(indexer, RAN | {B: {}})
    change(write, "return 2", "return 4")
    assert await affected(indexer) == []


async def test_a_body_that_ran_at_import_needs_who_loads_that_file(write, indexer) -> None:
    """What was called while a file was loaded concerns the tests that load it, and no others."""
    await remember(indexer, RAN)
    change(write, "return f", "return f or one")
    assert await affected(indexer) == ["tests/test_a.py"]
    write(**FILES)
    await remember(indexer, RAN | {CONFTEST: ONE})
    change(write, "return f", "return f or one")
    assert await affected(indexer) == ALL


async def test_a_plugins_work_at_import_needs_all(write, indexer) -> None:
    """What was called while a file was loaded that pytest loads first concerns every test."""
    write(**{"pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-p plug"\n'})
    write(**{"plug.py": "import pkg_resources\n", "tests/test_d.py": "def test_d(): pass\n"})
    await remember(indexer, RAN | {Doer("plug.py", True): ONE})
    change(write, "return f", "return f or one")
    assert await affected(indexer) == [*ALL, "tests/test_d.py"]


async def test_work_for_all_leaves_it_to_the_imports(write, indexer) -> None:
    """What ran for all tests, or unseen, concerns every test that can reach the file."""
    for more in ({"lines": RAN | {FOR_ALL: TWO}}, {"lines": RAN, "unseen": {"pkg/tools.py"}}):
        write(**FILES)
        await remember(indexer, **more)
        change(write, "return 2", "return 3")
        assert await affected(indexer) == ALL


async def test_a_constant_needs_who_imports_it(write, indexer) -> None:
    """A line outside of all functions is left to the imports."""
    await remember(indexer, RAN)
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == ALL


async def test_an_import_that_has_changed_may_call_anything(write, indexer) -> None:
    """When what ran at a file's import has changed since, who loads it is not left out."""
    await remember(indexer, RAN)
    change(write, "return 2", "return 3")
    change(write, "@one", "@one  # again", "pkg/user.py")
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]


async def test_a_test_that_changed_has_no_record(write, indexer) -> None:
    """The record of a test file ends with a change of it; so does that of what it ran."""
    await remember(indexer, RAN)
    change(write, "assert tools\n", "assert tools.two\n", "tests/test_c.py")
    change(write, "return 2", "return 3")
    assert await affected(indexer) == ["tests/test_b.py", "tests/test_c.py"]
    assert await indexer.unrecorded() == ["tests/test_b.py", "tests/test_c.py"]


async def test_who_started_a_process_has_no_record(write, indexer) -> None:
    """Of what other processes ran nothing is known: who starts them is not left out."""
    change(write, "return 2", "return 3")
    for doer, found in ((C, ALL[1:]), (USER, ALL[:2]), (FOR_ALL, ALL)):
        write(**FILES)
        await remember(indexer, RAN, starting=frozenset([doer]))
        assert await indexer.unrecorded() == []
        change(write, "return 2", "return 3")
        assert await affected(indexer) == found
        write(**FILES)
        await remember(indexer, RAN | {FOR_ALL: {}})


async def test_a_run_of_some_tests_forgets_nothing_of_the_others(write, indexer) -> None:
    """A run of one test keeps what others had of an import or a fixture; a run of all does not."""
    await remember(indexer, RAN | {CONFTEST: TWO})
    await remember(indexer, {A: {}, CONFTEST: {}})
    change(write, "return 2", "return 3")
    assert await affected(indexer) == ALL
    write(**FILES)
    await remember(indexer, RAN)
    change(write, "return 2", "return 3")
    assert await affected(indexer) == ["tests/test_b.py"]


async def test_what_is_unrecorded_is_named(write, indexer) -> None:
    """Tests without a record are named until they have one, or could not be given one."""
    assert await indexer.unrecorded() == ALL
    await remember(indexer, {A: {}}, left_out=frozenset(["tests/test_b.py"]))
    assert await indexer.unrecorded() == ["tests/test_c.py"]
    change(write, "return 2", "return 3")
    assert "tests/test_b.py" in await affected(indexer)
    change(write, "assert", "assert 1 and", "tests/test_b.py")
    assert await indexer.unrecorded() == ["tests/test_b.py", "tests/test_c.py"]


async def test_a_stale_import_asks_for_who_loads_it(write, indexer) -> None:
    """After a change of what ran at import, those are to be recorded again that load the file."""
    await remember(indexer, RAN)
    change(write, "return f", "return f or one")
    assert await indexer.unrecorded() == ["tests/test_a.py"]
    write(**FILES)
    await remember(indexer, RAN | {FOR_ALL: TWO})
    change(write, "return 2", "return 3")
    assert await indexer.unrecorded() == ALL


async def test_the_tested_text_counts_and_not_its_line_ends(write, indexer) -> None:
    """The record is of the text that was tested; other line ends are no other text."""
    sources = {path: text.encode() for path, text in FILES.items()}
    write(**{path: text.replace("\n", "\r\n") for path, text in FILES.items()})
    await indexer.remember(Recording(lines=RAN), sources)
    assert await indexer.unrecorded() == []
    assert await affected(indexer) == ALL
    write(**FILES)
    other = sources | {"pkg/tools.py": TOOLS.replace("return 2", "return 3").encode()}
    await indexer.remember(Recording(lines=RAN), other)
    assert await affected(indexer) == ["tests/test_b.py"]
    assert await indexer.unrecorded() == ["tests/test_b.py"]


async def test_a_change_that_stands_nowhere_yet(indexer) -> None:
    """A change can be asked about by its text; without one any line of the file may be it."""
    await remember(indexer, RAN)
    assert await affected(indexer) == ALL
    asked = {"pkg/tools.py": TOOLS.replace("return 2", "return 3").encode()}
    found = await indexer.impact(["pkg/tools.py"], texts=asked)
    assert found.tests == ("tests/test_b.py",)
    for all_of_it in (TOOLS.encode(), None):
        found = await indexer.impact(["pkg/tools.py"], texts={"pkg/tools.py": all_of_it})
        assert sorted(found.tests) == ALL


async def test_no_policy_rests_on_it(write, indexer) -> None:
    """Whether a file is covered is not told by a record that tested code could forge."""
    write(**{"pkg/alone.py": "def alone():\n    return 1\n"})
    ran = {"pkg/alone.py": frozenset([2])}
    sources = {"pkg/alone.py": (indexer.repo_path / "pkg/alone.py").read_bytes()}
    await indexer.remember(Recording(lines={A: ran}), sources)
    assert not await indexer.has_test_coverage("pkg/alone.py")
    await indexer.record_coverage({"tests/test_a.py": ["pkg/alone.py"]})
    assert await indexer.has_test_coverage("pkg/alone.py")


async def test_paths_of_no_file_are_passed_over(indexer) -> None:
    """A record that names what is no file of the index does no harm."""
    strange = {Doer("no/such.py", True): TWO, Doer("pkg/user.py", False): TWO, A: {"../x": {1}}}
    await remember(indexer, RAN | strange)
    assert await affected(indexer) == ALL


FOUND = {  # who asks for what, of the files above
    A: frozenset(["tests/test_a.py"]),
    B: frozenset(["tests/test_b.py"]),
    C: frozenset(["tests/test_c.py"]),
    Doer("tests/test_a.py", True): frozenset(["pkg/__init__.py", "pkg/user.py"]),
    Doer("tests/test_b.py", True): frozenset(["pkg/__init__.py", "pkg/tools.py"]),
    USER: frozenset(["pkg/__init__.py", "pkg/tools.py"]),
    FOR_ALL: frozenset[str](),
}


async def test_a_constant_needs_who_loads_it(write, indexer) -> None:
    """Where imports were recorded, a constant runs who loaded it, directly or through a file."""
    await remember(indexer, RAN, imports=FOUND)
    assert await affected(indexer) == ALL[:2]
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == ALL[:2]
    change(write, "@one", "@one  # again", "pkg/user.py")
    assert await affected(indexer, "pkg/user.py") == ALL[:1]


async def test_work_at_import_needs_who_loads_it(write, indexer) -> None:
    """A body that ran while a file was loaded runs who loaded that file, by the record."""
    asks = FOUND | {Doer("tests/test_a.py", True): frozenset[str](), C: FOUND[C] | {"pkg/user.py"}}
    await remember(indexer, RAN, imports=asks)
    change(write, "return f", "return f or one")
    assert await affected(indexer) == ALL[2:]  # by the text it would be the first test
    write(**FILES)
    await remember(indexer, RAN | {CONFTEST: ONE}, imports=FOUND | {CONFTEST: frozenset()})
    change(write, "return f", "return f or one")
    assert await affected(indexer) == ALL


async def test_what_a_conftest_loads_its_tests_load(write, indexer) -> None:
    """What a conftest asked for is loaded for the tests below its folder, and for no others."""
    write(**{"other/test_d.py": "def test_d(): pass\n"})
    d = Doer("other/test_d.py", False)
    own = {d: frozenset(["other/test_d.py"]), CONFTEST: frozenset(["pkg/tools.py"])}
    sources = {path: text.encode() for path, text in FILES.items()}
    sources["other/test_d.py"] = b"def test_d(): pass\n"
    await indexer.remember(Recording(lines=RAN | {d: {}}, imports=FOUND | own), sources)
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == ALL
    assert await affected(indexer, "tests/conftest.py") == ALL


@pytest.mark.parametrize(
    "more",
    [
        {"imports": FOUND | {FOR_ALL: frozenset(["pkg/tools.py"])}},
        {"imports": FOUND | {FOR_ALL: frozenset(["pkg/user.py"])}},
        {"imports": FOUND, "lines": RAN | {FOR_ALL: TWO}},
        {"imports": FOUND, "unseen": frozenset(["pkg/tools.py"])},
        {"imports": FOUND, "unseen": frozenset(["pkg/user.py"])},
    ],
)
async def test_who_loads_it_is_not_known(write, indexer, more) -> None:
    """What was loaded for all, unseen or in some odd way is left to the imports in the text."""
    await remember(indexer, **{"lines": RAN} | more)
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == ALL


async def test_who_has_no_record_of_imports_is_not_left_out(write, indexer) -> None:
    """Tests without a record, or with one that no longer holds, are left to the imports."""
    await remember(indexer, RAN, imports=FOUND)
    write(**{"tests/test_e.py": "from pkg import tools\ndef test_e(): pass\n"})
    change(write, "assert tools", "assert 1 and tools", "tests/test_c.py")
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == [*ALL, "tests/test_e.py"]


async def test_a_changed_import_may_load_anything(write, indexer) -> None:
    """When a file that a test loads has changed since, what it loads now is not known."""
    await remember(indexer, RAN, imports=FOUND)
    change(write, "@one", "import other\n@one", "pkg/user.py")
    write(**{"other.py": "LIMIT = 1\n"})
    assert await affected(indexer, "other.py") == ALL[:1]
    assert await indexer.unrecorded() == ALL[:1]
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == ALL[:2]


async def test_a_changed_import_may_load_what_others_load(write, indexer) -> None:
    """The record of others says nothing about what a changed file loads now."""
    late = FILES | {"pkg/late.py": "LIMIT = 1\n"}
    write(**late)
    asks = {Doer("tests/test_b.py", True): frozenset(["pkg/tools.py", "pkg/late.py"])}
    sources = {path: text.encode() for path, text in late.items()}
    lines = RAN | {Doer("pkg/late.py", True): {}}
    await indexer.remember(Recording(lines=lines, imports=FOUND | asks), sources)
    assert await affected(indexer, "pkg/late.py") == ["tests/test_b.py"]
    change(write, "@one", "import pkg.late\n@one", "pkg/user.py")
    assert await affected(indexer, "pkg/late.py") == ["tests/test_a.py", "tests/test_b.py"]


async def test_a_file_that_nobody_asked_for_is_left_to_the_imports(write, indexer) -> None:
    """A file that is new, or that no recorded test loads, has no record that could leave out."""
    await remember(indexer, RAN, imports={doer: own for doer, own in FOUND.items() if own})
    late = "from pkg import late\n"
    write(**{"pkg/late.py": "LIMIT = 1\n", "tests/test_c.py": late + FILES["tests/test_c.py"]})
    assert await affected(indexer, "pkg/late.py") == ALL[2:]


async def test_a_new_conftest_is_everybodys_below(write, indexer) -> None:
    """A conftest.py that no record knows concerns all tests below its folder."""
    await remember(indexer, RAN, imports=FOUND)
    write(**{"conftest.py": "raise ValueError\n"})
    assert await affected(indexer, "conftest.py") == ALL


async def test_a_new_file_may_be_loaded_where_another_was(write, indexer) -> None:
    """A record holds for no test that may load a file which is newer than the record."""
    await remember(indexer, RAN, imports=FOUND)
    late = "try:\n    from pkg import fast\nexcept ImportError:\n    pass\n"
    write(**{"pkg/user.py": late + FILES["pkg/user.py"]})
    sources = {path: (indexer.repo_path / path).read_bytes() for path in FILES}
    await indexer.remember(Recording(lines=RAN, imports=FOUND), sources)
    assert await indexer.unrecorded() == []
    write(**{"pkg/fast.py": "from pkg import tools\ntools.two()\n"})
    assert await indexer.unrecorded() == ALL[:1]
    change(write, "return 2", "return 3")
    assert await affected(indexer) == ALL[:2]


async def test_what_ran_for_all_concerns_all(write, indexer) -> None:
    """What a hook of the run called concerns every test, whatever the imports say."""
    write(**{"tests/test_d.py": "def test_d(): pass\n"})
    await remember(indexer, RAN | {FOR_ALL: TWO})
    change(write, "return 2", "return 3")
    assert await affected(indexer) == [*ALL, "tests/test_d.py"]


async def test_who_ran_a_file_without_an_import_loads_it(write, indexer) -> None:
    """Lines outside of all functions that ran for a test (`runpy`) make it one that loads it."""
    await remember(indexer, RAN | {C: {"pkg/tools.py": frozenset([1, 2])}}, imports=FOUND)
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == ALL


async def test_tests_of_a_conftest_are_tests(write, indexer) -> None:
    """A test file whose name only ends like conftest.py or __init__.py is one like others."""
    named = {f"tests/test_{end}.py": FILES["tests/test_c.py"] for end in ("conftest", "__init__")}
    write(**named)
    assert await affected(indexer) == sorted([*ALL, *named])
    own = {Doer(path, False): frozenset([path]) for path in named}
    sources = {path: text.encode() for path, text in (FILES | named).items()}
    lines = RAN | {doer: {} for doer in own}
    await indexer.remember(Recording(lines=lines, imports=FOUND | own), sources)
    change(write, "LIMIT = 1", "LIMIT = 2")
    assert await affected(indexer) == ALL[:2]
