"""The page about the lifecycle says what the code does."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

from self_coding.self_edit import lifecycle
from self_coding.self_edit.lifecycle import _TABLE, Step

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "lifecycle.md"


def steps_of(rule: object) -> set[str]:
    """The steps that a row can lead to, read from its function and those it calls."""
    if rule is None:
        return set()
    if isinstance(rule, Step):
        return {rule.value}
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule)))  # type: ignore[arg-type]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "Step":
                found.add(Step[node.attr].value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_green",):
            found |= steps_of(getattr(lifecycle, node.func.id))  # type: ignore[attr-defined]
    return found


def test_the_table_in_the_docs_is_the_codes() -> None:
    """The transition table on the page is the one that runs, row by row."""
    rows = ["| after the event | the next step is one of |", "|---|---|"]
    for kind, rule in _TABLE.items():
        rows.append(f"| `{kind}` | {', '.join(sorted(steps_of(rule))) or '-'} |")
    assert "\n".join(rows) in PAGE.read_text(encoding="utf-8")
