"""Reading diffs, features of attempts, ranking, and the warning of a dead end."""

import pytest

from self_coding.modification_journal import (
    ModificationAttempt,
    ModificationJournal,
    Outcome,
    dead_ends,
    diffs,
    feedback,
)
from self_coding.modification_journal.features import Features, features, pack, terms, unpack
from self_coding.modification_journal.similar import DEFAULT, Candidate, rank

DIFF = """diff --git a/src/old name.py b/src/old name.py
--- a/src/old name.py
+++ b/src/old name.py
@@ -1,2 +1,3 @@ class Parser(Base):
     def untouched(self):
-    return getUserName(x)
+    async def get_user(self):
+        return 1
diff --git a/lib/x.go b/lib/x.go
new file mode 100644
--- /dev/null
+++ b/lib/x.go
@@ -0,0 +1 @@
+func (s *Server) Listen(port int) error {
"""


def test_a_diff_names_its_paths_once():
    """Both sides of a file are one path, and /dev/null is none."""
    assert diffs.paths(DIFF) == ["src/old name.py", "lib/x.go"]


def test_a_diff_names_the_functions_it_touches():
    """Hunk headers and changed definitions count; unchanged context does not."""
    assert diffs.symbols(DIFF) == ["Parser", "get_user", "Listen"]


def test_the_head_of_a_diff_is_its_changed_lines():
    """No headers, no context, never longer than asked."""
    assert diffs.head(DIFF, 30).startswith("return getUserName(x)\nasync d")
    assert len(diffs.head("+" + "x" * 10_000, 50)) <= 50


@pytest.mark.parametrize("text", ["", "no diff", "@@", "+++ ", "--- a/\n+++ b/\n", "+" * 3000])
def test_what_is_no_diff_yields_nothing_and_no_error(text):
    """Any text may come in."""
    assert diffs.symbols(text) == []
    assert isinstance([*diffs.paths(text), diffs.head(text)], list)


def test_features_survive_storing():
    """What is unpacked is what was packed; a damaged text unpacks to what is left."""
    found = features("Fix getUserName\n\nIt is\u2028odd", files=["a b/c.py"], diff=DIFF)
    assert unpack(pack(found)) == found
    assert unpack("") == Features()
    assert unpack("a b\nc").subject == ("c",)


def test_identifiers_are_found_by_their_parts():
    """`getUserName` and `get_user_name` are the same words."""
    assert terms(features("getUserName")) == terms(features("get_user_name"))


def candidate(row, task, outcome="success", **fields):
    return Candidate(row, outcome, features(task, **fields))


def ranked(query, candidates, **options):
    asked = features(query) if isinstance(query, str) else query
    seen = feedback.counted([terms(item.found) for item in candidates])
    words = {word: feedback.rare(seen[word], len(candidates)) for word in terms(asked)}
    hits = rank(asked, candidates, feedback.Rarity(len(candidates), words), newest=99, **options)
    return [hit.row for hit in hits]


def test_rare_words_count_more_than_common_ones():
    """What many attempts say tells little."""
    common = [candidate(n, "fix the parser") for n in range(1, 20)]
    assert ranked("fix the flux", [*common, candidate(20, "tune flux")])[0] == 20


def test_nothing_in_common_is_no_hit():
    """A row without a shared word is not returned, however new."""
    assert ranked("zebra", [candidate(1, "parser"), candidate(99, "lexer")]) == []


def test_of_two_alike_the_newer_comes_first():
    """Recency decides between equals."""
    assert ranked("parser", [candidate(n, "parser") for n in (5, 95, 50)]) == [95, 50, 5]


def test_a_failure_of_the_same_task_comes_before_its_success():
    """What failed is what one must know; a weight of 0 ignores it."""
    both = [candidate(10, "teach parser unicode", "failure"), candidate(90, "teach parser unicode")]
    assert ranked("teach parser unicode", both)[0] == 10
    import dataclasses

    neutral = dataclasses.replace(DEFAULT, outcome=0.0, rollback=1.0)
    assert ranked("teach parser unicode", both, weights=neutral)[0] == 90


def test_files_that_such_tasks_touch_raise_a_row():
    """A row that shares files with the best hits beats one that does not."""
    teachers = [candidate(n, f"widget colour {n}", files=["ui/widget.py"]) for n in (10, 11, 12)]
    others = [
        candidate(30, "colour of sound", files=["audio.py"]),
        candidate(29, "colour of paint", files=["ui/widget.py"]),
    ]
    rows = ranked("widget colour", [*teachers, *others])
    assert rows.index(29) < rows.index(30)


