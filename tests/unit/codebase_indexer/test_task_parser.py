"""What is read out of a task's text, whatever stands in it."""

from __future__ import annotations

import time

import pytest

from self_coding.codebase_indexer.task_parser import parse_task, search_terms

ISSUE = """`Session.send` drops headers
<!-- please describe -->
- [x] I searched
When `keep_alive` is set, unused-import appears, see src/pkg/models.py and pkg.sessions.Session.

```python
client.fetch_all(url_path)
```

  File "/home/me/site-packages/pkg/adapters.py", line 12, in send
  File "/home/me/site-packages/pkg/models.py", line 3, in encode

INSTALLED VERSIONS
python: 3.6.8
numpy: 1.16.2
byteorder: little
scipy: 1.2.1
pandas: 0.24.2
dask: 1.0.0
"""


def test_title_prose_and_code_are_told_apart() -> None:
    """The first line is the title, a fence is code, and the rest is prose."""
    read = parse_task(ISSUE)
    assert read.title == "`Session.send` drops headers"
    assert "fetch_all" in read.code and "fetch_all" not in read.prose
    assert "keep_alive" in read.prose


def test_boilerplate_is_dropped() -> None:
    """Comments, check boxes and dumps of versions are no part of what is asked."""
    read = parse_task(ISSUE)
    for noise in ("please describe", "searched", "numpy", "scipy", "1.16", "byteorder"):
        assert noise not in read.prose + read.code


def test_names_weigh_by_where_they_stand() -> None:
    """A name in the title counts more than one in prose, and that more than one in code."""
    names = parse_task(ISSUE).identifiers
    assert names["Session"] > names["keep_alive"] > names["fetch_all"] > 0


def test_paths_modules_and_frames() -> None:
    """Paths, dotted modules and the frames of a traceback are found, in order."""
    read = parse_task(ISSUE)
    assert "src/pkg/models.py" in read.paths
    assert "pkg.sessions.Session" in read.modules
    site = "/home/me/site-packages/pkg"
    assert [path for path, _ in read.places] == [f"{site}/adapters.py", f"{site}/models.py"]


def test_hyphened_and_dotted_names_are_phrases() -> None:
    """A compound name is one phrase, so that it is looked for side by side."""
    assert "unused import" in parse_task(ISSUE).phrases
    assert "session send" in parse_task(ISSUE).phrases


@pytest.mark.parametrize(
    "unit",
    ["`", "a.", "a/", "-", "a-", "<!--", "```\n", "a b: ", "\n", 'File "', "a_", "w ", "\0", "é"],
)
def test_any_text_is_read_in_bounded_time(unit: str) -> None:
    """However hostile, a text of a megabyte is read in a fraction of a second."""
    before = time.process_time()
    parse_task(unit * (1_000_000 // len(unit)))
    assert time.process_time() - before < 1.0


def test_query_leaves_common_words_out() -> None:
    """Words of English and keywords are not looked up when there is anything else."""
    asked = search_terms(parse_task("The import of the parser is broken"))
    assert asked.title == ("parser", "broken")


def test_query_of_common_words_only_keeps_them() -> None:
    """A task of common words alone still asks for them."""
    assert search_terms(parse_task("import this")).title == ("import", "this")


def test_query_splits_names_as_the_full_text_does() -> None:
    """camelCase is asked for whole and in parts, snake_case as words and as one phrase."""
    asked = search_terms(parse_task("getUserName and keep_alive"))
    assert {"getusername", "user", "name", "keep", "alive"} <= set(asked.title)
    assert "keep alive" in asked.names


@pytest.mark.parametrize(
    ("trace", "innermost"),
    [
        (
            '  File "/srv/app/a.py", line 3, in f\n  File "/srv/app/b.py", line 9, in g',
            "app/b.py:9",
        ),
        ("tests/test_a.py:4: in test\n    f()\nshop/a.py:12: KeyError", "shop/a.py:12"),
        ("main.go\n\t/src/shop/price.go:31 +0x1d\nmain.main()\n\t/src/main.go:7", "price.go:31"),
        (
            "thread 'main' panicked at src/lib.rs:10:5:\nboom\n  at ./src/main.rs:3:1",
            "src/lib.rs:10",
        ),
        (
            "    at Shop.price (/w/src/shop.ts:8:11)\n    at run (/w/src/run.js:2:1)",
            "src/shop.ts:8",
        ),
        ("TypeError: x\n    at file:///w/src/shop.mjs:8:11\n", "src/shop.mjs:8"),
        (
            "\tat org.shop.Cart$Row.sum(Cart.java:42)\n\tat org.Main.main(Main.java:7)",
            "Cart.java:42",
        ),
    ],
)
def test_a_pasted_stack_trace_names_its_places(trace: str, innermost: str) -> None:
    """File and line of each frame are read in five languages, the innermost last."""
    path, line = parse_task(f"It fails\n\n{trace}").places[-1]
    assert f"{path}:{line}".endswith(innermost)
