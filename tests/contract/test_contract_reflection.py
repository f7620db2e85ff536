"""The founding contract of ReflectionService, to the letter, and real runs in every style."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from self_coding import ModificationAttempt, Outcome, ReflectionService
from self_coding.reflection import read_failure


class Adapter:
    """A founding adapter: keywords in, an object with `content` out."""

    def __init__(
        self, content: object = "  The model's words.\n", error: Exception | None = None
    ) -> None:
        self.content, self.error = content, error
        self.calls: list[dict[str, str]] = []

    async def chat(self, *, message: str, context: str) -> SimpleNamespace:
        self.calls.append({"message": message, "context": context})
        if self.error:
            raise self.error
        return SimpleNamespace(content=self.content, provider_used="founding")


def attempt(outcome: Outcome, **more: object) -> ModificationAttempt:
    return ModificationAttempt(
        task_description="Add a modulo operation",
        files_modified=["src/calc.py"],
        outcome=outcome,
        **more,  # type: ignore[arg-type]
    )


def test_the_constructor_takes_the_founding_arguments() -> None:
    """Both arguments have defaults, and stay readable."""
    assert ReflectionService().llm_adapter is None
    service = ReflectionService(llm_adapter=None, model_preference="best")
    assert service.model_preference == "best"
    assert ReflectionService().model_preference == "fast"


async def test_the_adapters_text_comes_back_stripped() -> None:
    """Plain text of a founding adapter is the reflection, whatever it says."""
    assert await ReflectionService(Adapter()).reflect_on_attempt(attempt(Outcome.FAILURE)) == (
        "The model's words."
    )


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_the_message_holds_task_and_outcome(outcome: Outcome) -> None:
    """The adapter is called once, by keyword, with the task and the outcome in capitals."""
    adapter = Adapter()
    await ReflectionService(adapter).reflect_on_attempt(attempt(outcome))
    (call,) = adapter.calls
    assert "Add a modulo operation" in call["message"]
    assert outcome.value.upper() in call["message"]


async def test_past_attempts_are_in_the_message() -> None:
    """Their tasks and reflections reach the adapter."""
    adapter = Adapter()
    past = [
        ModificationAttempt(task_description=f"Past task {n}", reflection=f"Past words {n}", id=n)
        for n in range(3)
    ]
    await ReflectionService(adapter).reflect_with_context(attempt(Outcome.SUCCESS), past)
    for n in range(3):
        assert f"Past task {n}" in adapter.calls[0]["message"]
        assert f"Past words {n}" in adapter.calls[0]["message"]


async def test_a_message_stays_below_ten_thousand_characters() -> None:
    """However long the test output is."""
    adapter = Adapter()
    long = attempt(Outcome.FAILURE, test_results="E   word " * 100_000, diff="+x\n" * 100_000)
    await ReflectionService(adapter).reflect_with_context(long, [long] * 10)
    assert len(adapter.calls[0]["message"]) < 10_000


@pytest.mark.parametrize(
    "adapter",
    [
        None,
        Adapter(error=RuntimeError("down")),
        Adapter(error=ZeroDivisionError()),
        Adapter(content="  "),
        Adapter(content=None),
        SimpleNamespace(),
    ],
)
async def test_without_a_usable_model_the_attempt_speaks(adapter: Adapter | None) -> None:
    """No adapter, one that raises, or one that says nothing: the text of the attempt alone."""
    service = ReflectionService(adapter)
    text = await service.reflect_on_attempt(
        attempt(Outcome.FAILURE, failure_analysis="wrong sign", retry_count=3)
    )
    for words in ("What went well", "What could be improved", "wrong sign", "3 retries"):
        assert words in text


async def test_each_outcome_has_its_words() -> None:
    """Success, its files or N/A, and the comfort of a rollback."""
    service = ReflectionService()
    good = await service.reflect_on_attempt(attempt(Outcome.SUCCESS))
    assert "What went well" in good
    assert "Successfully completed" in good
    assert "src/calc.py" in good
    bare = await service.reflect_on_attempt(ModificationAttempt("x", outcome=Outcome.SUCCESS))
    assert "N/A" in bare
    back = await service.reflect_on_attempt(attempt(Outcome.ROLLBACK))
    assert "What went well" in back
    assert "Rollback is preferable to shipping broken code" in back


async def test_an_object_with_every_attribute_is_still_a_founding_adapter() -> None:
    """A test double that answers to any name is asked by `chat`, and its text returned."""

    class Anything(Adapter):
        def __getattr__(self, name: str) -> object:
            return self

    service = ReflectionService(Anything())
    assert await service.reflect_on_attempt(attempt(Outcome.FAILURE)) == "The model's words."


FAILING = """\
import pytest
from shop import total

