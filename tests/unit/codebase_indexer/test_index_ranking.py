"""How signals are scored, weighted and added: pure functions over plain data."""

from __future__ import annotations

from self_coding.codebase_indexer import ranking
from self_coding.codebase_indexer.ranking import PathMatcher
from self_coding.codebase_indexer.store import File
from self_coding.codebase_indexer.task_parser import parse_task


def _file(number: int, path: str, *, is_test: bool = False) -> File:
    module = path.removesuffix(".py").replace("/", ".")
    return File(number, path, module, is_test, 10)


FILES = [
    _file(1, "pkg/models.py"),
    _file(2, "pkg/sub/models.py"),
    _file(3, "pkg/__init__.py"),
    _file(4, "docs/conf.py"),
    _file(5, "tests/test_models.py", is_test=True),
]
BY_ID = {each.id: each for each in FILES}
MATCHER = PathMatcher(FILES)


def test_best_file_first_and_ties_by_path() -> None:
    """Files are ordered by their weighted sum, equal ones by path."""
    ranked = ranking.rank(BY_ID, {"words": {1: 2.0, 2: 4.0, 3: 2.0}})
    assert [each.file.id for each in ranked] == [2, 3, 1]


def test_tests_come_last_unless_named() -> None:
    """A test follows every other file, but not when the task gives its path."""
    signals = {"words": {1: 0.1, 5: 9.0}}
    assert [e.file.id for e in ranking.rank(BY_ID, signals)] == [1, 5]
    assert all(each.score > 0 for each in ranking.rank(BY_ID, signals))  # as it is, not its place
    named = ranking.rank(BY_ID, signals, named=frozenset((5,)))
    assert [e.file.id for e in named] == [5, 1]


def test_documentation_counts_half() -> None:
    """With the same evidence, a file beside the product comes after one of the product."""
    ranked = ranking.rank(BY_ID, {"words": {1: 1.0, 4: 1.0}})
    assert [(e.file.id, e.score) for e in ranked] == [(1, 0.5), (4, 0.25)]


def test_signals_are_scaled_before_they_are_added() -> None:
    """A signal's size does not matter, only its weight does."""
    small = ranking.rank(BY_ID, {"words": {1: 1.0}, "title": {2: 0.001}})
    large = ranking.rank(BY_ID, {"words": {1: 1.0}, "title": {2: 1000.0}})
    assert [e.score for e in small] == [e.score for e in large]


def test_reasons_strongest_first() -> None:
    """What spoke for a file is said in words, the strongest first."""
    (only,) = ranking.rank(BY_ID, {"history": {1: 1.0}, "names": {1: 1.0}})
    assert [reason.split(" (")[0] for reason in only.reasons()] == [
        "past commits like the task changed it",
        "it defines names that occur in the task",
    ]


def test_the_newest_commits_speak_for_no_file_alone() -> None:
    """What changed lately gains, unscaled, where anything else speaks for it, and only there."""
    ranked = ranking.rank(BY_ID, {"words": {1: 1.0, 2: 1.0}}, recency={2: 0.5, 3: 1.0})
    assert [(each.file.id, each.score) for each in ranked] == [(2, 0.875), (1, 0.5)]
    off = ranking.WEIGHTS | {"recency": 0.0}
    plain = ranking.rank(BY_ID, {"words": {1: 1.0, 2: 1.0}}, recency={2: 0.5}, weights=off)
    assert [(each.file.id, each.score) for each in plain] == [(1, 0.5), (2, 0.5)]


def test_what_says_nothing_of_the_task_is_told_last() -> None:
    """That the newest commits changed a file is the last reason, however much it counts."""
    (only,) = ranking.rank(BY_ID, {"paths": {1: 1.0}}, recency={1: 1.0})
    assert [reason.split(" (")[0] for reason in only.reasons()] == [
        "words of the title occur in its path",
        "the newest commits changed it",
    ]


def test_recency_fades_with_commits_and_with_words() -> None:
    """A change counts half five commits later, and less for a task that says more."""
    assert ranking.score_recency({1: 0, 2: 5}, 0) == {1: 1.0, 2: 0.5}
    assert ranking.score_recency({1: 0}, 12) == {1: 0.5}
    assert ranking.score_recency({1: 0}, 60)[1] < 0.01


def test_rare_definitions_say_more() -> None:
    """A name that one file defines counts more than one that three define."""
    scores = ranking.score_definitions([(1.0, frozenset((1, 2, 3))), (1.0, frozenset((4,)))])
    assert scores[4] == 1.0 and scores[1] < 0.5


def test_longest_common_end_of_a_path_wins() -> None:
    """A path printed elsewhere means the file that shares most of its end."""
    found, shared = MATCHER.of_path("/usr/lib/site-packages/pkg/sub/models.py")
    assert ([file.id for file in found], shared) == ([2], 3)


def test_a_file_name_that_every_package_has_means_nothing() -> None:
    """`a/__init__.py` of an example names no `__init__.py` of ours."""
    assert MATCHER.named("a/__init__.py") == [] == MATCHER.named("__init__.py")
    assert [file.id for file in MATCHER.named("sub/models.py")] == [2]


def test_modules_by_longest_prefix() -> None:
    """`pkg.sub.models.Model.save` means the module it starts with, `os.path` nothing."""
    assert MATCHER.of_module("pkg.sub.models.Model.save") == 2
    assert MATCHER.of_module("os.path") is None


def test_innermost_frame_counts_most() -> None:
    """The last frame of a traceback that lies in the repository says most; tests say nothing."""
    task = parse_task(
        'It fails\n  File "/x/pkg/sub/models.py", line 1, in a\n'
        '  File "/x/tests/test_models.py", line 1, in b\n'
        '  File "/x/pkg/models.py", line 1, in c\n  File "/usr/lib/json/decoder.py", line 3, in d\n'
    )
    scores = ranking.score_mentions(task, MATCHER)
    assert scores[1] > scores[2] > 0 and 5 not in scores


def test_votes_of_many_files_are_shared() -> None:
    """A commit that touched one file says more for it than one that touched two, and a file that
    is gone gets no vote."""
    present = {"pkg/models.py": 1, "pkg/sub/models.py": 2}
    one = ranking.score_votes([(2.0, ("pkg/models.py", "gone.py"))], present)
    two = ranking.score_votes([(2.0, tuple(present))], present)
    assert one[1] > two[1] == two[2]


def test_old_votes_fade() -> None:
    """The same likeness counts less, the longer ago the commit was."""
    assert ranking.discount_age(1.0, 0) == 1.0 > ranking.discount_age(1.0, 1500) == 0.5


def test_tests_vote_for_what_they_import() -> None:
    """The tests most like the task speak for the files they import, and only so many of them."""
    best = ranking.best_tests({5: 3.0, 1: 9.0}, frozenset((5,)))
    assert best == {5: 3.0}
    assert ranking.score_tests(best, {5: [1, 3]}).keys() == {1, 3}
    many = dict.fromkeys(range(99), 1.0)
    assert len(ranking.best_tests(many, frozenset(many))) == 10


def test_a_name_that_many_folders_have_means_none_of_them() -> None:
    """`index.js` says nothing where each of many folders has one, a path still does."""
    paths = [f"src/part{n}/index.js" for n in range(9)]
    matcher = PathMatcher([_file(n, path) for n, path in enumerate(paths)])
    assert matcher.named("index.js") == []
    assert [file.id for file in matcher.named("part3/index.js")] == [3]
