"""What the pages remember between two looks."""

from __future__ import annotations

import asyncio
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
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(boards, "_GRAPH_SECONDS", 0.0)
    return Board(open_app(sample_repo(tmp_path / "repo"), environ={}), _nothing)


async def _renewed(board: Board) -> None:
    assert board._renewing is not None
    await board._renewing


async def test_an_old_graph_is_shown_at_once_and_the_next_is_new(board: Board) -> None:
    """Nobody waits for a graph that was read before; a file that came is in the next one."""
    before = await board.graph()
    (board.app.top / "src/calc/more.py").write_text("import calc.core\n")
    assert await board.graph() is before
    await _renewed(board)
    assert "src/calc/more.py" in (await board.graph()).paths


async def test_it_is_read_before_anybody_asks(board: Board) -> None:
    """The first page has it read while a person still looks at that page; once is enough."""
    board.warm()
    board.warm()
    await _renewed(board)
    assert (await board.graph()).paths


async def test_a_graph_that_cannot_be_read_anew_stays(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while renewing is nobody's page; who asks without an answer is told."""
    before = await board.graph()

    async def fail(*_: object, **__: object) -> None:
        raise IndexerError("no disk")

    monkeypatch.setattr(board.app.indexer, "graph", fail)
    assert await board.graph() is before
    await _renewed(board)
    assert await board.graph() is before
    monkeypatch.setattr(board.app.indexer, "impact", fail)
    with pytest.raises(IndexerError):
        await board.impact(["src/calc/core.py"])
    await asyncio.sleep(0)
