"""The map's numbers: bounded, and what a change reaches comes first."""

from __future__ import annotations

from self_coding.dashboard.blast_map import EDGES, NODES, BlastMap
from self_coding.values.code import ImportGraph


def test_files_edges_and_distances() -> None:
    """Files stand by folder and name, edges by their places, distances by path."""
    graph = ImportGraph(("a/x.py", "a/y.py", "t.py"), ((1, 0), (2, 1)))
    assert BlastMap(graph).drawing({"a/x.py": 0, "a/y.py": 1}, ["t.py"]) == {
        "folders": ["a", ""],
        "nodes": [[0, "x.py", 1, 0, 0], [0, "y.py", 1, 1, 0], [1, "t.py", 0, -1, 1]],
        "edges": [[1, 0], [2, 1]],
        "left_out": 0,
    }


def test_a_big_graph_is_bounded() -> None:
    """Of thousands of files those near the change stay, then the most imported."""
    paths = tuple(f"p/m{n:05}.py" for n in range(5000))
    edges = tuple((n, 7) for n in range(5000) if n != 7) + tuple((n, n - 1) for n in range(9, 5000))
    told = BlastMap(ImportGraph(paths, edges)).drawing({paths[4999]: 0}, [])
    assert isinstance(told, dict)
    names = [node[1] for node in told["nodes"]]  # type: ignore[index, union-attr]
    assert (len(names), told["left_out"]) == (NODES, 3000)
    assert {"m04999.py", "m00007.py"} <= set(names)
    assert len(told["edges"]) <= EDGES  # type: ignore[arg-type]
