"""Pure. The map: files and their imports, as few numbers as a drawing needs, bounded.

Where a change is given, its blast radius comes first; of the rest the most imported files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from self_coding.dashboard.texts import visible
from self_coding.values.attempts import Json
from self_coding.values.code import ImportGraph

NODES, EDGES = 2000, 6000


def drawing(graph: ImportGraph, distances: Mapping[str, int], tests: Sequence[str]) -> Json:
    """Return folders, files, edges and distances for the script that draws them.

    Args:
        graph: who imports whom.
        distances: how far each file is from the change; 0 for the changed ones.
        tests: the test files among them.
    """
    imported = Counter(target for _, target in graph.edges)
    order = sorted(
        range(len(graph.paths)),
        key=lambda at: (distances.get(graph.paths[at], 1 << 30), -imported[at], graph.paths[at]),
    )
    kept = sorted(order[:NODES], key=lambda at: graph.paths[at])
    number = {at: place for place, at in enumerate(kept)}
    folders: dict[str, int] = {}
    nodes: list[Json] = []
    is_test = set(tests)
    for at in kept:
        path = graph.paths[at]
        folder, _, name = path.rpartition("/")
        place = folders.setdefault(folder, len(folders))
        nodes.append(
            [place, visible(name)[:80], imported[at], distances.get(path, -1), int(path in is_test)]
        )
    edges: list[Json] = [
        [number[source], number[target]]
        for source, target in graph.edges
        if source in number and target in number
    ]
    return {
        "folders": [visible(name)[:120] for name in folders],
        "nodes": nodes,
        "edges": edges[:EDGES],
        "left_out": len(graph.paths) - len(kept),
    }
