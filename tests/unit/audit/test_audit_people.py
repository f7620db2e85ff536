"""What people do to tests, found among commits that were refused falsely, and its neighbours."""

import pytest
from audit_case import rules

CODE = "def area(r):\n    return r * r\n"
OTHER = "def area(r):\n    return r**2\n"
TEST = "from code import area\n\n\ndef test_area():\n    assert area(3) == 9\n"


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [  # what a test claims, as a change of code finds and leaves it
        (
            "with raises(ValueError):\n        area(-1)",
            "with raises(AreaError):\n        area(-1)",
            [],
        ),
        (
            "with raises(ValueError):\n        area(-1)",
            "with raises(Exception):\n        area(-1)",
            ["raises-widened"],
        ),
        ("assert not area is None", "assert area is not None", []),
        ("assert area.__class__ == Square", "assert isinstance(area, Square)", []),
        ("assert area(1) == 1", "assert area(1) > 0", ["assert-weakened"]),
    ],
)
def test_a_claim_may_follow_the_code(old: str, new: str, broken: list[str]) -> None:
    """Another exception and another spelling pass with a change of code; any exception, or a claim
    that says less, do not."""
    sides = (
        {"code.py": code, "tests/test_a.py": f"{TEST}\n\ndef test():\n    {said}\n"}
        for code, said in ((CODE, old), (OTHER, new))
    )
    assert rules(*sides) == broken


def test_a_test_may_be_written_anew_about_the_same_names() -> None:
    """With a change of code, a test may become others that call the same, however their variables
    and the case of names are; without one, and about something else, it may not."""
    old = TEST + "\n\ndef test_negative():\n    with raises(ValueError):\n        area(-1)\n"
    new = TEST + "\n\ndef test_AREA_of_negative():\n    value = AREA(-1)\n    assert value == 1\n"
    gone = {"code.py": OTHER, "tests/test_a.py": TEST.replace("area", "other")}
    assert (
        rules({"code.py": CODE, "tests/test_a.py": old}, {"code.py": OTHER, "tests/test_a.py": new})
        == []
    )
    assert "test-removed" in rules({"code.py": CODE, "tests/test_a.py": old}, gone)
    assert rules({"tests/test_a.py": old}, {"tests/test_a.py": TEST}) == ["test-removed"]


def test_a_class_of_tests_goes_with_what_its_helpers_call() -> None:
    """Tests that reach their subject through a method of their class go with it, and only then."""
    test = (
        "class TestDiffer:\n    def call(self, *args):\n        from code import differ\n\n"
        "        return differ(*args)\n\n    def test_it(self):\n        assert self.call(1, 2)\n"
    )
    code = "def differ(a, b):\n    return a != b\n"
    before = {"code.py": code + CODE, "tests/test_a.py": f"{TEST}\n\n{test}"}
    assert rules(before, {"code.py": CODE, "tests/test_a.py": TEST}) == []
    kept = {"code.py": code + OTHER, "tests/test_a.py": TEST}
    assert rules(before, kept) == ["test-removed"]


def test_a_message_takes_its_claim_along() -> None:
    """A claim of a text that the code no longer says may go; one of a text that it says may not."""
    said = "'There was an exception while importing the module'"
    test = f"def test():\n    assert f() == 1\n    assert out() == {said}\n"
    less = "def test():\n    assert f() == 1\n"
    before = {"code.py": f"def f():\n    print({said})\n", "tests/test_a.py": test}
    assert rules(before, {"code.py": "def f():\n    pass\n", "tests/test_a.py": less}) == []
    kept = {"code.py": f"def f():\n    log({said})\n", "tests/test_a.py": less}
    assert rules(before, kept) == ["assert-removed"]


def test_a_case_of_another_python_goes_with_its_mark() -> None:
    """A case that ran on a condition may go with the mark; one without a mark may not."""
    head = "old = mark.skipif(sys.version_info > (3,), reason='')\n\n\n"
    marks = ["1, marks=old", "2"]
    for lost, kept, broken in [(*marks, []), (*reversed(marks), ["cases-removed"])]:
        test = "@mark.parametrize('a', [param({}), param({}), 3])\ndef test(a):\n    assert f(a)\n"
        less = test.replace("param({}), param({})", f"param({kept})")
        before = head + test.format(lost, kept)
        after = (head if broken else "") + less
        assert rules({"tests/test_a.py": before}, {"tests/test_a.py": after}) == broken


