"""What the gate records of a real run, on whose behalf, and when it rather tells nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_repo import PYTEST, Repo

from self_coding.values.recording import FOR_ALL, Doer, Recording
from self_coding.values.verdicts import GateReport

ONE, TWO = 2, 5  # the lines of the two bodies below
TOOLS = "def one(f=None):\n    return f\n\ndef two():\n    return 2\n"
A, B = Doer("tests/test_a.py", False), Doer("tests/test_b.py", False)
CONFTEST = Doer("tests/conftest.py", True)
TEST = "def test_it():\n    assert True\n"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def run(repo: Repo, files: dict[str, str], command: str = PYTEST, **more: object) -> GateReport:
    tools = {"pkg/__init__.py": "", "pkg/tools.py": TOOLS}
    commit = repo.commit(tools | {"tests/test_a.py": TEST, "tests/test_b.py": TEST} | files)
    gate = repo.gate(command=command, **more)
    tests = [name for name in files if "test_" in name]
    report = gate.run(
        commit, tree=repo.tree(commit), record=[*tests, "tests/test_a.py", "tests/test_b.py"]
    )
    assert report.passed, report.reason + report.output
    return report


def recorded(repo: Repo, files: dict[str, str], *more: str) -> Recording:
    report = run(repo, files, *more)
    assert report.recording is not None
    assert report.recording.silence == ""
    return report.recording


def doers(recording: Recording, line: int) -> set[Doer]:
    """On whose behalf a line of the tools ran."""
    return {d for d, files in recording.lines.items() if line in files.get("pkg/tools.py", ())}


def silence(repo: Repo, files: dict[str, str], *more: str) -> str:
    report = run(repo, files, *more)
    assert report.recording is not None
    assert not report.recording.lines
    return report.recording.silence


def test_a_test_is_told_with_what_it_ran(repo):
    """What a test runs, with fixtures of its own and helpers, is its file's; nobody else's."""
    test = (
        "import pytest\nfrom pkg import tools\n"
        "@pytest.fixture(scope='module')\ndef it():\n    return tools.one()\n"
        "def test_it(it):\n    assert tools.two()\n"
    )
    found = recorded(repo, {"tests/test_a.py": test})
    assert (doers(found, ONE), doers(found, TWO)) == ({A}, {A})
    assert {A, B} <= found.lines.keys()
    assert 1 in found.lines[Doer("pkg/tools.py", True)]["pkg/tools.py"]
    assert found.starting == found.unseen == frozenset()


def test_work_at_import_is_the_imported_files(repo):
    """What is called while a module is loaded is done for all that load it, whoever is first."""
    late = "from pkg.tools import one\n@one\ndef late(): pass\n"
    test = "def test_it():\n    import pkg.late\n"
    found = recorded(repo, {"pkg/late.py": late, "tests/test_a.py": test, "tests/test_b.py": test})
    assert doers(found, ONE) == {Doer("pkg/late.py", True)}
    own = "from pkg.tools import one\n@one\ndef test_it(): pass\n"
    assert doers(recorded(repo, {"tests/test_b.py": own}), ONE) == {Doer("tests/test_b.py", True)}


@pytest.mark.parametrize("scope", ["session", "package"])
def test_a_shared_fixture_is_its_files(repo, scope):
    """What a fixture of several files does, to its end, is done for all who load its file."""
    conftest = (
        f"import pytest\nfrom pkg import tools\n@pytest.fixture(scope='{scope}')\n"
        "def shared():\n    tools.one()\n    yield\n    tools.two()\n"
    )
    test = "def test_it(request):\n    request.getfixturevalue('shared')\n"
    files = {"tests/conftest.py": conftest, "tests/test_a.py": test, "tests/test_b.py": test}
    found = recorded(repo, files)
    assert (doers(found, ONE), doers(found, TWO)) == ({CONFTEST}, {CONFTEST})


def test_a_fixture_of_each_test_is_the_tests(repo):
    """A conftest's fixture that is made anew for each test, class or module is the user's own."""
    conftest = (
        "import pytest\nfrom pkg import tools\n"
        "@pytest.fixture(scope='module')\ndef m():\n    yield tools.one()\n    tools.two()\n"
    )
    test = "def test_it(m): pass\n"
    found = recorded(repo, {"tests/conftest.py": conftest, "tests/test_a.py": test})
    assert (doers(found, ONE), doers(found, TWO)) == ({A}, {A})


def test_the_set_up_of_a_package_is_for_all(repo):
    """What a package of tests does once, before and after, is done for all tests."""
    package = (
        "from pkg import tools\ndef setup_module():\n    tools.one()\n"
        "def teardown_module():\n    tools.two()\n"
    )
    found = recorded(repo, {"tests/__init__.py": package})
    assert (doers(found, ONE), doers(found, TWO)) == ({FOR_ALL}, {FOR_ALL})


def test_hooks_of_the_whole_run_are_for_all(repo):
    """What a conftest does at the start of the run is done for all tests."""
    hook = "from pkg import tools\ndef pytest_sessionstart():\n    tools.one()\n"
    assert doers(recorded(repo, {"tests/conftest.py": hook}), ONE) == {FOR_ALL}


def test_an_import_in_a_thread_is_everybodys(repo):
    """While a thread imports, what runs is done for the import and for the test that waits."""
    late = "from pkg.tools import one\n@one\ndef late(): pass\n"
    test = (
        "import importlib, threading\ndef test_it():\n"
        "    one = threading.Thread(target=importlib.import_module, args=['pkg.late'])\n"
        "    one.start()\n    one.join()\n"
    )
    found = recorded(repo, {"pkg/late.py": late, "tests/test_a.py": test})
    assert doers(found, ONE) == {A, Doer("pkg/late.py", True)}


def test_a_started_process_is_told(repo):
    """Who starts another process is named, for nothing is seen of what that one runs."""
    starts = "import os\ndef test_it():\n    assert os.system('true') == 0\n"
    assert recorded(repo, {"tests/test_a.py": starts}).starting == {A}
    imports = {"tests/test_a.py": TEST, "tests/conftest.py": "import os\nos.system('true')\n"}
    assert recorded(repo, imports).starting == {CONFTEST}


def test_workers_tell_theirs(repo):
    """With pytest-xdist each worker tells what it ran, and the whole is their union."""
    test = "from pkg import tools\ndef test_it():\n    assert tools.two()\n"
    files = {"tests/test_a.py": test, "tests/test_b.py": test}
    found = recorded(repo, files, f"{PYTEST} -p xdist -n 2")
    assert doers(found, TWO) == {A, B}
    assert Doer("pkg/tools.py", True) in found.lines


def test_a_worker_that_died_leaves_no_record(repo):
    """Where a worker was lost, what it ran is not known, and nothing is told."""
    dies = "import os, sys\ndef test_it():\n    if sys.gettrace(): os._exit(1)\n"
    command = f"{PYTEST} -p xdist -n 2"
    assert "told nothing" in silence(repo, {"tests/test_a.py": dies}, command)


TRACES = "import sys\ndef test_it():\n    sys.settrace(lambda *a: None)\n    sys.settrace(None)\n"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"tests/test_b.py": TRACES}, "tracer of their own"),
        ({"coverage.py": "raise ImportError\n"}, "not installed"),
        ({"coverage.py": "version_info = (6, 5)\n"}, "older than 7"),
        (
            {
                "tests/test_a.py": "import coverage\ndef test_it():\n    m = coverage.Coverage("
                "data_file=None)\n    m.start()\n    m.stop()\n"
            },
            "another measurement",
        ),
        (
            {
                "tests/test_a.py": "import sys, types\ndef test_it():\n"
                "    made = types.ModuleType('made')\n    made.__file__ = 'pkg/tools.py'\n"
                "    sys.modules['made'] = made\n"
            },
            "loader of its own",
        ),
    ],
)
def test_it_rather_tells_nothing(repo, files, why):
    """Where the trace was somebody else's, or something ran unseen, only the reason is told."""
    assert why in silence(repo, files)


