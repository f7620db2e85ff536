"""Pure. The map: files and their imports, as few numbers as a drawing needs, bounded.

Where a change is given, its blast radius comes first; of the rest the most imported files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, islice

from self_coding.dashboard.texts import visible
from self_coding.values.attempts import Json
from self_coding.values.code import ImportGraph

NODES, EDGES = 2000, 6000


class BlastMap:
    """The drawings of one graph; what all of them need is counted once."""

    def __init__(self, graph: ImportGraph) -> None:
        self.graph = graph
        self.places = {path: at for at, path in enumerate(graph.paths)}
        self._imported = Counter(target for _, target in graph.edges)
        # Stable: where as many import two files, they stay by path.
        self._by_use = sorted(range(len(graph.paths)), key=lambda at: -self._imported[at])

    def most_used(self, count: int) -> list[tuple[str, int]]:
        """Return the files that most others import, each with how many do."""
        used = [at for at in self._by_use[:count] if self._imported[at]]
        return [(self.graph.paths[at], self._imported[at]) for at in used]

    def drawing(self, distances: Mapping[str, int], tests: Sequence[str]) -> Json:
        """Return folders, files, edges and distances for the script that draws them.

        Args:
            distances: how far each file is from the change; 0 for the changed ones.
            tests: the test files among them.
        """
        paths = self.graph.paths
        near = {self.places[path]: far for path, far in distances.items() if path in self.places}
        # The nearest first, of these the most imported; what is left of the bound goes to the
        # files that most others use, so that a small change is seen in its surroundings.
        reached = sorted(near, key=lambda at: (near[at], -self._imported[at], at))
        rest = (at for at in self._by_use if at not in near)
        kept = sorted(islice(chain(reached, rest), NODES))
        number = {at: place for place, at in enumerate(kept)}
        folders: dict[str, int] = {}
        nodes: list[Json] = []
        is_test = set(tests)
        for at in kept:
            path = paths[at]
            folder, _, name = path.rpartition("/")
            place = folders.setdefault(folder, len(folders))
            shown, tested = visible(name)[:80], int(path in is_test)
            nodes.append([place, shown, self._imported[at], near.get(at, -1), tested])
        edges: list[Json] = [
            [number[source], number[target]]
            for source, target in self.graph.edges
            if source in number and target in number
        ]
        return {
            "folders": [visible(name)[:120] for name in folders],
            "nodes": nodes,
            "edges": edges[:EDGES],
            "left_out": len(paths) - len(kept),
        }