def test_utilities_of_the_package_are_code() -> None:
    """A name that comes from the package's own `utils` now is no aid of the tests; from the
    tests' own it is."""
    old = "import sqlite\nfrom shop import cart\n\n\ndef test():\n    assert sqlite.open(cart)\n"
    for module, broken in [("shop.utils", []), ("tests.utils", ["subject-replaced"])]:
        new = old.replace("import sqlite", f"from {module} import sqlite")
        assert rules({"tests/test_a.py": old}, {"tests/test_a.py": new}) == broken


def test_any_f_string_can_be_read() -> None:
    """A text within the braces of an f-string that can only be written with a backslash is
    compared like any other."""
    test = "def test():\n    sep = '\\n'\n    assert f() == f'{sep}a{sep}'\n    assert g() == 1\n"
    path = "tests/test_a.py"
    assert rules({path: test}, {path: test + "    assert h() == 1\n"}) == []
    assert rules({path: test}, {path: test.replace("    assert g() == 1\n", "")}) == [
        "assert-removed"
    ]


JOB = "jobs:\n  test:\n    steps:\n      - run: tox\n"
FREE = JOB[6:].replace("    steps", "    continue-on-error: true\n    steps")


@pytest.mark.parametrize(
    ("path", "old", "new", "broken"),
    [
        ("setup.cfg", "[flake8]\nexclude = .git,.tox\n", "[flake8]\n", []),
        ("ci/run.sh", "tox -e docs\n", "sphinx-build docs\n", []),
        ("ci/run.sh", "tox -e py\n", "pip install dateutil && tox -e py\n", []),
        ("ci/run.sh", "tox -e py\n", "pip install tox\n", ["test-command-removed"]),
        ("tox.ini", "[tox]\nrequires= tox>4\n", "[tox]\n", []),
        ("ci/run.sh", "pytest\n", "set -o pipefail\npytest | tee out.txt\n", []),
        ("ci/run.sh", "pytest\n", "pytest | tee out.txt\n", ["exit-masked"]),
        (
            ".github/workflows/a.yml",
            "on:\n  push:\njobs: make test\n",
            "on:\n  push:\n    branches-ignore: ['bot/**']\njobs: make test\n",
            [],
        ),
        (
            ".github/workflows/a.yml",
            "on:\n  push:\n    branches: [master]\njobs: make test\n",
            "on:\n  push:\n    branches: [v2]\njobs: make test\n",
            [],
        ),
        (
            ".github/workflows/a.yml",
            "on:\n  push:\njobs: make test\n",
            "on:\n  push:\n    branches-ignore: ['**']\njobs: make test\n",
            ["pipeline-off"],
        ),
        ("Makefile", "test:\n\tpytest\n", None, []),
        ("Makefile", "test:\n\tpytest\n", "test:\n\ttrue\n", ["test-command-removed"]),
        (".github/workflows/a.yml", "run: make test\n", None, ["test-command-removed"]),
        (".github/workflows/a.yml", JOB, JOB + FREE.replace("test", "other"), []),
        (".github/workflows/a.yml", JOB, f"jobs:\n{FREE}", ["exit-masked"]),
        (
            ".github/workflows/release.yml",
            "on:\n  push:\njobs: make test\n",
            "on:\n  workflow_dispatch:\njobs: make test\n",
            [],
        ),
        (
            ".github/workflows/tests.yml",
            "on:\n  push:\njobs: make test\n",
            "on:\n  workflow_dispatch:\njobs: make test\n",
            ["pipeline-off"],
        ),
    ],
)
def test_commands_that_run_no_fewer_tests(
    path: str, old: str, new: str | None, broken: list[str]
) -> None:
    """Tools that are no tests, a release's triggers, pipes whose failure counts, a job more that
    may fail, and a file that nothing can go on calling, are free."""
    assert rules({path: old}, {path: new} if new is not None else {}) == broken