def test_a_tracer_that_is_there_already_is_left_alone(repo):
    """With a tracer set before us nothing is recorded, and it goes on tracing."""
    early = "import sys\ndef trace(*a):\n    pass\nsys.settrace(trace)\n"
    test = "import sys, early\ndef test_it():\n    assert sys.gettrace() is early.trace\n"
    command = f"{PYTEST} -p early"
    assert "another tracer" in silence(repo, {"early.py": early, "tests/test_a.py": test}, command)


def test_pytest_cov_goes_first(repo):
    """Where the command itself measures coverage, the gate's record stays out of its way."""
    command = f"{PYTEST} -p pytest_cov --cov=pkg --cov-fail-under=40"
    test = "from pkg import tools\ndef test_it():\n    assert tools.two()\n"
    assert "another" in silence(repo, {"tests/test_a.py": test}, command)


def test_after_a_silence_nothing_is_tried_again(repo):
    """A recording that told nothing is not repeated until what runs the tests changes."""
    assert silence(repo, {"tests/test_b.py": TRACES})
    assert run(repo, {"pkg/more.py": ""}).recording is None
    assert repo.gate().silence() == "the tests set a tracer of their own"
    assert repo.gate(command=f"{PYTEST} -x").silence() is None


DISTURBED = "import sys\nfrom pkg import tools\ndef test_it():\n    assert sys.gettrace() is None\n"


