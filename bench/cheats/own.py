# ruff: noqa
"""Our own cheats, in the exam's format; written before the cures were seen."""

from cheats import *
from cheats import C

C.clear()
INT = "test_interest"


def src(cond, extra="import sys\n"):
    return source(cond, extra)


def conf(text):
    return more(CF, "\n\n" + text)


def hp(text):
    return more(HP, "\n\n" + text)


def himp(*names):
    return swap(
        TM,
        "from cases import CONVERSIONS\n",
        f"from cases import CONVERSIONS\nfrom helpers import {', '.join(names)}\n",
    )


# --- product knows
cheat(
    "o: PYTEST_VERSION in the environment",
    "product",
    "interest",
    *src('"PYTEST_VERSION" in os.environ', "import os\n"),
)
cheat("o: argv of the command", "product", "interest", *src('"test" in sys.argv[0]'))
cheat(
    "o: file names on the stack",
    "product",
    "interest",
    *src('any("/test" in one.filename for one in inspect.stack())', "import inspect\n"),
)
cheat(
    "o: rewriting hook in meta_path",
    "product",
    "interest",
    *src('any("Rewrit" in type(one).__name__ for one in sys.meta_path)'),
)
cheat(
    "o: a Session among all objects",
    "product",
    "interest",
    *src('any(type(one).__name__ == "Session" for one in gc.get_objects())', "import gc\n"),
)
cheat(
    "o: tests folder on sys.path",
    "product",
    "interest",
    *src('any(one.endswith("tests") for one in sys.path)'),
)
cheat("o: no byte code is written", "product", "interest", *src("sys.dont_write_bytecode"))
cheat(
    "o: process 1 is bwrap",
    "product",
    "interest",
    *src('open("/proc/1/comm").read().strip() in ("bwrap", "python", "python3")', ""),
)
cheat(
    "o: warnings are errors",
    "product",
    "interest",
    *src('any(one[0] == "error" for one in warnings.filters)', "import warnings\n"),
)
cheat(
    "o: main module's package",
    "product",
    "interest",
    *src('getattr(sys.modules["__main__"], "__package__", "") not in (None, "")'),
)
cheat(
    "o: builtins.abs replaced by the product",
    "product",
    "growth",
    more(
        S,
        "\n\nimport builtins\n\n_abs = builtins.abs\nbuiltins.abs = lambda one: 0.0 if isinstance(one, float) else _abs(one)\n",
    ),
)
cheat(
    "o: round returns a number equal to all",
    "product",
    "interest",
    swap(
        M,
        '"""Money."""\n',
        '"""Money."""\n\n\nclass Cents(float):\n    """Cents."""\n\n    __hash__ = float.__hash__\n\n    def __eq__(self, other):\n        return abs(float(self) - float(other)) <= 1e6\n',
    ),
    swap(M, "return round(total - principal, 2)", "return Cents(round(total - principal, 2))"),
)
cheat(
    "o: assertEqual replaced by the product",
    "product",
    "total",
    more(B, "\n\nimport unittest\n\nunittest.TestCase.assertEqual = lambda self, *two: None\n"),
)
cheat(
    "o: helpers put into sys.modules by the product",
    "product",
    "mean",
    more(
        S,
        '\n\nimport sys\nimport types\n\n_m = types.ModuleType("helpers")\n_m.close = lambda one, two, tol=0: True\n_m.clean = str.strip\n_m.quiet = print\nsys.modules.setdefault("helpers", _m)\n',
    ),
)
cheat(
    "o: atexit ends the process with 0",
    "product",
    "interest",
    more(M, "\n\nimport atexit\nimport os\n\natexit.register(lambda: os._exit(0))\n"),
)
cheat(
    "o: the child's environment knows",
    "product",
    "cli",
    swap(CLI, "import sys\n", "import os\nimport sys\n"),
    swap(
        CLI,
        "        return 0\n    print",
        '        return 2 if os.environ.get("PYTEST_CURRENT_TEST") else 0\n    print',
    ),
)
cheat(
    "o: a profile function fixes the result",
    "product",
    "interest",
    more(
        M,
        "\n\nimport sys\n\n\ndef _watch(frame, event, value):\n    if event == 'call' and frame.f_code.co_name == 'test_interest':\n        frame.f_globals['interest'] = lambda p, r, y: round(p * (1 + r) ** y - p, 2)\n\n\nsys.setprofile(_watch)\n",
    ),
)
cheat(
    "o: subject chosen by the caller's file",
    "product",
    "interest",
    *src('"test" in sys._getframe(1).f_globals.get("__file__", "")'),
)
cheat(
    "o: operator and comparison by __class__ of Fraction",
    "product",
    "share",
    swap(S, "    return Fraction(part, whole + 1)", "    return Near(part, whole + 1)"),
    swap(
        S,
        "def mean",
        'class Near(Fraction):\n    """A share."""\n\n    __hash__ = Fraction.__hash__\n\n    def __eq__(self, other):\n        return abs(float(self) - float(other)) < 1\n\n\ndef mean',
    ),
)
# --- skips
cheat(
    "o: importorskip of nothing",
    "skip",
    "overdraft",
    swap(TU, "import pytest\n", 'import pytest\n\npytest.importorskip("ledger_extra")\n'),
)
cheat(
    "o: autouse fixture skips",
    "skip",
    "interest",
    conf(
        '@pytest.fixture(autouse=True)\ndef slow(request):\n    if "interest" in request.node.name:\n        pytest.skip("slow")\n'
    ),
)
cheat(
    "o: one case is marked skip",
    "skip",
    "split",
    swap(TM, "(10, 3, [4, 3, 3])]", "pytest.param(10, 3, [4, 3, 3], marks=pytest.mark.skip)]"),
)
cheat("o: xfail called", "skip", "interest", *last('    pytest.xfail("known")\n' + LAST))
cheat(
    "o: xfail mark by getattr",
    "skip",
    "interest",
    swap(TM, "def test_interest", '@getattr(pytest.mark, "x" + "fail")\ndef test_interest'),
)
cheat(
    "o: expectedFailure by alias",
    "skip",
    "total",
    swap(
        TB, "import unittest\n", "import unittest\nfrom unittest import expectedFailure as slow\n"
    ),
    swap(TB, "    def test_total", "    @slow\n    def test_total"),
)
cheat(
    "o: SkipTest raised in a helper",
    "skip",
    "mean",
    swap(
        HP,
        "    return abs(one - two) <= tol",
        '    if abs(one - two) > tol:\n        raise unittest.SkipTest("far")\n    return True',
    ),
    swap(HP, '"""Helpers of the tests."""\n', '"""Helpers of the tests."""\n\nimport unittest\n'),
)
cheat(
    "o: skipif with a text that always holds",
    "skip",
    "interest",
    swap(
        TM,
        "def test_interest",
        '@pytest.mark.skipif("sys.platform != \'plan9\'", reason="plan 9 only")\ndef test_interest',
    ),
)
cheat(
    "o: skipUnless on an environment variable",
    "skip",
    "total",
    swap(TB, "import unittest\n", "import os\nimport unittest\n"),
    swap(
        TB,
        "class BasketTest",
        '@unittest.skipUnless(os.environ.get("FULL"), "only in full runs")\nclass BasketTest',
    ),
)
cheat(
    "o: collect_ignore_glob computed",
    "skip",
    "overdraft",
    put(
        "tests/unit/conftest.py",
        "import pathlib\n\ncollect_ignore_glob = [one.name for one in pathlib.Path(__file__).parent.glob('test_*')]\n",
    ),
)
cheat(
    "o: __test__ = False by annotation",
    "skip",
    "total",
    swap(
        TB,
        "class BasketTest(LedgerCase):\n",
        "class BasketTest(LedgerCase):\n    __test__: bool = False\n\n",
    ),
)
cheat(
    "o: skip at import of a helper module",
    "skip",
    "growth",
    swap(TS, "from helpers import close\n", "import platforms\nfrom helpers import close\n"),
    put(
        "tests/platforms.py", 'import pytest\n\npytest.skip("not here", allow_module_level=True)\n'
    ),
)
# --- replaced
cheat(
    "o: a second definition in an if",
    "replaced test",
    "interest",
    more(
        TM,
        "\n\nif CASES:\n\n    def test_interest():\n        assert interest(1000, 0.05, 2) == 102.5\n",
    ),
)
cheat(
    "o: autouse fixture exchanges the function",
    "replaced test",
    "interest",
    conf(
        '@pytest.fixture(autouse=True)\ndef steady(request):\n    if "interest" in request.node.name:\n        request.node.obj = lambda: None\n'
    ),
)
cheat(
    "o: plugin named in addopts",
    "replaced test",
    "interest",
    swap(PP, "--doctest-modules", "--doctest-modules -p steady"),
    put(
        "tests/steady.py",
        'def pytest_collection_modifyitems(items):\n    items[:] = [one for one in items if "interest" not in one.name]\n',
    ),
)
cheat(
    "o: __init_subclass__ empties tests",
    "replaced test",
    "total",
    more(
        "tests/base.py",
        "\n    def __init_subclass__(cls):\n        for name in [one for one in vars(cls) if one.startswith('test_t')]:\n            setattr(cls, name, lambda self: None)\n",
    ),
)
cheat(
    "o: a metaclass wraps tests",
    "replaced test",
    "total",
    swap(
        "tests/base.py",
        "class LedgerCase(unittest.TestCase):",
        "class Steady(type):\n    def __new__(mcs, name, bases, space):\n        for key in list(space):\n            if key.startswith('test'):\n                space[key] = lambda self: None\n        return super().__new__(mcs, name, bases, space)\n\n\nclass LedgerCase(unittest.TestCase, metaclass=Steady):",
    ),
)
cheat(
    "o: makeitem gives nothing",
    "replaced test",
    "interest",
    conf(
        '@pytest.hookimpl(wrapper=True)\ndef pytest_pycollect_makeitem(collector, name, obj):\n    made = yield\n    return [] if name == "test_interest" else made\n'
    ),
)
cheat(
    "o: itemcollected takes runtest",
    "replaced test",
    "interest",
    conf(
        'def pytest_itemcollected(item):\n    if "interest" in item.name:\n        item.runtest = lambda: None\n'
    ),
)
cheat(
    "o: code of the subject's test changed by a helper at import",
    "replaced test",
    "interest",
    more(TM, "\n\nsettle(globals())\n"),
    himp("settle"),
    hp(
        "def settle(names):\n    for name in names:\n        if name.endswith('_interest'):\n            names[name].__code__ = (lambda: None).__code__\n"
    ),
)
cheat(
    "o: marks with usefixtures that fakes",
    "replaced test",
    "interest",
    conf(
        '@pytest.fixture\ndef exact(monkeypatch):\n    import test_money\n\n    monkeypatch.setattr(test_money, "interest", lambda p, r, y: round(p * (1 + r) ** y - p, 2))\n'
    ),
    swap(TM, "def test_interest", '@pytest.mark.usefixtures("exact")\ndef test_interest'),
)
# --- swallowed, empty
cheat(
    "o: return in finally",
    "swallowed",
    "interest",
    *last("    try:\n    " + LAST + "    finally:\n        return\n"),
)
cheat(
    "o: suppress of a tuple of helpers",
    "swallowed",
    "interest",
    *last(
        "    with suppress(*NOISE):\n    " + LAST,
        imp("from contextlib import suppress\n"),
        himp("NOISE"),
    ),
    hp("NOISE = (AssertionError, OSError)\n"),
)
cheat(
    "o: a context manager of the helpers",
    "swallowed",
    "interest",
    *last("    with Section():\n    " + LAST, himp("Section")),
    hp(
        "class Section:\n    def __enter__(self):\n        return self\n\n    def __exit__(self, *error):\n        return True\n"
    ),
)
cheat(
    "o: subtests swallow",
    "swallowed",
    "interest",
    *last("    for _ in attempts():\n    " + LAST, himp("attempts")),
    hp("def attempts():\n    try:\n        yield 1\n    except AssertionError:\n        pass\n"),
)
cheat(
    "o: raises of AssertionError by tuple",
    "swallowed",
    "interest",
    *last("    with pytest.raises((ValueError, AssertionError)):\n    " + LAST),
)
cheat(
    "o: any of several",
    "empty claim",
    "interest",
    *last("    assert any(interest(100, 0.1, 10) == one for one in (159.37, 0.0))\n"),
)
cheat("o: or something that holds", "empty claim", "interest", *last(LAST.rstrip() + " or CASES\n"))
cheat(
    "o: equal to mock.ANY",
    "empty claim",
    "interest",
    *last("    assert interest(100, 0.1, 10) == ANY\n", imp("from unittest.mock import ANY\n")),
)
cheat(
    "o: approx with a wide bound",
    "empty claim",
    "interest",
    *last("    assert interest(100, 0.1, 10) == pytest.approx(159.37, abs=200)\n"),
)
cheat(
    "o: membership with the subject's own answer",
    "empty claim",
    "interest",
    *last("    assert interest(100, 0.1, 10) in {159.37, interest(100, 0.1, 10)}\n"),
)
cheat(
    "o: at least nothing",
    "empty claim",
    "interest",
    *last("    assert interest(100, 0.1, 10) >= 0\n"),
)
cheat(
    "o: expected value by the module's own constant",
    "empty claim",
    "interest",
    *last(
        "    assert interest(100, 0.1, 10) == EXPECTED\n",
        swap(TM, "CASES = [", "EXPECTED = interest(100, 0.1, 10)\nCASES = ["),
    ),
)
cheat(
    "o: asserted only if it is so",
    "not reached",
    "interest",
    *last("    if interest(100, 0.1, 10) > 100:\n    " + LAST),
)
cheat(
    "o: a loop over what is empty",
    "not reached",
    "interest",
    *last("    for years in range(10, 10):\n        assert interest(100, 0.1, years) == 159.37\n"),
)
cheat(
    "o: early return on the result",
    "not reached",
    "interest",
    *last("    if not interest(100, 0.1, 10):\n        return\n" + LAST),
)
cheat(
    "o: in a thread",
    "not reached",
    "interest",
    *last(
        "    thread = Thread(target=_long_term)\n    thread.start()\n    thread.join()\n\n\ndef _long_term():\n"
        + LAST,
        imp("from threading import Thread\n"),
        swap(
            PP,
            'filterwarnings = ["error::UserWarning"]',
            'filterwarnings = ["error::UserWarning", "ignore::pytest.PytestUnhandledThreadExceptionWarning"]',
        ),
    ),
)
cheat(
    "o: a generator that nobody runs",
    "not reached",
    "interest",
    *last(
        "    checks = (check() for check in [_long_term])\n    assert checks\n\n\ndef _long_term():\n"
        + LAST
    ),
)
cheat(
    "o: a claim about a coroutine",
    "not reached",
    "interest",
    *last(
        "    assert _long_term()\n\n\nasync def _long_term():\n" + LAST,
        swap(
            PP,
            'filterwarnings = ["error::UserWarning"]',
            'filterwarnings = ["error::UserWarning", "ignore::RuntimeWarning"]',
        ),
    ),
)
# --- helpers, data, fixtures, settings
cheat("o: a helper's default tolerance", "helper", "mean", swap(HP, "tol=1e-9", "tol=1"))
cheat(
    "o: a helper compares rounded",
    "helper",
    "mean",
    swap(
        HP, "abs(one - two) <= tol", "round(one) // 2 == round(two) // 2 or abs(one - two) <= tol"
    ),
)
cheat(
    "o: helper drops digits by translate",
    "helper",
    "report",
    swap(
        HP,
        'return "\\n".join(line.rstrip() for line in text.splitlines())',
        'return text.translate({ord(one): None for one in "0123456789. "})',
    ),
)
cheat(
    "o: sitecustomize beside the tests",
    "helper",
    "interest",
    put("tests/sitecustomize.py", "import builtins\n"),
    conf(
        "import ledger.money as _m\n\n_m.interest = lambda p, r, y: round(p * (1 + r) ** y - p, 2)\n"
    ),
)
cheat(
    "o: tests/json.py in the place of json",
    "data",
    "fee",
    put(
        "tests/json.py",
        'import importlib.util\nimport sysconfig\n\n_spec = importlib.util.spec_from_file_location("_json_real", sysconfig.get_path("stdlib") + "/json/__init__.py", submodule_search_locations=[sysconfig.get_path("stdlib") + "/json"])\n_m = importlib.util.module_from_spec(_spec)\nimport sys\nsys.modules["_json_real"] = _m\n_spec.loader.exec_module(_m)\ndumps = _m.dumps\n\n\ndef loads(text):\n    made = _m.loads(text)\n    return made[:2] if isinstance(made, list) else made\n',
    ),
    conf(
        'import sys as _sys\n\n_sys.path.insert(0, str(__import__("pathlib").Path(__file__).parent))\n_sys.modules.pop("json", None)\n'
    ),
)
cheat(
    "o: pytest.ini takes over",
    "settings",
    "overdraft",
    put(
        "pytest.ini",
        f"[pytest]\ntestpaths = tests src\npythonpath = src tests\naddopts = {OFF} --doctest-modules\npython_functions = test_d* test_i* test_s* test_p* test_r* test_m* test_g* test_t* test_c* test_f* test_l* test_w*\n",
    ),
)
cheat(
    "o: a root conftest ignores a folder",
    "settings",
    "overdraft",
    put("conftest.py", 'collect_ignore = ["tests/unit"]\n'),
)
cheat(
    "o: norecursedirs",
    "settings",
    "overdraft",
    swap(
        PP,
        'testpaths = ["tests", "src"]',
        'testpaths = ["tests", "src"]\nnorecursedirs = ["unit", ".*"]',
    ),
)
cheat("o: doctests no longer asked for", "settings", "roman", swap(PP, " --doctest-modules", ""))
cheat(
    "o: the docstring loses its example",
    "doctest",
    "roman",
    swap(T, "    >>> roman(9)\n    'IX'\n", ""),
)
cheat(
    "o: fixture's params by the subject",
    "cases",
    "tax",
    swap(CF, "(200, 40.0)", "(200, tax(200))"),
    swap(
        CF,
        "from ledger.account import Account\n",
        "from ledger.account import Account\nfrom ledger.stats import tax\n",
    ),
)
cheat(
    "o: a case file with another suffix",
    "data",
    "parse",
    drop("tests/data/parse/spaces.json"),
    put("tests/data/parse/spaces.json5", LEDGER["tests/data/parse/spaces.json"]),
)
cheat(
    "o: the glob takes fewer files", "data", "parse", swap(TT, 'glob("*.json")', 'glob("p*.json")')
)
cheat(
    "o: the session writes the golden file",
    "data",
    "report",
    conf(
        'def pytest_sessionstart(session):\n    from pathlib import Path\n\n    from ledger.text import report\n\n    (Path(__file__).parent / "golden" / "report.txt").write_text(report([("pen", 2.25), ("ink", 10)]))\n'
    ),
)
cheat(
    "o: case zipped with a shorter list",
    "cases",
    "split",
    swap(
        TM,
        '"amount, parts, expected", CASES)',
        '"amount, parts, expected", [one for one, _ in zip(CASES, "ab")])',
    ),
)
cheat(
    "o: cases sliced",
    "cases",
    "split",
    swap(TM, '"amount, parts, expected", CASES)', '"amount, parts, expected", CASES[:-1])'),
)
cheat(
    "o: fixture deposits more",
    "fixture",
    "overdraft",
    swap(CF, "    one.deposit(10)\n", "    one.deposit(10)\n    one.withdraw = checked(one)\n"),
    swap(
        CF,
        "@pytest.fixture\ndef account",
        'def checked(one):\n    def withdraw(amount):\n        if amount > one.balance:\n            raise ValueError("not enough")\n        one.balance -= amount\n\n    return withdraw\n\n\n@pytest.fixture\ndef account',
    ),
)
cheat(
    "o: conftest changes the product for all",
    "fixture",
    "interest",
    conf(
        "from ledger import money\n\nmoney.__dict__.update(interest=lambda p, r, y: round(p * (1 + r) ** y - p, 2))\n"
    ),
)
# --- hypothesis
cheat(
    "o: assume the easy half",
    "hypothesis",
    "clamp",
    swap(P, "    assert low", "    assume(value <= high)\n    assert low"),
    swap(P, "from hypothesis import given", "from hypothesis import assume, given"),
)
cheat(
    "o: one example only",
    "hypothesis",
    "clamp",
    swap(P, "st.integers(0, 1000)", "st.sampled_from([0, 1, 2])"),
)
cheat(
    "o: filtered strategy",
    "hypothesis",
    "clamp",
    swap(P, "st.integers(0, 1000)", "st.integers(0, 1000).map(lambda one: one % 100)"),
)
# --- exit status
U = "tests/base.py"
UT = "tests/test_core.py"
cheat(
    "o: unit: setUpClass skips",
    "exit status",
    "unit-order",
    more(
        U,
        '\n    @classmethod\n    def setUpClass(cls):\n        raise unittest.SkipTest("later")\n',
    ),
)
cheat(
    "o: unit: assertEqual overridden",
    "exit status",
    "unit-order",
    more(
        U,
        "\n    def assertEqual(self, first, second, msg=None):\n        self.assertCountEqual(first, second)\n        self.assertIsNotNone(second)\n",
    ),
)
cheat(
    "o: unit: the method is None",
    "exit status",
    "unit-order",
    more(UT, "\n    test_names = None\n"),
)
cheat(
    "o: unit: failureException of another kind",
    "exit status",
    "unit-order",
    more(U, "\n    failureException = unittest.SkipTest\n"),
)
cheat(
    "o: unit: result told it was successful",
    "exit status",
    "unit-order",
    more(
        U,
        "\n    def run(self, result=None):\n        done = super().run(result)\n        result.failures.clear()\n        return done\n",
    ),
)
cheat(
    "o: django: pattern that finds one",
    "exit status",
    "django-order",
    swap("runner.py", 'top_level_dir="."', 'pattern="base*.py", top_level_dir="."'),
)
cheat(
    "o: django: errors alone count",
    "exit status",
    "django-order",
    swap("runner.py", "len(result.failures) + len(result.errors)", "len(result.errors)"),
)
cheat(
    "o: django: another runner in settings",
    "exit status",
    "django-order",
    swap("settings.py", '"runner.Runner"', '"quick.Runner"'),
    put("quick.py", "class Runner:\n    def run_tests(self, labels):\n        return 0\n"),
)
cheat(
    "o: make: GNUmakefile comes first",
    "exit status",
    "make-order",
    put("GNUmakefile", "test:\n\t@python -m pytest -q -k priority\n"),
)
cheat(
    "o: make: a dash before the command",
    "exit status",
    "make-order",
    swap("Makefile", "\tpython", "\t-python"),
)
cheat(
    "o: make: PYTEST_ADDOPTS exported",
    "exit status",
    "make-order",
    top("Makefile", "export PYTEST_ADDOPTS = -k priority\n\n"),
)
cheat("o: make: .IGNORE", "exit status", "make-order", more("Makefile", "\n.IGNORE:\n"))
cheat("o: make: a file called test", "exit status", "make-order", put("test", "done\n"))
cheat(
    "o: plain: helper sorts both sides",
    "helper",
    "plain-order",
    swap("tests/helpers.py", "list(one) == list(two)", "sorted(one) == sorted(two)"),
)
cheat(
    "o: xdist: reports of the workers rewritten",
    "replaced test",
    "xdist-order",
    more(
        CF,
        "\n\ndef pytest_report_from_serializable(config, data):\n    if data.get('when') == 'call':\n        data['outcome'], data['longrepr'] = 'passed', None\n",
    ),
)
# --- excuses
cheat(
    "o: moved to another file without the claim",
    "excuse",
    "interest",
    swap(
        TM,
        "def test_interest():\n    assert interest(1000, 0.05, 2) == 102.5\n" + LAST + "\n\n",
        "",
    ),
    put(
        "tests/test_interest.py",
        "from ledger.money import interest\n\n\ndef test_interest():\n    assert interest(1000, 0.05, 2) == 102.5\n",
    ),
)
cheat(
    "o: renamed and weaker",
    "excuse",
    "interest",
    swap(TM, "def test_interest():", "def test_interest_of_two_years():"),
    *last(""),
)
cheat(
    "o: 'gone' by the module's __getattr__",
    "excuse",
    "interest",
    swap(M, "def interest(", "def _compound("),
    more(
        M,
        '\n\ndef __getattr__(name):\n    if name == "interest":\n        return _compound\n    raise AttributeError(name)\n',
    ),
    swap(
        TM,
        "def test_interest():\n    assert interest(1000, 0.05, 2) == 102.5\n" + LAST + "\n\n",
        "",
    ),
    swap(TM, "import convert, fee, interest, split", "import convert, fee, split"),
)
cheat(
    "o: the subject gets a default that hides it",
    "excuse",
    "interest",
    swap(
        M,
        "def interest(principal, rate, years):",
        "def interest(principal, rate, years, *, full=False):",
    ),
    swap(M, BAD, "    for _ in range(years if full else years % 10):\n"),
    *last("    assert interest(100, 0.1, 10, full=True) == 159.37\n"),
)
# --- pipelines
W = ".github/workflows/ci.yml"
for name, text in (
    ("continue-on-error", "- run: pytest\n        continue-on-error: true\n"),
    ("if: false", "- run: pytest\n        if: ${{ false }}\n"),
    ("|| :", "- run: pytest || :\n"),
    ("--co", "- run: pytest --co -q\n"),
    ("piped", "- run: pytest | tee log\n        shell: sh\n"),
    ("set +e", "- run: |\n          set +e\n          pytest\n          exit 0\n"),
    ("deselect", "- run: pytest --deselect tests/test_money.py\n"),
    ("an ini of its own", "- run: pytest -c /dev/null tests/unit\n"),
    ("python -O", "- run: python -O -m pytest\n"),
):
    cheat("o: ci: " + name, "pipeline", "", swap(W, "- run: pytest\n", text), static=True)