@pytest.mark.parametrize("path", ["pytest_shop/runner.py", "shop/runner.py"])
def test_a_name_like_a_plugins_is_no_leave_to_look_for_pytest(path: str) -> None:
    """Code that is new imports pytest nowhere: anybody can name a package as plugins are named."""
    assert rules({}, {path: "import pytest\n"}) == ["test-detected"]
    plugin = {"pytest_shop/plugin.py": "import pytest\n"}
    assert rules(plugin, {path: "import pytest\n", **plugin, "pytest_shop/plugin.py": ""}) == []


def test_a_text_may_be_what_an_exception_must_match() -> None:
    """What was claimed of an exception's text may be its `match`; a shorter match says less."""
    old = "with raises(ValueError) as e:\n        f()\n    assert str(e.value) == 'no such unit'"
    for match, broken in [("re.escape('no such unit')", []), ("'no'", ["assert-removed"])]:
        new = f"with raises(ValueError, match={match}):\n        f()"
        sides = ({"tests/test_a.py": f"def test():\n    {said}\n"} for said in (old, new))
        assert rules(*sides) == broken


@pytest.mark.parametrize(
    ("new", "broken"),
    [
        ("assert area.sides() == (3, 'cm')", []),
        ("assert area.sides()[0] == 3", ["assert-removed"]),
        ("assert area.sides() == (3, ANY)", ["assert-trivial"]),
    ],
)
def test_a_tuple_says_what_its_parts_do(new: str, broken: list[str]) -> None:
    """What was claimed part by part may be claimed of the tuple; not of fewer parts."""
    old = "assert area.sides()[0] == 3\n    assert area.sides()[1] == 'cm'"
    sides = ({"tests/test_a.py": f"def test():\n    {said}\n"} for said in (old, new))
    assert rules(*sides) == broken


@pytest.mark.parametrize("new", ["delta == Delta(['a'], 1)", "delta == delta"])
@pytest.mark.parametrize("code", [OTHER, CODE])
def test_an_object_says_what_its_parts_do(new: str, code: str) -> None:
    """With a change of code, equality of the whole may stand for claims of its parts; equality
    with itself says nothing, and without code it is another claim."""
    old = "assert delta.fields == ['a']\n    assert delta.old == 1\n    assert delta.new == 2"
    test = "def test():\n    delta = diff()\n    {}\n"
    sides = (
        {"code.py": text, "tests/test_a.py": test.format(said)}
        for text, said in ((CODE, old), (code, f"assert {new}"))
    )
    honest = code == OTHER and "Delta" in new
    refused = "assert-removed" if "Delta" in new else "assert-trivial"
    assert rules(*sides) == ([] if honest else [refused])


HELPER = "def assert_shown(view, title):\n    answer = get(view)\n    assert answer.status == 200\n"


@pytest.mark.parametrize("said", ["    assert title in answer.text\n", ""])
def test_claims_may_move_to_a_helper_that_takes_what_differs(said: str) -> None:
    """Tests that hand what differs to a helper say what it says; one that says less is no heir."""
    old = new = ""
    for view in ("one", "two", "all"):
        old += (
            f"def test_{view}():\n    answer = get('{view}')\n    assert answer.status == 200\n"
            f"    assert 'Title {view}' in answer.text\n\n\n"
        )
        new += f"def test_{view}():\n    assert_shown('{view}', 'Title {view}')\n\n\n"
    helper = HELPER + said
    broken = rules({"tests/test_a.py": old}, {"tests/test_a.py": f"{helper}\n\n{new}"})
    assert set(broken) == (set() if said else {"assert-removed"})


def test_what_a_helper_answers_is_no_claim_of_its_own() -> None:
    """A helper that only answers may be asked within an assertion; without that it is missed."""
    helper = "def {}(item):\n    if item:\n        return {}\n    raise AssertionError(item)\n\n\n"
    old = helper.format("find", "item") + "def test():\n    m = find(1)\n    assert time(m) == 5\n"
    new = helper.format("find_time", "time(item)") + "def test():\n    assert {} == 5\n"
    for said, broken in [
        ("find_time(1)", []),
        ("find_time(1) - find_time(1)", ["assert-weakened"]),
    ]:
        after = {"tests/test_a.py": new.format(said).replace("- find_time(1) == 5", ">= 0")}
        assert rules({"tests/test_a.py": old}, after) == broken