def test_a_test_that_a_record_disturbs_counts_as_without_one(repo):
    """A test that fails only while it is recorded is no failure, and its file has no record."""
    found = recorded(repo, {"tests/test_a.py": DISTURBED})
    assert A not in found.lines and B in found.lines
    again = recorded(repo, {"pkg/more.py": "", "tests/test_a.py": DISTURBED})
    assert A not in again.lines and B in again.lines
    assert (found.left_out, again.left_out) == ({A.file}, set())  # it is not tried again


def test_a_test_that_passes_only_while_recorded_does_not_pass(repo):
    """What a recorded run says yes to is not passed by it: the run that counts is another one."""
    cheat = DISTURBED.replace("is None", "is not None")
    commit = repo.commit({"pkg/__init__.py": "", "pkg/tools.py": TOOLS, "tests/test_a.py": cheat})
    report = repo.gate().run(commit, tree=repo.tree(commit), record=["tests/test_a.py"])
    assert not report.passed
    assert report.new_failures == ("tests/test_a.py::test_it",)
    assert report.recording is None


def test_a_file_of_which_some_tests_ran_has_no_record(repo):
    """Tests asked for by name leave others of their file out, so that file is not told of."""
    two = TEST + "def test_other():\n    assert True\n"
    commit = repo.commit({"tests/test_a.py": two, "tests/test_b.py": TEST})
    report = repo.gate().run(
        commit,
        tree=repo.tree(commit),
        first=["tests/test_a.py::test_it"],
        record=["tests/test_b.py"],
    )
    assert report.recording is not None
    assert A not in report.recording.lines and B in report.recording.lines


def test_what_was_loaded_before_is_unseen(repo):
    """A file of the tree that was loaded before the recording began is named as unseen."""
    plugin = "from pkg import tools\n"
    found = recorded(repo, {"early.py": plugin}, f"{PYTEST} -p early")
    assert found.unseen == {"early.py", "pkg/__init__.py", "pkg/tools.py"}


def test_a_recorded_run_that_takes_too_long_is_no_verdict(repo):
    """Where a record alone takes too long, the run without one decides."""
    slow = "import sys, time\ndef test_it():\n    if sys.gettrace(): time.sleep(30)\n"
    report = run(repo, {"tests/test_a.py": slow}, timeout=5)
    assert report.recording is not None
    assert report.recording.silence == "the run did not come to its own end"


def test_no_pytest_no_record(repo):
    """A command that is no pytest run is run once, as ever, and tells nothing."""
    commit = repo.commit({"a.py": ""})
    report = repo.gate(command="echo ran").run(commit, tree=repo.tree(commit), record=["x.py"])
    assert report.passed and report.output == "ran\n"
    assert report.recording is not None and report.recording.silence == "no pytest reported"


LATE = {"pkg/late.py": "from pkg import deep\nLIMIT = 1\n", "pkg/deep.py": "DEEP = 1\n"}


def asking(recording: Recording, path: str) -> set[Doer]:
    """On whose behalf a file was asked for."""
    return {doer for doer, files in recording.imports.items() if path in files}


IMPORTS = {
    "a statement": "import pkg.late",
    "from": "from pkg import late",
    "a name": "from pkg.late import LIMIT",
    "import_module": "import importlib\n    importlib.import_module('pkg.late')",
    "relative": "import importlib\n    importlib.import_module('.late', 'pkg')",
    "a call": "__import__('pkg.late')",
    "pickle": "import pickle\n    assert pickle.loads(b'cpkg.late\\nLIMIT\\n.') == 1",
}


