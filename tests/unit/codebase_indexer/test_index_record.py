"""What a record of coverage may leave out, and when it is not believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import coverage
import pytest

from self_coding import CodebaseIndexer

A = "LIMIT = 1\ndef one():\n    return LIMIT\n\ndef two():\n    return 2\n"
FILES = {
    "pkg/__init__.py": "",
    "pkg/a.py": A,
    "pkg/b.py": "def b():\n    return 1\n\ndef c():\n    return 2\n",
    "pkg/late.py": "def late():\n    from pkg import a\n    return a.one()\n",
    "tests/test_a.py": "from pkg.a import one\ndef test_a():\n    assert one()\n",
    "tests/test_b.py": "from pkg import b, late\ndef test_b():\n    assert b.b()\n",
}
# what ran of which file, when every test file has a process of its own
APART = {
    "tests/test_a.py": {"tests/test_a.py": [1, 2, 3], "pkg/a.py": [1, 2, 3, 5]},
    "tests/test_b.py": {
        "tests/test_b.py": [1, 2, 3],
        "pkg/b.py": [1, 2, 4],
        "pkg/late.py": [1],
    },
}
Ran = dict[str, dict[str, list[int]]]
Record = Callable[[Ran], Path]


@pytest.fixture
def indexer(tree: Path, tmp_path: Path) -> CodebaseIndexer:
    return CodebaseIndexer(tree, tmp_path / "index.db")


@pytest.fixture
def record(tree: Path, tmp_path: Path) -> Record:
    """Write a data file of coverage.py: context -> path -> lines."""

    def doing(ran: Ran) -> Path:
        data = coverage.CoverageData(str(tmp_path / "data"))
        data.erase()
        for context, files in ran.items():
            data.set_context(context)
            data.add_lines({str(tree / path): lines for path, lines in files.items()})
        data.write()
        return tmp_path / "data"

    return doing


async def affected(indexer: CodebaseIndexer, path: str = "pkg/a.py") -> list[str]:
    return await indexer.affected_tests([path])


async def test_a_constant_needs_who_loaded_it(write, indexer, record) -> None:
    """Where each test file ran by itself, a changed constant runs the tests that loaded it."""
    write(**FILES)
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]
    await indexer.record_coverage(record(APART))
    assert await affected(indexer) == ["tests/test_a.py"]
    write(**{"pkg/a.py": A.replace("LIMIT = 1", "LIMIT = 2")})
    assert await affected(indexer) == ["tests/test_a.py"]
    assert await affected(indexer, "pkg/b.py") == ["tests/test_b.py"]


async def test_a_body_needs_who_ran_it(write, indexer, record) -> None:
    """A changed body runs the tests that ran it, not all that loaded its file."""
    write(**FILES)
    await indexer.record_coverage(record(APART))
    write(**{"pkg/a.py": A.replace("return 2", "return 3")})
    assert await affected(indexer) == []
    write(**{"pkg/a.py": A.replace("return LIMIT", "return 3")})
    assert await affected(indexer) == ["tests/test_a.py"]


async def test_imports_of_a_shared_process(write, indexer, record) -> None:
    """Work done for all tests tells nothing about who loads a file: the imports decide."""
    write(**FILES)
    shared = {"": {"pkg/a.py": [1, 2, 5], "pkg/b.py": [1, 4]}}
    await indexer.record_coverage(record(APART | shared))
    write(**{"pkg/a.py": A.replace("LIMIT = 1", "LIMIT = 2")})
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]


async def test_a_change_yet_to_come_needs_who_loads_the_file(write, indexer, record) -> None:
    """Where nobody knows who loads a file, asking before its change gives all who reach it: the
    change may be to a line that runs then."""
    write(**FILES)
    shared = {"": {"pkg/a.py": [1, 2, 5]}, "tests/test_a.py::test_a|run": {"pkg/a.py": [3]}}
    shared["tests/test_b.py::test_b|run"] = {"pkg/b.py": [2]}
    await indexer.record_coverage(record(shared))
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]
    write(**{"pkg/a.py": A.replace("return LIMIT", "return -LIMIT")})
    assert await affected(indexer) == ["tests/test_a.py"]


async def test_a_test_file_that_is_gone_spoils_no_record(write, indexer, record) -> None:
    """What ran for a test file that is there no more, alone, tells nothing of the others."""
    write(**FILES)
    await indexer.record_coverage(record(APART | {"tests/test_gone.py": {"pkg/a.py": [1, 2, 5]}}))
    assert await affected(indexer) == ["tests/test_a.py"]


async def test_a_later_record_apart_replaces_a_shared_one(write, indexer, record) -> None:
    """What once ran at import, for all, no longer widens the choice for tests recorded apart."""
    write(**FILES)
    await indexer.record_coverage(record(APART | {"": {"pkg/a.py": [1, 2, 3, 5]}}))
    changed = A.replace("return LIMIT", "return 3")
    write(**{"pkg/a.py": changed})
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]
    write(**FILES)
    await indexer.record_coverage(record(APART))
    write(**{"pkg/a.py": changed})
    assert await affected(indexer) == ["tests/test_a.py"]


async def test_a_file_loaded_before_is_noticed(write, indexer, record) -> None:
    """A test whose own import is missing ran in a process that had it: its record is not whole."""
    write(**FILES)
    warm = {"tests/test_b.py": {"tests/test_b.py": [1, 2, 3], "pkg/b.py": [1, 2, 4]}}
    first = APART["tests/test_a.py"] | {"pkg/late.py": [1]}
    await indexer.record_coverage(record({"tests/test_a.py": first} | warm))
    write(**{"pkg/a.py": A.replace("LIMIT = 1", "LIMIT = 2")})
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]


async def test_a_file_that_no_test_loaded(write, indexer, record) -> None:
    """Of a file that is in no record, the imports decide."""
    write(**FILES, **{"pkg/new.py": "N = 1\n", "tests/test_c.py": "def test_c(): pass\n"})
    write(**{"pkg/late.py": FILES["pkg/late.py"] + "\ndef later():\n    import pkg.new\n"})
    await indexer.record_coverage(record(APART))
    write(**{"pkg/new.py": "N = 2\n"})
    assert await affected(indexer, "pkg/new.py") == ["tests/test_b.py"]


async def test_another_body_makes_no_record_stale(write, indexer, record) -> None:
    """A record still holds when only bodies changed that its test did not run."""
    write(**FILES)
    await indexer.record_coverage(record(APART))
    write(**{"pkg/b.py": FILES["pkg/b.py"].replace("return 2", "return 3")})
    assert await affected(indexer) == ["tests/test_a.py"]
    write(**{"pkg/b.py": FILES["pkg/b.py"].replace("return 1", "return 3")})
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]


@pytest.mark.parametrize(
    "starts",
    [
        "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pkg.late'])\n",
        "import multiprocessing\nfrom pkg import late\nmultiprocessing.Process(target=late.late)\n",
    ],
)
async def test_other_processes_are_in_no_record(write, indexer, record, starts) -> None:
    """A test that starts a process runs what no record shows: it is not left out."""
    write(**FILES | {"tests/test_b.py": starts + "def test_b():\n    assert 1\n"})
    lines = {"tests/test_b.py": {"tests/test_b.py": [1, 2, 3, 4, 5], "pkg/late.py": [1]}}
    await indexer.record_coverage(record(APART | lines))
    for old in ("return LIMIT", "LIMIT = 1"):
        write(**{"pkg/a.py": A.replace(old, f"{old} + 1")})
        assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]


STARTS = {
    "run": "import subprocess, sys\ndef go():\n    {}subprocess.run([sys.executable])\n",
    "bare": "from subprocess import (check_call as run, PIPE)\ndef go():\n    {}run('x')\n",
    "system": "import os\ndef go():\n    {}os.system('python x.py')\n",
    "fork": "import os\ndef go():\n    {}os.fork()\n",
    "pool": "from concurrent import futures\ndef go():\n    {}futures.ProcessPoolExecutor()\n",
    "spawn": "import os\ndef go():\n    {}os.spawnlpe(os.P_WAIT, 'x', 'x', {{}})\n",
    "exec": "import os\ndef go():\n    {}os.execvp('x', ['x'])\n",
}


@pytest.mark.parametrize("how", STARTS)
async def test_who_runs_what_starts_a_process_is_not_left_out(write, indexer, record, how) -> None:
    """By a record made by hand, a function that starts a process spoils it, not its whole file."""
    helper = STARTS[how].format("") + "def stay():\n    return 1\n"
    write(**FILES | {"pkg/b.py": helper})
    for ran, found in (([1, 2, 4, 5], []), ([1, 2, 3, 4], ["tests/test_b.py"])):
        own = APART["tests/test_b.py"] | {"pkg/b.py": ran}
        await indexer.record_coverage(record(APART | {"tests/test_b.py": own}))
        write(**{"pkg/a.py": A.replace("return 2", "return 3")})
        assert await affected(indexer) == found
        write(**FILES | {"pkg/b.py": helper})


async def test_a_process_started_while_a_file_is_loaded(write, indexer, record) -> None:
    """Where a file starts a process when it is loaded, no test that may load it is left out."""
    write(**FILES | {"pkg/b.py": "import os\nos.system('true')\ndef b():\n    return 1\n"})
    own = APART["tests/test_b.py"] | {"pkg/b.py": [1, 2, 3, 4]}
    shared = {
        "": {"pkg/b.py": [1, 2, 3], "pkg/a.py": [1, 2, 5]},
        "tests/test_a.py": {"pkg/a.py": [3]},
        "tests/test_b.py": {"tests/test_b.py": [3]},
    }
    for ran in (APART | {"tests/test_b.py": own}, shared):
        write(**{"pkg/a.py": A})
        await indexer.record_coverage(record(ran))
        write(**{"pkg/a.py": A.replace("return 2", "return 3")})
        assert await affected(indexer) == ["tests/test_b.py"]


async def test_reading_processes_is_not_starting_them(write, indexer, record) -> None:
    """An import of multiprocessing alone makes no test run."""
    test = "import multiprocessing\nfrom pkg import late\ndef test_b():\n    assert 1\n"
    write(**FILES | {"tests/test_b.py": test})
    lines = {"tests/test_b.py": {"tests/test_b.py": [1, 2, 3, 4], "pkg/late.py": [1]}}
    await indexer.record_coverage(record(APART | lines))
    write(**{"pkg/a.py": A.replace("return LIMIT", "return 3")})
    assert await affected(indexer) == ["tests/test_a.py"]


async def test_stale_work_at_import(write, indexer, record) -> None:
    """When what ran at import for all has changed, no test's record holds, but those made apart."""
    write(**FILES)
    await indexer.record_coverage(record(APART | {"": {"pkg/b.py": [2]}}))
    changed = {
        "pkg/b.py": FILES["pkg/b.py"].replace("return 1", "return 3"),
        "pkg/a.py": A.replace("return 2", "return 3"),
    }
    write(**changed)
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_b.py"]
    write(**FILES)
    await indexer.record_coverage(record({"tests/test_a.py": APART["tests/test_a.py"]}))
    write(**changed)
    assert await affected(indexer) == ["tests/test_b.py"]