def test_given_files_are_evidence():
    """With a diff and no words, what touched the same file and function is found."""
    rows = [
        candidate(1, "a", files=["x.py"]),
        candidate(2, "b", files=["lib/x.go"], diff="@@ -1 +1 @@ func Listen(\n"),
    ]
    assert ranked(features("", diff=DIFF), rows)[0] == 2


def test_every_hit_says_why():
    """The words, the files and the outcome that spoke for it."""
    asked = features("teach parser unicode", files=["p.py"])
    past = [candidate(1, "teach parser unicode", "failure", files=["p.py"]), candidate(2, "lexer")]
    words = dict.fromkeys(terms(asked), 1.0)
    reasons = " | ".join(rank(asked, past, feedback.Rarity(2, words), newest=2)[0].reasons)
    for part in ("unicode", "p.py", "nearly the same title", "did not succeed"):
        assert part in reasons


@pytest.fixture
async def journal(tmp_path):
    opened = ModificationJournal(tmp_path / "j.db")
    for n in range(40):
        await opened.log_attempt(ModificationAttempt(f"Tidy module {n}", outcome=Outcome.SUCCESS))
    yield opened
    await opened.close()


async def test_a_repeated_failure_is_warned_of(journal):
    """The same task again names the attempt and why it failed."""
    number = await journal.log_attempt(
        ModificationAttempt(
            "Cache the parsed templates",
            outcome=Outcome.FAILURE,
            failure_analysis="the cache is shared\nbetween threads",
        )
    )
    for task in ("Cache parsed templates", "cache the parsed templates in memory"):
        warning = await journal.dead_end(task)
        assert (warning.attempt, warning.at) == (number, "plan")
        assert "shared between threads" in str(warning)
    assert await journal.dead_end("Print the invoice") is None
    assert await journal.dead_end("") is None


async def test_a_success_is_no_dead_end(journal):
    """Only what failed or was rolled back is warned of."""
    assert await journal.dead_end("Tidy module 3") is None


async def test_a_repeated_diff_is_warned_of_without_a_task(journal):
    """At edit time the diff alone is enough, in the same file only."""
    diff = "--- a/m.py\n+++ b/m.py\n@@ -1 +1 @@ def f():\n-    timeout = 5\n+    timeout = None\n"
    await journal.log_attempt(
        ModificationAttempt("Wait longer", diff=diff, outcome=Outcome.ROLLBACK)
    )
    warning = await journal.dead_end(diff=diff, files=["m.py"], at="edit")
    assert (warning.task, warning.at) == ("Wait longer", "edit")
    assert "rolled back" in warning.because
    assert await journal.dead_end(diff=diff.replace("m.py", "n.py")) is None
    assert await journal.dead_end(diff=diff.replace("timeout", "retries_of_pool")) is None


def test_the_reason_is_the_attempts_own():
    """Analysis first, else the reflection, else what is certain."""
    past = ModificationAttempt("t", failure_analysis=" ", reflection="x " * 300)
    assert len(dead_ends.because(past)) == 240
    assert dead_ends.because(ModificationAttempt("t")) == "no reason was recorded"


class Numbers:
    """An embedder of three words: near in meaning, different in letters."""

    name = "numbers"
    dimension = 2

    async def embed(self, texts):
        return [
            [1.0, 0.1 * ("car" in text)] if "car" in text or "auto" in text else [0.0, 1.0]
            for text in texts
        ]


async def test_vectors_find_what_no_word_does(tmp_path):
    """With an embedder, a task is found by its meaning; each vector is stored with its attempt."""
    pytest.importorskip("numpy")
    opened = ModificationJournal(tmp_path / "j.db", embedder=Numbers())
    number = await opened.log_attempt(ModificationAttempt("Paint the automobile"))
    other = await opened.begin("Water the flower")
    await opened.finish(other, Outcome.SUCCESS)
    assert [one.id for one in await opened.find_similar("car")] == [number]
    assert (await opened.get_by_id(other)).embedding == [0.0, 1.0]
    later = await opened.log_attempt(ModificationAttempt("Wash the auto"))
    assert [one.id for one in await opened.find_similar("car")] == [later, number]
    assert len(opened._nearest._rows) == 3  # each vector is held once
    await opened.close()


async def test_a_model_that_fails_loses_no_attempt(tmp_path):
    """The attempt is stored without a vector, and found by its words."""
    from self_coding.errors import ModelUnavailableError

    class Away(Numbers):
        async def embed(self, texts):
            raise ModelUnavailableError("nobody answers")

    opened = ModificationJournal(tmp_path / "j.db", embedder=Away())
    number = await opened.log_attempt(ModificationAttempt("Paint it"))
    assert [one.id for one in await opened.find_similar("paint")] == [number]
    await opened.close()