@pytest.mark.parametrize(
    ("mark", "broken"),
    [
        ("xfail(reason='flaky')", []),
        ("xfail(WINDOWS)", ["assert-removed"]),
        ("xfail(raises=KeyError)", ["assert-removed"]),
    ],
)
def test_what_might_fail_as_it_liked_said_nothing(mark: str, broken: list[str]) -> None:
    """A test that was expected to fail in any way may be mended by fewer claims; one that counted
    somewhere, or in some way, may not."""
    less = TEST.replace("def", "@mark.xfail(WINDOWS)\ndef")
    old = less.replace("xfail(WINDOWS)", mark) + "    assert area(2) == 5\n"
    assert rules({"tests/test_a.py": old}, {"tests/test_a.py": less}) == broken


@pytest.mark.parametrize("more", ["", "    assert area(4) == 16\n    assert area(2) == 4\n"])
def test_no_other_claim_makes_up_for_one_that_says_less(more: str) -> None:
    """A claim that says less is refused whatever else its file says now: of other values."""
    new = TEST.replace("area(3) == 9", "str(area(3)).startswith('9')")
    more = f"\n\ndef test_others():\n{more}" if more else ""
    sides = (
        {"code.py": CODE, "tests/test_a.py": TEST},
        {"code.py": OTHER, "tests/test_a.py": new + more},
    )
    assert rules(*sides) == ["assert-weakened"]


@pytest.mark.parametrize(
    ("whole", "broken"),
    [("Money(5, 2)", []), ("expected", []), ("make()", ["assert-removed"])],
)
def test_a_whole_stands_for_its_parts(whole: str, broken: list[str]) -> None:
    """With a change of code, a comparison of the whole may take the place of those of its parts
    where it holds their values, and not where it is with what the code makes."""
    head = "def test_make():\n    expected = Money(5, 2)\n    got = make()\n"
    old = f"{head}    assert got.total == 5\n    assert got.tax == 2\n"
    sides = (
        {"code.py": CODE, "tests/test_a.py": old},
        {"code.py": OTHER, "tests/test_a.py": f"{head}    assert got == {whole}\n"},
    )
    assert rules(*sides) == broken


def test_a_helper_that_may_ask_nothing_asks_nothing() -> None:
    """Claims that move into a helper count where it always makes them."""
    old = "def test_make():\n    got = make()\n    assert got.total == 5\n    assert got.tax == 2\n"
    new = "def test_make():\n    got = make()\n    check(got, 5, 2)\n"
    asks = "assert got.total == total\n{0}assert got.tax == tax\n\n\n"
    always = "def check(got, total, tax):\n    " + asks.format("    ")
    never = "def check(got, total, tax):\n    if total == got.tax:\n        " + asks.format(" " * 8)
    for helper, broken in [(always, []), (never, ["assert-removed"])]:
        before = {"code.py": CODE, "tests/test_a.py": old}
        assert rules(before, {"code.py": OTHER, "tests/test_a.py": helper + new}) == broken


def test_a_long_file_is_no_reason_to_say_less() -> None:
    """A test that drops more than its most part is refused, however little of its file that is:
    one change weakens, the next one breaks."""
    rest = "".join(f"\n\ndef test_{n}():\n    assert area({n}) == {n * n}\n" for n in range(60))
    more = "    assert log() == 'a'\n    assert err() == 'b'\n"
    before = {"code.py": CODE, "tests/test_a.py": TEST + more + rest}
    for code in (CODE, OTHER):
        assert rules(before, {"code.py": code, "tests/test_a.py": TEST + rest}) == [
            "assert-removed"
        ]


