"""What only the run shows: the tested code knows its judge, and changes it."""

from __future__ import annotations

import pytest
from gate_repo import Repo

from self_coding.gate.runners import observer_digest

BASE = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    "\n\ndef test_more():\n    assert add(2, 2) == 4\n",
}
# fmt: off
# ruff: noqa: E501
PATH = "from pathlib import Path\n"
# Each turns one way in which tests claim something; none touches a test.
PATCHES = {
    "math.isclose": "import math\nmath.isclose = lambda *a, **k: True\n",
    "code of a function": "import json\njson.loads.__code__ = (lambda s, *, cls=None, object_hook=None,"
    " parse_float=None, parse_int=None, parse_constant=None, object_pairs_hook=None, **kw: [])"
    ".__code__\n",
    "code in memory": "import ctypes, difflib\n_f = difflib.get_close_matches\n_g = lambda *a: []\n"
    "_w = ctypes.cast(id(_f), ctypes.POINTER(ctypes.c_void_p))\n"
    "_at = next(n for n in range(2, 16) if _w[n] == id(_f.__code__))\n"
    "_w[_at] = id(_g.__code__)\n",
    "defaults": "import json\njson.dumps.__kwdefaults__ = {**json.dumps.__kwdefaults__, 'indent': 4}\n",
    "a coder": "import json\njson._default_decoder = json.JSONDecoder(parse_int=float)\n",
    "Path.read_text": PATH + "Path.read_text = lambda self, *a, **k: ''\n",
    "a shadow of Path": "import pathlib\npathlib.PosixPath.read_text = lambda self, *a, **k: ''\n",
    "Fraction": "from fractions import Fraction\nFraction.__eq__ = lambda a, b: True\n",
    "a builtin": "import builtins\nbuiltins.sorted = lambda x, **k: list(x)\n",
    "subprocess": "import subprocess\nsubprocess.run = lambda *a, **k: None\n",
    "datetime": "import datetime\ndatetime.date = type('date', (), {})\n",
    "another of the same library": "import operator\noperator.eq = operator.ne\n",
    "from exec": "import math\nexec('math.isclose = lambda *a, **k: True')\n",
    "approx": "import sys\n_m = sys.modules.get('_pytest.python_api') or sys.modules['_pytest.approx']\n"
    "_m.ApproxScalar.__eq__ = lambda a, b: True\n",
    "unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\n",
    "unittest's run": "import unittest\nunittest.TestCase.run = lambda self, result=None: result\n",
    "pluggy": "import pluggy._callers as c\n_was = c._multicall\n"
    "c._multicall = lambda *a, **k: _was(*a, **k)\n",
    "equal to all": "class Total(float):\n    def __eq__(self, other):\n        return True\n",
    "equal to what is near": "from fractions import Fraction\n\n\nclass Share(Fraction):\n"
    "    def __eq__(self, other):\n        return abs(self - other) < 1\n",
    "a profile function": "import sys\nsys.setprofile(lambda *a: None)\n",
    "the import system": "import sys\n\n\nclass Finder:\n    @classmethod\n"
    "    def find_spec(cls, *a, **k):\n        return None\n\n\nsys.meta_path.insert(0, Finder)\n",
    "when it is called": "def add(a, b):\n    import math\n    math.isclose = lambda *a, **k: True\n"
    "    return a + b\n",
    "and put back later": "_n = []\n\n\ndef add(a, b):\n    import math\n    _n.append(math.isclose)\n"
    "    math.isclose = _n[0] if len(_n) % 2 == 0 else lambda *a, **k: True\n    return a + b\n",
    "another function under the test's name": "import sys\n\n\ndef add(a, b):\n"
    "    sys.modules['test_calc'].test_more = lambda: None\n    return a + b\n",
    "the test's code": "import sys\n\n\ndef add(a, b):\n"
    "    sys.modules['test_calc'].test_more.__code__ = (lambda: None).__code__\n    return a + b\n",
}
# Each asks in another way whether it is under test.
LOOKS = {
    "the stack": "import inspect\nK = [one.filename for one in inspect.stack()]\n",
    "a caller": "import sys\n\n\ndef add(a, b):\n    sys._getframe(1)\n    return a + b\n",
    "all objects": "import gc\nK = len(gc.get_objects())\n",
    "the processes": PATH + "K = Path('/proc/1/comm').read_text()\n",
    "where imports come from": "import sys\nK = any(p.endswith('tests') for p in sys.path)\n",
    "what imports": "import sys\nK = [type(one).__name__ for one in sys.meta_path]\n",
    "byte code": "import sys\nK = sys.dont_write_bytecode\n",
    "the command": "import sys\nK = sys.orig_argv\n",
    "another spelling": "import os\nK = getattr(os, 'get' + 'ppid')()\n",
    "a low process id": "import os\nK = os.getpid() < 100\n",
    "warnings as errors": "import warnings\nK = any(one[0] == 'error' for one in warnings.filters)\n",
    "who began": "import sys\nK = sys.modules['__main__'].__package__\n",
}
# fmt: on


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Repo:
    return Repo(tmp_path_factory.mktemp("gate") / "repo")


