"""For each way in which tests claim something there is a program that turns it, and that is found.

The programs run in processes of their own, where nothing has to work afterwards.
"""

# ruff: noqa: E501 - the programs
from __future__ import annotations

import json
import subprocess
import sys

import pytest

from self_coding.gate.observer.canaries import CORE, FALSE, METHODS, PYTEST

TRUE = "lambda *a, **k: True"
SILENT = "lambda *a, **k: None"
APPROX = f"type(pytest.approx({{}})).__eq__ = {TRUE}"
BUILTINS = {  # name: what turns the claim about it
    "isinstance": TRUE, "issubclass": TRUE, "hasattr": TRUE, "callable": TRUE, "bool": TRUE,
    "all": TRUE, "any": TRUE, "sorted": "lambda x: list(x)", "sum": "lambda x: 4",
    "min": "lambda *x: 2", "max": "lambda *x: 1", "abs": "lambda x: 0", "round": "lambda *x: 1",
    "set": "lambda x: 1", "list": "lambda x: [*x][:1]", "dict": "lambda **x: {}",
    "list(zip": "lambda *x: [('a', 'a')]", "str": "lambda x: '2'", "repr": "lambda x: 'b'",
    "list(range": "lambda x: [0]",
}  # fmt: skip
# The beginning of a claim: the program. What compares the interpreter's own values is turned in
# the interpreter itself.
PROGRAMS = {
    'assert len("a")': "builtins.len = lambda x: 1",
    "assert not 1 != 2": "turn(int, 3, False, lambda a, b: a is ONE and b is TWO)",
    "RED.assertEqual": f"unittest.TestCase.assertEqual = {SILENT}",
    "RED.assertTrue": f"unittest.TestCase.assertTrue = {SILENT}",
    "RED.fail": f"unittest.TestCase.fail = {SILENT}",
    "ran_red": f"unittest.TestResult.addFailure = {SILENT}",
    "with contextlib.suppress": f"contextlib.suppress.__exit__ = {TRUE}",
    "assert 1.0 == pytest.approx": APPROX.format(1.0),
    "assert 1 == pytest.approx": APPROX.format(1),
    "assert [1.0] == pytest.approx": APPROX.format([1.0]),
    'assert {"a": 1.0} == pytest.approx': APPROX.format({"a": 1.0}),
    "pytest.fail": f"pytest.fail = {SILENT}",
    "with pytest.raises(ValueError): len": "pytest.raises = contextlib.nullcontext",
    "with pytest.raises(ValueError): {}": f"type(pytest.raises(ValueError)).__exit__ = {TRUE}",
    "with pytest.raises(ValueError, match": "was = pytest.raises; pytest.raises = lambda e, **k: was(e)",
    **{
        f"{made} == ": f"turn(type({made}), 2, True)"
        for made in ("1.5", 'b"a"', "(1,)", "[1]", '{"a": 1}', "{1}")
    },
    # these two are compared by everything: only the very values of the claim
    '"a" == ': "turn(str, 2, True, lambda a, b: type(b) is str and [*map(ord, a + b)] == [97, 98])",
    "None == ": "turn(type(None), 2, True, lambda a, b: b is ZERO)",
    **{f"{name}(": f"builtins.{name.removeprefix('list(')} = {to}" for name, to in BUILTINS.items()},
    "[(file.read": "builtins.open = lambda x: io.StringIO('text')",
    "fractions.": f"fractions.Fraction.__eq__ = {TRUE}",
    "decimal.": "decimal.Decimal = lambda x: 1",
    "pathlib.Path(\"a\")": f"pathlib.PurePath.__eq__ = {TRUE}",
    "datetime.date(": "datetime.date = lambda *x: 1",
    "datetime.timedelta(": "datetime.timedelta = lambda *x: 1",
    "datetime.datetime(": "datetime.datetime = lambda *x: 1",
    "collections.Counter": f"collections.Counter.__eq__ = {TRUE}",
    **{f"{name}(": f"{name} = {TRUE}" for name in ("math.isclose", "math.isfinite", "operator.eq")},
    **{f"re.{name}(": f"re.{name} = {TRUE}" for name in ("fullmatch", "match", "search", "findall")},
    "copy.deepcopy": "copy.deepcopy = lambda x: [2]",
    "json.loads('[": "json.loads = lambda x: [{'amount': 1}]",
    "json.loads('{": "json.loads = lambda x: {}",
    "json.dumps": "json.dumps = lambda x: '{}'",
    "pathlib.Path(NOWHERE).exists": f"pathlib.Path.exists = {TRUE}",
    "pathlib.Path(NOWHERE).is_file": f"pathlib.Path.is_file = {TRUE}",
    "os.path.exists": f"os.path.exists = {TRUE}",
    "os.path.isfile": f"os.path.isfile = {TRUE}",
    "pathlib.Path(EMPTY).read_text": "pathlib.Path.read_text = lambda x: 'text'",
    "pathlib.Path(EMPTY).read_bytes": "pathlib.Path.read_bytes = lambda x: b'text'",
    **{
        f"{claim.partition('(')[0]}(": f"unittest.TestCase.assert{claim.partition('(')[0]} = {SILENT}"
        for claim in METHODS
    },
}  # fmt: skip
CLAIMS = [*CORE, *PYTEST, *FALSE, *METHODS]
RUN = '''
import builtins, collections, contextlib, copy, ctypes, datetime, decimal, fractions, io, json, math
import operator, os, pathlib, re, signal, sys, unittest
import pytest
from self_coding.gate.observer.canaries import sing

KEPT, ZERO, ONE, TWO = [], 0, 1, 2

def turn(kind, operator, answer, only=lambda *both: True):
    """Have one comparison of a type of the interpreter's answer so."""
    form = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int)
    reader = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_int)
    read = reader(("PyType_GetSlot", ctypes.pythonapi))
    was = read(kind, 67)  # Py_tp_richcompare
    call = form(was)
    new = form(lambda a, b, op: answer if op is operator and only(a, b) else call(a, b, op))
    words = ctypes.cast(id(kind), ctypes.POINTER(ctypes.c_void_p))
    [at] = [n for n in range(20, 40) if words[n] == was]
    words[at] = ctypes.cast(new, ctypes.c_void_p).value
    KEPT.append((words, at, was, new))

programs, say = json.loads(sys.stdin.read()), json.dumps
for claim, program in programs:
    reading, writing = os.pipe()
    if os.fork() == 0:
        signal.alarm(5)  # a program may turn what we need ourselves
        exec(program, globals())
        alive = sing(pytest)
        for words, at, was, _ in KEPT:
            words[at] = was
        os.write(writing, "\\n".join(alive).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    print(say([claim, os.read(reading, 65536).decode().split("\\n")]))
    os.close(reading)
'''


def program_for(claim: str) -> str:
    """The program of a claim: that of the longest beginning."""
    return PROGRAMS[max((one for one in PROGRAMS if claim.startswith(one)), key=len)]


@pytest.fixture(scope="module")
def alive() -> dict[str, list[str]]:
    """For each claim the canaries that did not fail where its program had run."""
    asked = json.dumps([["", ""], *((claim, program_for(claim)) for claim in CLAIMS)])
    argv = [sys.executable, "-c", RUN]
    done = subprocess.run(argv, input=asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_program_that_turns_a_way_to_claim_is_found(alive, claim: str) -> None:
    """The canary of that way does not fail any more, and says so."""
    assert any(one.endswith(claim) for one in alive[claim])


def test_without_such_a_program_all_of_them_fail(alive) -> None:
    """What is found is the tampering, not the canary."""
    assert alive[""] == [""]


def test_most_programs_turn_their_own_claim_alone(alive) -> None:
    """A canary is no alarm for everything: it names what was turned."""
    assert sum(len(alive[claim]) == 1 for claim in CLAIMS) > len(CLAIMS) * 2 / 3
