"""Bounded retrieval gives the same first files as scoring all of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import lookup, search, store
from self_coding.codebase_indexer.refresh import Cache, refresh

WORDS = [f"word{number}" for number in range(120)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Make the index of a tree in which a few words are in most files, most words in few."""
    top: Path = tmp_path_factory.mktemp("made")
    dice = random.Random(7)
    for number in range(500):
        drawn = [WORDS[int(len(WORDS) * dice.random() ** 3)] for _ in range(dice.randint(5, 60))]
        folder = top / dice.choice(("area", "tests", "docs", "core"))
        folder.mkdir(exist_ok=True)
        name = f"test_{drawn[0]}" if folder.name == "tests" else drawn[0]
        imported = f"import core.{dice.choice(WORDS)}\n" if folder.name == "tests" else ""
        body = "".join(f"def {word}():\n    return {word}_{number}\n" for word in drawn[:3])
        text = f"{imported}# {' '.join(drawn)}\n{body}"
        (folder / f"{name}_{number}.py").write_text(text)
    cache = Cache(top / "index.db", ours=True)
    database = cache.use(lambda database: database)
    refresh(database, top, None)
    return database


@pytest.mark.parametrize("seed", range(60))
def test_what_is_left_out_could_not_come_first(
    index: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first files of a bounded search, their scores and reasons are those of a whole one."""
    monkeypatch.setattr(lookup, "_CHEAP", 40 * (seed % 3))
    monkeypatch.setattr(search, "ROOMS", (30, 120, 400))
    dice = random.Random(seed)
    task = f"Fix {' '.join(dice.sample(WORDS, dice.randint(1, 6)))}"
    with index.read() as connection:
        corpus = lookup.Corpus(store.files(connection), store.versions(connection))
        for limit in (1, 5, 15):
            whole = search.rank_files(connection, task, corpus=corpus)[:limit]
            bounded = search.rank_files(connection, task, corpus=corpus, limit=limit)
            assert [each.file.path for each in bounded] == [each.file.path for each in whole]
            assert [each.score for each in bounded] == pytest.approx([e.score for e in whole])
            assert [each.parts.keys() for each in bounded] == [e.parts.keys() for e in whole]


def test_files_without_a_rare_word_are_not_scored(
    index: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a task with a rare word, not all files that hold its common one are scored."""
    monkeypatch.setattr(search, "ROOMS", (60,))
    monkeypatch.setattr(search.Search, "everything", lambda self: pytest.fail("all were scored"))
    with index.read() as connection:
        corpus = lookup.Corpus(store.files(connection), store.versions(connection))
        assert len(store.rows_holding(connection, [WORDS[0]])) > 250
        ranked = search.rank_files(
            connection, f"Fix {WORDS[0]} {WORDS[-1]} {WORDS[-2]}", corpus=corpus, limit=1
        )
    assert len(ranked) == 1
