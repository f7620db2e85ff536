"""Pure: what one run of the test command left behind, and its form on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TypeVar

from self_coding.gate.census import Census
from self_coding.values.verdicts import TestResult

FORMAT = 2
C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One run: how it ended, what it wrote, what pytest reported.

    `whole` is False for a run of chosen tests or of the collection alone. `retried` holds the
    outcome of failures that were run again. `planted` lists what the run changed in the
    repository's own git files, `rewrote` the Python files of the tree that it wrote to;
    `foreign` the imports that were not the tested tree's.
    """

    tree: str
    exit_status: int
    timed_out: bool = False
    output: str = ""
    seconds: float = 0.0
    sandbox: str = "none"
    limits: str = ""
    whole: bool = True
    census: Census = field(default_factory=Census)
    retried: tuple[tuple[str, str], ...] = ()
    planted: tuple[str, ...] = ()
    rewrote: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def understood(self) -> bool:
        """Whether pytest reported to us."""
        return self.census.sessions > 0


def dump(evidence: Evidence) -> str:
    """The evidence as one JSON text."""
    return json.dumps({"format": FORMAT} | asdict(evidence), sort_keys=True)


def load(text: str) -> Evidence | None:
    """The evidence of a JSON text; None when it is not one, or of another format."""
    try:
        data = json.loads(text)
        if data.pop("format") != FORMAT:
            return None
        data["census"] = _census(data["census"])
        return _build(Evidence, data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _census(data: dict[str, object]) -> Census:
    results = data["results"]
    assert isinstance(results, list)
    return _build(Census, data | {"results": [_build(TestResult, one) for one in results]})


def _build(kind: type[C], data: dict[str, object]) -> C:
    """A value of `kind`, its lists turned back into tuples."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type] # a dataclass
    return kind(**{name: _frozen(value) for name, value in data.items() if name in names})


def _frozen(value: object) -> object:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