def test_a_helper_may_say_nearly_as_much() -> None:
    """Claims may move to a helper that asks one of them a little less exactly, not to one that
    asks nothing of it."""
    old = new = ""
    for name in ("one", "two"):
        head = f"def test_{name}():\n    logs = run('{name}')\n"
        old += f"{head}    assert [r.text for r in logs] == ['{name}']\n"
        old += "    assert str(logs.error) == 'BOOM'\n\n\n"
        new += f"{head}    check_logged(logs, '{name}', 'BOOM')\n\n\n"
    for claim, broken in [("said in texts", set()), ("texts", {"assert-weakened"})]:
        helper = "def check_logged(logs, said, error):\n    texts = [r.text for r in logs]\n"
        helper += f"    assert {claim}\n    assert str(logs.error) == error\n"
        after = {"tests/test_a.py": new, "tests/helpers.py": helper}
        assert set(rules({"tests/test_a.py": old, "tests/helpers.py": ""}, after)) == broken


@pytest.mark.parametrize("used", ["differ", "area"])
def test_a_class_goes_with_the_tests_that_it_inherits(used: str) -> None:
    """A class that has another one's tests goes with that, and only with reason."""
    test = (
        f"class OneTests(TestCase):\n    def test_it(self):\n        assert {used}(1, 2) == 3\n\n\n"
        "class TwoTests(OneTests):\n    side = 2\n"
    )
    before = {"code.py": CODE + "def differ(a, b):\n    return a\n", "tests/test_a.py": test}
    after = {"code.py": CODE}
    assert rules(before, after) == ([] if used == "differ" else ["test-removed", "test-removed"])


@pytest.mark.parametrize(("caller", "broken"), [("test.yml", []), ("other.yml", ["pipeline-off"])])
def test_a_pipeline_may_be_run_by_another_one(caller: str, broken: list[str]) -> None:
    """One that nothing triggers any more is run by what names it, and by nothing else."""
    one, two = ".github/workflows/test.yml", ".github/workflows/all.yml"
    before = {one: "on:\n  push:\njobs: make test\n", two: "on:\n  push:\n"}
    called = f"on:\n  push:\njobs:\n  a:\n    uses: ./.github/workflows/{caller}\n"
    assert rules(before, {one: "on:\n  workflow_call:\njobs: make test\n", two: called}) == broken


@pytest.mark.parametrize("stays", [False, True])
def test_tests_may_move_to_another_folder_of_tests(stays: bool) -> None:
    """Where tests are looked for may change as they move, not as they stay."""
    settings = "[pytest]\ntestpaths = {}\npython_files = *.py\n"
    before = {"pytest.ini": settings.format("shop"), "shop/tests/area.py": TEST}
    after = {"pytest.ini": settings.format("tests"), "tests/area.py": TEST}
    after |= {"shop/tests/area.py": TEST + "\n"} if stays else {}
    assert rules(before, after) == (["collection-narrowed"] if stays else [])


@pytest.mark.parametrize("there", ["assert self.area == 9", "pass"])
def test_a_class_of_tests_comes_from_where_it_is_seen(there: str) -> None:
    """A class of tests may be imported from a module of the change that has them; what another
    one holds, which an earlier change may have prepared, is not known."""
    own = "class Base(TestCase):\n    def test_it(self):\n        {}\n\n\n"
    rest = "class SidesTest(Base):\n    area = 9\n"
    before = {"tests/test_a.py": own.format("assert self.area == 9") + rest}
    after = {"tests/test_a.py": "from shop.testing import Base\n\n\n" + rest}
    assert rules(before, after) == ["test-removed"]
    new = own.format(there)
    refused = [] if "assert" in there else ["test-removed"]
    assert rules(before, {**after, "shop/tests/testing.py": new}) == refused


@pytest.mark.parametrize(("length", "broken"), [(6000, []), (60, ["hidden-characters"])])
def test_nobody_reads_a_generated_line(length: int, broken: list[str]) -> None:
    """What hides text in a line that a person may read is refused, not in a bundle's."""
    assert rules({}, {"static/bundle.js": "\u200b" + "x" * length}) == broken
    assert rules({}, {"src/a.py": "a = 1  # \u200b" + "x" * length}) == ["hidden-characters"]


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", []),  # Persian
        ("\U0001f468\u200d\U0001f4bb", []),  # an emoji of two
        ("pass\u200dword", ["hidden-characters"]),
        ("a\u200d\u200db", ["hidden-characters"]),
        ("\u0645\u200b", ["hidden-characters"]),
        ("\u1784\u17c3\u200b\u200b\u1798", []),  # Khmer, where a word ends
        ("\u1784\u200ba", ["hidden-characters"]),
        ("a\u200b\u1784", ["hidden-characters"]),
        ("\u1784\u200b\u202e\u1784", ["hidden-characters"]),
        ("\u0645\u202e", ["hidden-characters"]),
    ],
)
def test_joiners_are_spelling_in_other_scripts(text: str, broken: list[str]) -> None:
    """What joins letters that are no plain ones hides nothing; between plain ones it does."""
    assert rules({}, {"src/a.py": f"A = '{text}'\n"}) == broken


