"""Features of attempts, and how candidates are ranked."""

from collections import Counter

import pytest

from self_coding.modification_journal.ranking import (
    Candidate,
    Features,
    Rarity,
    changed_lines,
    diff_symbols,
    features,
    pack,
    rank,
    rareness,
    terms,
    unpack,
)

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


def test_a_diff_names_the_functions_it_touches():
    """Hunk headers and changed definitions count; unchanged context does not."""
    assert diff_symbols(DIFF) == ["Parser", "get_user", "Listen"]


def test_the_head_of_a_diff_is_its_changed_lines():
    """No headers, no context, never longer than asked."""
    assert changed_lines(DIFF, 30).startswith("return getUserName(x)\nasync d")
    assert len(changed_lines("+" + "x" * 10_000, 50)) <= 50


@pytest.mark.parametrize("text", ["", "no diff", "@@", "+++ ", "--- a/\n+++ b/\n", "+" * 3000])
def test_what_is_no_diff_yields_nothing_and_no_error(text):
    """Any text may come in."""
    assert diff_symbols(text) == []
    assert changed_lines(text).strip("+") == ""


def test_features_survive_storing():
    """What is unpacked is what was packed; a damaged text unpacks to what is left."""
    found = features("Fix getUserName\n\nIt is\u2028odd", files=["a b/c.py"], diff=DIFF)
    assert unpack(pack(found)) == found
    odd = features("x", files=["a b.py"], diff='--- "a/new\\nline.py"\n')
    assert unpack(pack(odd)) == odd
    assert odd.files == ("a?b.py", "new?line.py")
    assert unpack("") == Features()
    assert unpack("a b\nc").subject == ("c",)


def test_identifiers_are_found_by_their_parts():
    """`getUserName` and `get_user_name` are the same words."""
    assert terms(features("getUserName")) == terms(features("get_user_name"))


def candidate(row, task, outcome="success", **fields):
    return Candidate(row, outcome, features(task, **fields))


def ranked(query, candidates, **options):
    asked = features(query) if isinstance(query, str) else query
    seen = Counter(word for item in candidates for word in terms(item.features))
    words = {word: rareness(seen[word], len(candidates)) for word in terms(asked)}
    hits = rank(asked, candidates, Rarity(99, words, {}), **options)
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
    assert ranked("teach parser unicode", both, outcome_weight=0.0)[0] == 90


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
    reasons = " | ".join(rank(asked, past, Rarity(2, words, {}))[0].reasons)
    for part in ("unicode", "p.py", "nearly the same title", "did not succeed"):
        assert part in reasons
