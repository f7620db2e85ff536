"""Pure: what one run of the test command left behind, and its form on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from self_coding.gate.census import Census

FORMAT = 2


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
    """Return the evidence as one JSON text."""
    return json.dumps({"format": FORMAT} | asdict(evidence), sort_keys=True)


def load(text: str) -> Evidence | None:
    """Return the evidence in a JSON text; None when it is not one, or of another format."""
    from pydantic import TypeAdapter  # costs 0.1 s, which a run of `true` would feel

    try:
        data = json.loads(text)
        if data.pop("format") != FORMAT:
            return None
        return TypeAdapter(Evidence).validate_python(data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
