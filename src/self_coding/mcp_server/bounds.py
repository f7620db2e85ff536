"""Answers that fit: long lists are cut, the rest of them is a resource, and prose is plain text.

A client may cut an answer off, or lose it whole, when it is too long. Here what matters most comes
first, and nothing is lost: each list says how much more there is and where.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic_core import to_jsonable_python

from self_coding.text import cut_middle

BUDGET = 10_000  # characters of an answer: 2,500 tokens
PROSE = 13_000  # of one that is mostly a text of the index
_KEPT = 50  # newest answers whose rests can be read
_LEAST = 400  # characters that are left of a text


def compact(value: object) -> str:
    """Return a value as JSON without a space that is not needed."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def fit(value: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """Pure: cut the largest list, table or text in half until all of it fits."""
    cut = dict(value)
    sizes = {name: len(compact(part)) for name, part in cut.items()}
    while sum(sizes.values()) > budget:
        # A table has entries of one kind; what has fields of its own stays whole.
        divisible = [
            name
            for name, part in cut.items()
            if (isinstance(part, str) and len(part) > _LEAST)
            or (isinstance(part, list) and len(part) > 1)
            or (
                isinstance(part, dict)
                and len(part) > 1
                and all(isinstance(one, dict) for one in part.values())
            )
        ]
        if not divisible:
            break
        name = max(divisible, key=sizes.__getitem__)
        part = cut[name]
        if isinstance(part, str):
            cut[name] = cut_middle(part, max(_LEAST, len(part) * 2 // 3))
        elif isinstance(part, dict):
            cut[name] = dict(list(part.items())[: len(part) // 2])
        else:
            cut[name] = part[: len(part) * 2 // 3]
        sizes[name] = len(compact(cut[name]))
    return cut


class Answers:
    """Makes results of values, and keeps what was left out of them for `read`."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._number = 0

    def result(
        self,
        value: object,
        budget: int = BUDGET,
        links: Mapping[str, str] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> CallToolResult:
        """Return a value as what a client gets: bounded, compact, with links to the rest.

        Args:
            value: a dataclass of `answers`.
            budget: the most characters.
            links: further resources of it, by their name.
            limits: the most entries of some of its lists.
        """
        whole: dict[str, Any] = _without_more(to_jsonable_python(value))
        asked = {name: whole[name][:most] for name, most in (limits or {}).items()}
        told = fit(whole | asked, budget)
        left = {
            name: len(whole[name]) - len(part)
            for name, part in told.items()
            if isinstance(part, list | dict) and len(part) < len(whole[name])
        }
        links = dict(links or {})
        if left:
            # Never used twice: an old link finds nothing rather than another answer.
            self._number += 1
            self._kept[self._number] = {name: whole[name] for name in left}
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            for name, count in left.items():
                uri = f"answer://{self._number}/{name}/{len(told[name])}"
                links[f"{count} more of {name}"] = uri
                told["more"] = {**(told.get("more") or {}), name: f"{count} more: {uri}"}
        # Diffs and outputs go as they are: in JSON each line break would be two characters,
        # which models read badly and pay for.
        prose = {
            name: part for name, part in told.items() if isinstance(part, str) and "\n" in part
        }
        plain = _said({name: part for name, part in told.items() if name not in prose})
        content: list[ContentBlock] = [TextContent(type="text", text=compact(plain))] * bool(plain)
        for name, text in prose.items():
            heading = f"{name}:\n" if plain else ""
            content.append(TextContent(type="text", text=f"{heading}{text}"))
        content += [ResourceLink(type="resource_link", name=n, uri=u) for n, u in links.items()]
        return CallToolResult(content=content, structured_content=told)

    def read(self, number: str, name: str, start: str) -> str | None:
        """Return what an answer left out, from an entry on, a page at a time; None: it is gone."""
        kept = self._kept.get(int(number) if number.isdecimal() else 0, {}).get(name)
        if kept is None or not start.isdecimal():
            return None
        entries = list(kept.items()) if isinstance(kept, dict) else kept
        lines: list[str] = []
        at, room = int(start), BUDGET
        for entry in entries[at:]:
            line = entry if isinstance(entry, str) else compact(entry)
            room -= len(line)
            if lines and room < 0:
                lines.append(f"{len(entries) - at} more: answer://{number}/{name}/{at}")
                break
            lines.append(line)
            at += 1
        return "\n".join(lines)


def _said(value: Any) -> Any:
    """Return a value without what says nothing: empty texts and lists cost a model tokens."""
    if isinstance(value, list):
        return [_said(one) for one in value]
    if isinstance(value, dict):
        return {k: _said(v) for k, v in value.items() if v not in ("", [], {}, None)}
    return value


def _without_more(value: Any) -> Any:
    """Return a value without the fields that say that nothing is left out."""
    if isinstance(value, list):
        return [_without_more(one) for one in value]
    if isinstance(value, dict):
        return {k: _without_more(v) for k, v in value.items() if (k, v) != ("more", None)}
    return value