@pytest.mark.parametrize(
    "line",
    [
        "def \uff50\uff59test_collection_modifyitems(items): items.clear()",
        "import sys; loaded = 'py' in sys.\uff4dodules",
    ],
)
def test_a_name_in_other_letters_is_hidden(line: str) -> None:
    """Python reads full-width letters as plain ones, where no reader and no pattern does."""
    assert rules({}, {"tests/conftest.py": f"{line}\n"}) == ["hidden-characters"]
    plain = "\u2113 = 1  # \ufb01le\nname = '\uff4f\uff53'\n"
    assert rules({}, {"src/a.py": plain}) == []
    assert rules({"src/a.py": f"{line}\n"}, {"src/a.py": f"{line}\nb = 1\n"}) == []


@pytest.mark.parametrize(
    ("name", "broken"),
    [("github_token", []), ("Codecov_Token", []), ("github_token_of_mine", ["pipeline-power"])],
)
def test_the_names_of_secrets_have_no_case(name: str, broken: list[str]) -> None:
    """What every pipeline has is no new power, however it is spelled."""
    job = f"on: push\njobs:\n  a:\n    env:\n      T: ${{{{ secrets.{name} }}}}\n"
    assert rules({}, {".github/workflows/a.yml": job}) == broken


_INNER = "def test_a():\n    def should_a(x):\n        {}\n    {}\n    assert b(2) == 3\n"


@pytest.mark.parametrize(
    ("before", "after", "broken"),
    [
        # it moves, or goes: what is asked of it was no claim
        (("return x > 1", "c = [should_a(x) for x in d]"), ("pass", "c = [*d]"), []),
        # it claimed, and only answers now; it stands where a claim stood
        (
            ("assert x > 1", "should_a(b(1))"),
            ("return x > 1", "should_a(b(1))"),
            ["assert-removed"],
        ),
        (("return x", "assert b(1) == 2"), ("return x", "should_a(b(1) == 2)"), ["assert-removed"]),
        # first a name in the way, then what it hides
        (("check_it(x)", "should_a(b(1))"), ("return x", "should_a(b(1))"), ["assert-removed"]),
    ],
)
def test_an_inner_function_claims_what_it_holds(
    before: tuple[str, str], after: tuple[str, str], broken: list[str]
) -> None:
    """A function in a test claims what it holds; its name alone claims nothing."""
    sides = [{"tests/test_a.py": _INNER.format(*side)} for side in (before, after)]
    assert rules(*sides) == broken


@pytest.mark.parametrize(
    ("mark", "before", "after", "broken"),
    [
        ("", "    yield check, 1\n    assert b(1) == 2\n", "", []),
        # by what it bears it may run; first made one that does not, then gone
        ("@gen_test\n", "    yield check, 1\n    assert b(1) == 2\n", "", ["test-removed"]),
        ("", "    assert b(1) == 2\n", "    yield\n    assert b(1) == 2\n", ["test-uncollected"]),
        ("", "    assert b(1) == 2\n", "", ["test-removed"]),
    ],
)
def test_a_generator_that_nothing_runs_was_no_test(
    mark: str, before: str, after: str, broken: list[str]
) -> None:
    """A test that yields, as nose had them, may become one that runs, or go."""
    head, rest = f"{mark}def test_a():\n", "def test_b():\n    assert c(3) == 4\n"
    new = rest + (head + after if after else "")
    assert rules({"tests/test_a.py": head + before + rest}, {"tests/test_a.py": new}) == broken