@pytest.mark.parametrize("how", IMPORTS)
def test_each_test_that_imports_is_told(repo, how):
    """Whoever imports a file asks for it, also when another test had loaded it before."""
    test = f"def test_it():\n    {IMPORTS[how]}\n"
    found = recorded(repo, LATE | {"tests/test_a.py": test, "tests/test_b.py": test})
    assert asking(found, "pkg/late.py") == {A, B}
    assert {A, B} <= asking(found, "pkg/__init__.py")
    assert asking(found, "pkg/deep.py") == {Doer("pkg/late.py", True)}
    assert asking(found, "tests/test_a.py") == {A}


def test_imports_of_parts_are_told(repo):
    """Relative imports and stars ask for the files that they bind."""
    files = {
        "pkg/sub/__init__.py": "__all__ = ['one', 'two']\n",
        "pkg/sub/one.py": "from . import two\n",
        "pkg/sub/two.py": "from ..tools import one\nfrom .. import late\n",
        "tests/test_a.py": "from pkg.sub import *\n" + TEST,
    }
    found = recorded(repo, LATE | files)
    one, two = Doer("pkg/sub/one.py", True), Doer("pkg/sub/two.py", True)
    test = Doer("tests/test_a.py", True)
    assert asking(found, "pkg/sub/two.py") == {one, test}
    assert asking(found, "pkg/sub/one.py") == {test}
    assert asking(found, "pkg/tools.py") == asking(found, "pkg/late.py") == {two}


KEPT = {
    "a name": "kept = None\ndef get():\n    global kept\n    if kept is None:\n"
    "        from pkg import late\n        kept = late.LIMIT\n    return kept\n",
    "a module": "def __getattr__(name):\n    import importlib\n"
    "    return importlib.import_module('pkg.' + name)\n"
    "def get():\n    return 1\n",
    "a helper": "def __getattr__(name):\n    return load(name)\ndef load(name):\n"
    "    from importlib import import_module\n"
    "    return globals().setdefault(name, import_module('pkg.' + name))\n",
}


@pytest.mark.parametrize(
    ("how", "ask"), [("a name", "lazy.get()"), ("a module", "lazy.late"), ("a helper", "lazy.late")]
)
def test_what_one_test_had_loaded_for_the_next_is_told(repo, how, ask):
    """Who calls a function that keeps what it imported has it, too, though nothing is imported."""
    test = f"from pkg import lazy\ndef test_it():\n    assert {ask}\n"
    files = {"pkg/lazy.py": KEPT[how], "tests/test_a.py": test, "tests/test_b.py": test}
    found = recorded(repo, LATE | files)
    told = {A, B} if how == "a name" else {A, B, Doer("pkg/lazy.py", True)}
    assert asking(found, "pkg/late.py") == told


def test_an_object_that_imports_for_whoever_asks_is_everybodys(repo):
    """What an object's `__getattr__` imports may be kept by whoever holds the object."""
    lazy = (
        "class Lazy:\n    def __getattr__(self, name):\n        from pkg import late\n"
        "        self.__dict__['late'] = late\n        return late\nit = Lazy()\n"
    )
    test = "from pkg.lazy import it\ndef test_it():\n    assert it.late\n"
    found = recorded(repo, LATE | {"pkg/lazy.py": lazy, "tests/test_a.py": test})
    assert FOR_ALL in asking(found, "pkg/late.py")


def test_a_module_that_puts_another_in_its_place_is_told(repo):
    """Whoever imports it asks for its file, though what it gets knows of no file."""
    conf = "import sys\nclass Conf:\n    limit = 3\nsys.modules[__name__] = Conf()\n"
    test = "def test_it():\n    from pkg import conf\n    assert conf.limit\n"
    files = {"pkg/conf.py": conf, "tests/test_a.py": test, "tests/test_b.py": test}
    assert {A, B} <= asking(recorded(repo, files), "pkg/conf.py")