async def test_a_change_makes_itself_no_record_stale(write, indexer, record) -> None:
    """Of two changed files, the one whose work ran at import does not widen the other."""
    write(**FILES, **{"tests/test_c.py": "import pkg.b\ndef test_c():\n    assert 1\n"})
    own = {"tests/test_c.py": {"tests/test_c.py": [3]}}
    await indexer.record_coverage(record(APART | own | {"": {"pkg/a.py": [6]}}))
    write(**{"pkg/a.py": A.replace("return 2", "return 3")})
    write(**{"pkg/b.py": FILES["pkg/b.py"].replace("return 2", "return 3")})
    found = await indexer.affected_tests(["pkg/a.py", "pkg/b.py"])
    assert found == ["tests/test_a.py", "tests/test_b.py"]


async def test_a_test_loaded_before_is_noticed(write, indexer, record) -> None:
    """A test file that another one had loaded before it ran has no whole record."""
    write(**FILES, **{"tests/test_c.py": "def test_c():\n    from pkg import late\n"})
    write(**{"tests/test_b.py": "import tests.test_c\n" + FILES["tests/test_b.py"]})
    other = APART["tests/test_b.py"] | {"tests/test_c.py": [1]}
    own = {"tests/test_b.py": other, "tests/test_c.py": {"pkg/late.py": [1]}}
    await indexer.record_coverage(record(APART | own))
    write(**{"pkg/a.py": A.replace("LIMIT = 1", "LIMIT = 2")})
    assert await affected(indexer) == ["tests/test_a.py", "tests/test_c.py"]


async def test_a_run_of_no_test_spoils_no_record(write, indexer, record) -> None:
    """A file that is no test, run by itself, is not taken for work done for all tests."""
    write(**FILES)
    await indexer.record_coverage(record(APART | {"pkg/b.py": {"pkg/b.py": [1], "pkg/a.py": [3]}}))
    write(**{"pkg/a.py": A.replace("LIMIT = 1", "LIMIT = 2")})
    assert await affected(indexer) == ["tests/test_a.py"]