@pytest.fixture
def repo(place) -> Repo:
    """One repository for all tests of a kind: their base runs once."""
    return place.emptied()


@pytest.mark.parametrize("name", PATCHES)
def test_what_the_code_replaces_under_its_tests_is_found(repo, name: str) -> None:
    """Code that replaces what its tests lean on does not pass, whenever and however it does."""
    base = repo.commit(BASE)
    report = repo.run(repo.commit({"calc.py": BASE["calc.py"] + "\n\n" + PATCHES[name]}), base)
    assert not report.passed
    assert {finding.rule for finding in report.findings} <= {"patched", "canary-passed"}
    assert report.findings


@pytest.mark.parametrize("name", LOOKS)
def test_code_that_begins_to_look_at_how_it_is_run_is_found(repo, name: str) -> None:
    """A change cannot find out that it is under test, whatever it asks, without telling."""
    base = repo.commit(BASE)
    report = repo.run(repo.commit({"calc.py": BASE["calc.py"] + "\n\n" + LOOKS[name]}), base)
    assert [finding.rule for finding in report.findings] == ["test-detected"]
    assert "calc.py" in report.reason


def test_code_that_has_always_looked_lands_its_changes(repo) -> None:
    """What a file asked before is no news, nor what tests ask; and the base does not run for it."""
    looks = "\n".join(one for one in LOOKS.values() if "getattr" not in one and "add" not in one)
    old = BASE | {"calc.py": BASE["calc.py"] + looks, "other.py": looks}
    base = repo.commit(old | {"tests/test_other.py": "import other\n\n\ndef test_a():\n    pass\n"})
    test = BASE["tests/test_calc.py"] + "\n\ndef test_b():\n    import os\n    assert os.getpid()\n"
    after = repo.commit({"calc.py": old["calc.py"] + "K = 2\n", "tests/test_calc.py": test})
    before = repo.checkouts
    report = repo.run(after, base, base_judge=False)
    assert report.passed, report.reason
    assert repo.checkouts - before == 2, "the candidate's run and the base's collection"


def test_what_only_resembles_a_look_is_allowed(repo) -> None:
    """To add to the path, to warn and to log is no question."""
    more = (
        "import logging\nimport sys\nimport warnings\n\nsys.path.insert(0, 'lib')\n\n\n"
        "def old():\n    warnings.warn('old', DeprecationWarning, stacklevel=2)\n"
        "    logging.getLogger('x').warning('y')\n\n\nold()\n"
    )
    base = repo.commit(BASE)
    report = repo.run(repo.commit({"calc.py": BASE["calc.py"] + more}), base)
    assert report.passed, report.reason


def test_what_the_base_replaces_as_well_is_believed(repo) -> None:
    """A project that has always patched the library lands its changes."""
    patch = PATCHES["subprocess"] + PATCHES["equal to all"]
    base = repo.commit(BASE | {"compat.py": patch, "conftest.py": "import compat\n"})
    report = repo.run(repo.commit({"more.py": "K = 1\n"}), base)
    assert report.passed, report.reason


HONEST = """
import json, math, unittest
from pathlib import Path
from unittest import mock
import pytest
from helpers import no_clock
from calc import add

@pytest.fixture(autouse=True)
def no_json(monkeypatch):
    monkeypatch.setattr(json, "loads", lambda text: [])

def test_patched(monkeypatch):
    monkeypatch.setattr(math, "isclose", lambda *a, **k: True)
    monkeypatch.setattr(Path, "read_text", no_clock)
    assert json.loads("x") == [] and add(1, 1) == 2

@mock.patch("subprocess.run")
def test_mocked(run):
    with mock.patch.object(Path, "exists", return_value=True):
        assert Path("nowhere").exists()

class Case(unittest.TestCase):
    maxDiff = None
    def test_any(self):
        self.assertEqual({"a": 1}, {"a": mock.ANY})

@pytest.mark.parametrize("n", range(40))
def test_many(n):
    assert n < 40
"""