def test_an_import_that_is_found_later_is_told(repo):
    """A line that finds nothing at first is looked at again."""
    test = (
        "import sys\ndef limit():\n    try:\n        import pkg.late\n"
        "    except ImportError:\n        return 0\n    return 1\n"
        "def test_one(monkeypatch):\n    monkeypatch.setitem(sys.modules, 'pkg.late', None)\n"
        "    assert limit() == 0\ndef test_two():\n    assert limit() == 1\n"
    )
    files = {"tests/test_a.py": "import pkg.late\n" + TEST, "tests/test_b.py": test}
    assert B in asking(recorded(repo, LATE | files), "pkg/late.py")


def test_entry_points_are_told(repo):
    """Who had taken `import_module` before the record began asks for files like anybody."""
    test = (
        "from importlib.metadata import EntryPoint\ndef test_it():\n"
        "    assert EntryPoint('x', 'pkg.late:LIMIT', 'y').load() == 1\n"
    )
    found = recorded(repo, LATE | {"tests/test_a.py": test, "tests/test_b.py": test})
    assert {A, B} <= asking(found, "pkg/late.py")


def test_who_reads_source_as_data_depends_on_all_of_it(repo):
    """A test that reads a file of the tree, itself or while it is loaded, ran each line of it."""
    reads = "from pathlib import Path\ntext = Path('pkg/late.py').read_text()\n" + TEST
    opens = "def test_it():\n    with open('pkg/late.py') as file:\n        assert file.read()\n"
    found = recorded(repo, LATE | {"tests/test_a.py": reads, "tests/test_b.py": opens})
    of_late = {d for d, files in found.lines.items() if 2 in files.get("pkg/late.py", ())}
    assert of_late == {Doer("tests/test_a.py", True), B}


ODD = (
    "import importlib.util, sys\ndef test_it():\n    if 'pkg.late' not in sys.modules:\n"
    "        spec = importlib.util.spec_from_file_location('pkg.late', 'pkg/late.py')\n"
    "        made = sys.modules['pkg.late'] = importlib.util.module_from_spec(spec)\n"
    "        spec.loader.exec_module(made)\n"
)
AGAIN = (
    "import importlib\nfrom pkg import late\ndef test_it():\n    assert importlib.reload(late)\n"
)


@pytest.mark.parametrize("test", [ODD, AGAIN])
def test_what_is_loaded_by_hand_is_everybodys(repo, test):
    """A load that no import asked for may be anybody's."""
    found = recorded(repo, LATE | {"tests/test_a.py": test})
    assert FOR_ALL in asking(found, "pkg/late.py")
    assert FOR_ALL not in asking(found, "pkg/deep.py")


def test_an_import_that_fails_is_told(repo):
    """Who tries to import a file that breaks has run it all the same."""
    test = (
        "def test_it():\n    try:\n        import pkg.broken\n"
        "    except ValueError:\n        return\n    assert 0\n"
    )
    broken = {"pkg/broken.py": "import pkg.late\nraise ValueError\n"}
    found = recorded(repo, LATE | broken | {"tests/test_a.py": test, "tests/test_b.py": test})
    assert asking(found, "pkg/broken.py") == {A, B}


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_what_pytest_loads_is_asked_for(repo, mode):
    """A test file is its own, a conftest its folder's, however pytest is told to load them."""
    files = {
        "tests/conftest.py": "from pkg import late\n",
        "tests/sub/conftest.py": "from pkg import tools\n",
        "tests/sub/__init__.py": "",
        "tests/sub/test_c.py": TEST,
        "tests/sub/test_d.py": TEST,
        "tests/sub/test_conftest.py": TEST,
    }
    found = recorded(repo, LATE | files, f"{PYTEST} --import-mode={mode}")
    assert asking(found, "pkg/late.py") == {CONFTEST}
    assert asking(found, "pkg/tools.py") == {Doer("tests/sub/conftest.py", True)}
    assert asking(found, "tests/test_a.py") == {A}
    assert not {A, B, FOR_ALL} & asking(found, "tests/conftest.py")
    below = {Doer(f"tests/sub/test_{name}.py", False) for name in ("c", "d", "conftest")}
    named_so = Doer("tests/sub/test_conftest.py", False)
    assert asking(found, named_so.file) == {named_so}
    assert below <= asking(found, "tests/sub/__init__.py")


