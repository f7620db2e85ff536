"""What the pages remember between two looks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason='needs: pip install "self-coding[web]"')


from self_coding import open_app
from self_coding.dashboard import board as boards
from self_coding.dashboard.board import Board
from self_coding.errors import IndexerError
from self_coding.testing import sample_repo


async def _nothing() -> list[boards.Check]:
    return []


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(open_app(sample_repo(tmp_path / "repo"), environ={}), _nothing)


async def test_the_next_map_needs_no_look(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within half a minute maps are of one look at the files; later ones are of the files then."""
    before = await board.map()
    (board.app.top / "src/calc/more.py").write_text("import calc.core\n")
    assert await board.map() is before
    assert "src/calc/more.py" not in str(await board.impact(["src/calc/core.py"]))
    monkeypatch.setattr(boards, "_LOOK_SECONDS", 0.0)
    assert "src/calc/more.py" in (await board.map()).places
    assert "src/calc/more.py" in str(await board.impact(["src/calc/core.py"]))


async def test_a_drawing_is_made_once_for_a_map(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same files of the same graph are drawn once, and anew when the graph is another."""
    monkeypatch.setattr(boards, "_LOOK_SECONDS", 0.0)
    time.sleep(0.06)  # a file as young as its look is looked at again
    drawn = await board.drawing(["src/calc/core.py"])
    assert await board.drawing(["src/calc/core.py"]) is drawn
    (board.app.top / "src/calc/more.py").write_text("import calc.core\n")
    assert b"more.py" in await board.drawing(["src/calc/core.py"])


async def test_it_is_read_before_anybody_asks(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page has it read while a person looks at it; an error is told later."""
    board.warm()
    board.warm()
    assert board._warming is not None
    await board._warming
    assert board._map is not None

    async def fail(*_: object, **__: object) -> None:
        raise IndexerError("no disk")

    other = Board(board.app, _nothing)
    monkeypatch.setattr(board.app.indexer, "graph", fail)
    other.warm()
    assert other._warming is not None
    await other._warming
    with pytest.raises(IndexerError):
        await other.map()
