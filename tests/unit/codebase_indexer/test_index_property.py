"""Incremental updates equal a full rebuild, over random sequences of edits."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.refresh import Cache, refresh

PATHS = ("a.py", "pkg/__init__.py", "pkg/b.py", "pkg/c.py", "pkg/sub/d.py", "src/e/f.py",
         "pkg.py", "tests/conftest.py", "tests/test_b.py", "tests/a.py")  # fmt: skip
TEXTS = ("", "import a\n", "from pkg import b, c\ndef one(): pass\n", "from . import c\n",
         "import pkg.sub.d as x\nclass K:\n    def m(self): pass\n", "from e.f import *\n",
         "import importlib\nimportlib.import_module(x)\n", "def broken(:\n",
         "from pkg.sub import d\n", "import tests.a\n")  # fmt: skip
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(PATHS), st.sampled_from(TEXTS)),
        st.tuples(st.just("delete"), st.sampled_from(PATHS), st.just("")),
        st.tuples(st.just("move"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
        st.tuples(st.just("look"), st.just(""), st.sampled_from(("", "2"))),
        st.tuples(st.just("ignore"), st.sampled_from(PATHS), st.just("")),
        st.tuples(st.just("commit"), st.just(""), st.just("")),
    ),
    min_size=3,
    max_size=14,
)


def apply(top: Path, kind: str, path: str, more: str) -> None:
    target = top / path
    if kind == "write":
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(more)
    elif kind == "delete":
        target.unlink(missing_ok=True)
    elif kind == "move" and target.exists():
        (top / more).parent.mkdir(parents=True, exist_ok=True)
        target.rename(top / more)
    elif kind == "ignore":
        (top / ".gitignore").write_text(f"/{path}\n")
    elif kind == "commit":
        name = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        subprocess.run(["git", "add", "-A"], cwd=top, check=True)
        subprocess.run(["git", *name, "commit", "-qm", "x", "--allow-empty"], cwd=top, check=True)


def facts(cache: Cache, top: Path, *, parse: bool) -> object:
    """Everything that is stored, by path instead of by number."""
    cache.use(lambda database: refresh(database, top, None, parse=parse))
    with cache.use(lambda database: database).read() as connection:
        paths = {each.id: each.path for each in store.files(connection)}
        live = store.versions(connection)
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms USING fts5vocab(main, words, instance)"
        )
        asked = "SELECT doc, col, count(*) FROM terms WHERE term = ? GROUP BY doc, col"
        words = {
            term: sorted(
                (paths[live[doc]], field, count)
                for doc, field, count in connection.execute(asked, (term,))
                if doc in live
            )
            for term in ("import", "pkg", "one", "k", "m", "broken", "sub", "a")
        }
        sizes = "SELECT files.id, sz FROM files JOIN words_docsize ON words_docsize.id = doc"
        return (
            [(each.path, each.module, each.is_test, each.lines)
             for each in store.files(connection)],
            {paths[f]: sorted(paths[each] for each in array("I", blob))
             for f, blob in store.links(connection).items()},
            sorted((paths[f], found) for f, found in store.symbols(connection).items()),
            sorted((paths[file], *line) for file, *line in store.blind_lines(connection)),
            words,
            {paths[file]: size for file, size in connection.execute(sizes)},
        )  # fmt: skip


def check(edits: list[tuple[str, str, str]]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        top = folder / "tree"
        subprocess.run(["git", "init", "-q", "--template=", str(top)], check=True)
        (top / ".git/info").mkdir(exist_ok=True)
        grown = Cache(folder / "grown.db", ours=False)
        for kind, path, more in edits:
            if kind == "look":
                grown.use(lambda db, tier=bool(more): refresh(db, top, None, parse=tier))
            else:
                apply(top, kind, path, more)
        fresh = Cache(folder / "fresh.db", ours=False)
        assert facts(grown, top, parse=True) == facts(fresh, top, parse=True)
        grown.close()
        fresh.close()
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(300)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits=EDITS)
def test_incremental_equals_rebuilt(edits: list[tuple[str, str, str]]) -> None:
    """However the tree came to be, the index says what a new one says."""
    check(edits)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits=EDITS)
def test_incremental_equals_rebuilt_at_length(edits: list[tuple[str, str, str]]) -> None:
    """The same, over many more sequences."""
    check(edits)


def test_a_package_that_appears_late() -> None:
    """A relative import gains its package's `__init__` when that file appears."""
    check(
        [
            ("write", "a.py", "import a\n"),
            ("write", "pkg/b.py", "from . import c\n"),
            ("look", "", ""),
            ("write", "pkg/__init__.py", ""),
            ("look", "", ""),
        ]
    )