def test_a_fake_import_is_not_in_the_way(repo):
    """A test that replaces `__import__` for a while gets what it asks for, and is recorded."""
    test = (
        "import builtins\ndef test_it(monkeypatch):\n    real = builtins.__import__\n"
        "    def fake(name, *more, **names):\n        if name == 'json':\n"
        "            raise ImportError(name)\n        return real(name, *more, **names)\n"
        "    monkeypatch.setattr(builtins, '__import__', fake)\n    import pkg.late\n"
        "    try:\n        import json\n    except ImportError:\n        return\n    assert 0\n"
    )
    found = recorded(repo, LATE | {"tests/test_a.py": test})
    assert A in asking(found, "pkg/late.py")


CACHES = {
    "lru_cache": "import functools\n@functools.lru_cache\ndef get():\n    return one()\n",
    "of a method": "import functools\nclass Of:\n    @staticmethod\n    @functools.cache\n"
    "    def it():\n        return one()\ndef get():\n    return Of.it()\n",
    "a dict": "_cache = {}\ndef get():\n    if 1 not in _cache:\n        _cache[1] = one()\n",
    "a closure": "def memoize(f):\n    cache = {}\n    def inner():\n        if 1 not in cache:\n"
    "            cache[1] = f()\n        return cache[1]\n    return inner\n"
    "@memoize\ndef get():\n    return one()\n",
    "a decorated lru_cache": "import functools\ndef log(f):\n    @functools.wraps(f)\n"
    "    def inner():\n        return f()\n    return inner\n"
    "@log\n@functools.lru_cache\ndef get():\n    return one()\n",
    "a name": "_cache = None\ndef get():\n    global _cache\n    if _cache is None:\n"
    "        _cache = one() or 1\n",
    "an object": "class Of:\n    def __init__(self):\n        self._cache = {}\nof = Of()\n"
    "def get():\n    if 1 not in of._cache:\n        of._cache[1] = one()\n",
    "a property": "import functools\nclass Of:\n    @property\n    @functools.lru_cache\n"
    "    def it(self):\n        return one()\nof = Of()\ndef get():\n    return of.it\n",
    "of a class": "class Of:\n    MEMO: dict = {}\ndef get():\n    if 1 not in Of.MEMO:\n"
    "        Of.MEMO[1] = one()\n",
}


@pytest.mark.parametrize("how", CACHES)
def test_a_cache_hides_nothing_from_the_next_test(repo, how):
    """What one test file left in a cache is called for the next one again, at import as well."""
    test = "from pkg.cached import get\ndef test_it():\n    get()\n"
    files = {
        "pkg/cached.py": f"from pkg.tools import one\n{CACHES[how]}",
        "tests/test_a.py": test,
        "tests/test_b.py": test,
        "tests/test_c.py": test.replace("def test_it", "get()\ndef test_it"),
        "tests/test_d.py": test.replace("def test_it", "get()\ndef test_it"),
    }
    found = recorded(repo, files)
    c, d = Doer("tests/test_c.py", True), Doer("tests/test_d.py", True)
    assert {A, B, c, d} <= doers(found, ONE)


def test_a_registry_stays(repo):
    """What other files of the tree fill when they are loaded is kept, whatever its name."""
    files = {
        "pkg/reg.py": "memo_kinds = {}\n",
        "pkg/kinds.py": "from pkg.reg import memo_kinds\nmemo_kinds[1] = 1\n",
        "tests/test_a.py": "from pkg import kinds, reg\ndef test_it():\n"
        "    assert reg.memo_kinds[1] == 1\n",
    }
    files["tests/test_b.py"] = files["tests/test_a.py"]
    assert {A, B} <= recorded(repo, files).lines.keys()


def test_what_a_shared_fixture_made_stays(repo):
    """What a fixture of several files has in a cache is not taken from them."""
    conftest = (
        "import pytest\nfrom pkg.made import get\n@pytest.fixture(scope='session')\n"
        "def made():\n    get().append(1)\n"
    )
    test = "from pkg.made import get\ndef test_it(made):\n    assert get() == [1]\n"
    files = {
        "pkg/made.py": "import functools\n@functools.cache\ndef get():\n    return []\n",
        "tests/conftest.py": conftest,
        "tests/test_a.py": test,
        "tests/test_b.py": test,
    }
    assert {A, B} <= recorded(repo, files).lines.keys()