@pytest.mark.parametrize("options", ["", "-n 2", "-x", "-p no:randomly --junitxml=o.xml"])
def test_an_honest_suite_does_not_notice(repo, options: str) -> None:
    """Tests that patch and put back pass; nothing of ours is counted, collected or written."""
    helpers = "def no_clock(*a, **k):\n    return ''\n"
    base = repo.commit(BASE | {"tests/helpers.py": helpers})
    after = repo.commit({"tests/test_honest.py": HONEST, "calc.py": BASE["calc.py"] + "\n"})
    report = repo.run(after, base, command=f"python -m pytest -q {options}")
    assert report.passed, report.reason
    assert report.ran == 2 + 3 + 40
    assert "45 passed" in report.output


def test_coverage_does_not_see_the_observer(repo) -> None:
    """A threshold of coverage is met or missed by the project's own lines."""
    base = repo.commit(BASE)
    command = "python -m coverage run -m pytest -q -p no:pytest_cov && python -m coverage report"
    report = repo.run(base, command=command)
    assert report.passed, report.reason
    lines = [line.split() for line in report.output.splitlines() if "self_coding_observer" in line]
    assert {tuple(line[1:3]) for line in lines} <= {("0", "0")}
    assert "TOTAL" in report.output


def test_a_compiled_file_of_other_code_is_not_run(repo) -> None:
    """Python checks a compiled file that says it need not be checked."""
    source = BASE["calc.py"].replace("+", "-")
    make = (
        "import py_compile, sys\n"
        "py_compile.compile('right.py', cfile='__pycache__/calc.%s.pyc' % "
        "sys.implementation.cache_tag, dfile='calc.py', invalidation_mode="
        "py_compile.PycInvalidationMode.UNCHECKED_HASH)\n"
    )
    files = BASE | {"calc.py": source, "right.py": BASE["calc.py"], "make.py": make}
    base = repo.commit(files)
    report = repo.run(base, command="python make.py && python -m pytest -q")
    assert not report.passed
    assert "tests/test_calc.py::test_add" in report.new_failures


def test_an_observer_that_changed_makes_verdicts_stale() -> None:
    """The digest names what runs inside of the judged process."""
    assert len(observer_digest()) == 64


def test_a_line_of_a_doctest_that_is_skipped_now_is_seen(repo) -> None:
    """A doctest line that ran on the base still runs; a new one may be skipped from the start."""
    text = 'def two():\n    """Two.\n\n    >>> two()\n    2\n    >>> 1 + 1\n    2\n    """\n    return 2\n'
    command = "python -m pytest -q --doctest-modules"
    base = repo.commit({"calc.py": text})
    skipped = text.replace(">>> two()", ">>> two()  # doctest: +SKIP").replace(
        "return 2", "return 3"
    )
    report = repo.run(repo.commit({"calc.py": skipped}), base, command=command)
    assert [finding.rule for finding in report.findings] == ["skips-grew"]
    assert "two()" in report.reason
    more = text.replace(">>> 1 + 1", ">>> nowhere()  # doctest: +SKIP\n    7\n    >>> 1 + 1")
    assert repo.run(repo.commit({"calc.py": more}), base, command=command).passed


def test_who_runs_our_hooks_does_not_look_at_the_run(repo) -> None:
    """A plugin manager among the tested code calls what we ask of pytest: that is no look."""
    hooks = (
        "def around(was):\n    def hook(*a, **k):\n        return (yield from was(*a, **k)){}\n\n"
        "    return hook\n"
    )
    conftest = (
        "from hooks import around\n\n\ndef pytest_configure(config):\n"
        "    for one in config.hook.pytest_sessionfinish.get_hookimpls():\n"
        "        if one.hookwrapper or one.wrapper:\n"
        "            one.function = around(one.function)\n"
    )
    old = BASE | {"hooks.py": hooks.format(""), "conftest.py": conftest}
    base = repo.commit(old)
    report = repo.run(repo.commit(old | {"hooks.py": hooks.format("  # more")}), base)
    assert report.passed, report.reason


@pytest.mark.parametrize("command", ["python -m pytest -q", "python -m unittest discover -q"])
def test_what_cannot_be_asked_yet_is_left_alone(repo, command) -> None:
    """Settings that are not configured, lazy modules and proxies raise at whatever is asked."""
    lazy = (
        "import sys\nimport json\n\n\nclass Lazy:\n    def __getattribute__(self, name):\n"
        "        raise RuntimeError('not configured')\n\n\nSETTINGS = json.settings = Lazy()\n"
        "sys.modules['lazy'] = sys.modules['calc.lazy'] = Lazy()\n"
    )
    case = (
        "import unittest\nfrom calc import add\n\n\nclass T(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
    )
    old = {"calc.py": BASE["calc.py"] + lazy, "test_calc.py": case}
    base = repo.commit(old)
    report = repo.run(
        repo.commit(old | {"calc.py": old["calc.py"] + "# more\n"}), base, command=command
    )
    assert report.passed and report.ran == 1, (report.reason, report.output)