def test_total():
    assert total([1, 2]) == 4

@pytest.mark.parametrize("x", ["a b", "a] - b", "x,y"])
def test_names(x):
    assert total([]) == x

class TestCart:
    def test_missing(self):
        total([None])

@pytest.fixture
def broken():
    raise LookupError("fixture")

def test_fixture(broken):
    pass

def test_raises():
    with pytest.raises(ValueError):
        total([1])
"""
EXPECTED = {
    "tests/test_shop.py::test_total",
    "tests/test_shop.py::test_names[a b]",
    "tests/test_shop.py::test_names[a] - b]",
    "tests/test_shop.py::test_names[x,y]",
    "tests/test_shop.py::TestCart::test_missing",
    "tests/test_shop.py::test_fixture",
    "tests/test_shop.py::test_raises",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("shop")
    (top / "tests").mkdir()
    (top / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (top / "shop.py").write_text("def total(items):\n    return sum(items)\n")
    (top / "tests" / "test_shop.py").write_text(FAILING)
    return top


def run_pytest(top: Path, arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider"]
    ours = ("COVERAGE_", "PYTEST_")  # what this run of ours is measured and divided with
    environment = {key: each for key, each in os.environ.items() if not key.startswith(ours)}
    done = subprocess.run(
        [*command, *arguments],
        cwd=top, env=environment, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-q"],
        ["-v", "--tb=long", "-n", "1"],
        ["--tb=short", "-rA", "--color=yes"],
        ["-q", "--tb=native", "-rN"],
        ["-q", "--tb=line"],
        ["--tb=no"],
    ],
    ids=" ".join,
)
async def test_real_runs_are_read_in_every_style(project: Path, arguments: list[str]) -> None:
    """Whatever pytest was told to print, the failing ids, the exception and the place are read."""
    of = attempt(Outcome.FAILURE, test_results=run_pytest(project, arguments))
    of.files_modified = ["shop.py"]
    assert (await ReflectionService().analyse(of)).exception == "AssertionError"
    failure = read_failure(of.test_results, files_modified=["shop.py"], root=str(project))
    assert set(failure.failing_tests) == EXPECTED
    assert failure.exception == "AssertionError"
    if "--tb=no" not in arguments:
        assert failure.location == "tests/test_shop.py:9"


async def test_paths_are_told_from_the_repositorys_top() -> None:
    """A runner that prints absolute paths leaves none of the machine's in what is remembered."""
    output = """
    \u2716 should be equal
    ------------------
      operator: equal
      at: Test.<anonymous> (/home/me/project/test/index.js:57:4)
"""
    of = attempt(Outcome.FAILURE, test_results=output, id=3)
    of.files_modified = ["src/index.js"]
    service = ReflectionService(repo_path="/home/me/project")
    failure = await service.analyse(of)
    assert failure.failing_tests == ("test/index.js::should be equal",)
    assert failure.location == "test/index.js:57"
    lesson = await service.lesson(of, failure)
    assert lesson is not None and "index.js" in lesson.text and "/home" not in lesson.text


async def test_a_lesson_comes_with_the_attempt_it_was_learnt_from(project: Path) -> None:
    """One sentence, from a real run, with the attempt's id; none for a passing run."""
    service = ReflectionService()
    output = run_pytest(project, ["-q", "--tb=short", "-k", "missing"])
    of = attempt(Outcome.FAILURE, test_results=output, id=12)
    of.files_modified = ["shop.py"]
    failure = await service.analyse(of)
    lesson = await service.lesson(of, failure)
    assert lesson is not None
    assert lesson.evidence == (12,)
    assert "total in shop.py" in lesson.text
    assert await service.lesson(attempt(Outcome.SUCCESS), failure) is None