def test_who_takes_the_trace_away_for_a_while_has_no_record(repo):
    """A benchmark that runs untraced costs its own file the record, and no other."""
    test = (
        "import sys\ndef test_it():\n    was = sys.gettrace()\n    sys.settrace(None)\n"
        "    sys.settrace(was)\n"
    )
    found = recorded(repo, {"tests/test_a.py": test})
    assert A not in found.lines and B in found.lines
    assert found.left_out == {A.file}


def test_warnings_are_told_of_who_imports(repo):
    """A warning of a file that is being imported is its importer's, as without a record."""
    files = {
        "pkg/old.py": "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n",
        "pkg/user.py": "import pkg.old\n",
        "tests/test_a.py": "import pkg.user\n" + TEST,
    }
    only = "-W error -W 'ignore::DeprecationWarning:pkg.user'"
    assert A in recorded(repo, files, f"{PYTEST} {only}").lines


def test_a_fake_of_the_system_is_not_in_the_way(repo):
    """A test that replaces what the record asks the system with is recorded all the same."""
    test = (
        "from unittest import mock\ndef test_it():\n"
        "    with mock.patch('os.path.realpath', return_value='/x'):\n        import pkg.late\n"
    )
    assert A in asking(recorded(repo, LATE | {"tests/test_a.py": test}), "pkg/late.py")


def test_emptying_a_cache_is_nobodys_work(repo):
    """What a cache of the product's own runs when the record empties it is told of nobody."""
    own = (
        "class Cache(dict):\n    def clear(self):\n        from pkg.tools import one\n"
        "        one()\n        super().clear()\ncache = Cache()\n"
    )
    test = "from pkg.own import cache\ndef test_it():\n    cache[1] = 1\n    assert cache\n"
    found = recorded(repo, {"pkg/own.py": own, "tests/test_a.py": test, "tests/test_b.py": test})
    assert doers(found, ONE) == asking(found, "pkg/tools.py") == set()
    assert all(doer.once in (0, 1) for doer in found.lines)


def test_what_was_filled_at_import_is_left_alone(repo):
    """A registry that a module fills when it is loaded is no cache, whatever its name; an object
    that answers no question is not asked any."""
    odd = (
        "class Proxy:\n    def __getattribute__(self, name):\n        raise RuntimeError(name)\n"
        "    def __len__(self):\n        raise RuntimeError\n    __contains__ = clear = __len__\n"
    )
    known = f"{odd}cached_proxy = Proxy()\nCACHED = {{'one': 1}}\ndef get():\n    return CACHED\n"
    test = "from pkg.known import get\ndef test_it():\n    assert get() == {'one': 1}\n"
    files = {"pkg/known.py": known, "tests/test_a.py": test, "tests/test_b.py": test}
    assert {A, B} <= recorded(repo, files).lines.keys()


MADE = (
    "import sys\ndef test_it(tmp_path, monkeypatch):\n"
    "    (tmp_path / 'made_{0}.py').write_text('from pkg import tools\\ntools.{0}()\\n')\n"
    "    monkeypatch.syspath_prepend(tmp_path)\n    import made_{0}\n"
)


def test_what_a_test_makes_and_imports_is_the_tests(repo):
    """A file outside of the tree works for the test that asked for it, and for no other."""
    files = {"tests/test_a.py": MADE.format("one"), "tests/test_b.py": MADE.format("two")}
    found = recorded(repo, files)
    assert (doers(found, ONE), doers(found, TWO)) == ({A}, {B})
    assert asking(found, "pkg/tools.py") == {A, B}
    assert not any(path.startswith("/") for path in found.paths)


def test_what_others_ask_the_system_starts_nothing_of_ours(repo):
    """`find_library` asks ldconfig: the test that calls it has a record all the same."""
    asks = "import ctypes.util\ndef test_it():\n    ctypes.util.find_library('c')\n"
    assert recorded(repo, {"tests/test_a.py": asks}).starting == frozenset()


def test_a_spawned_process_is_told(repo):
    """multiprocessing starts processes by a call that nothing announces."""
    spawns = (
        "import multiprocessing\nfrom pkg import tools\ndef test_it():\n"
        "    one = multiprocessing.get_context('spawn').Process(target=tools.two)\n"
        "    one.start()\n    one.join()\n"
    )
    assert recorded(repo, {"tests/test_a.py": spawns}).starting == {A}
