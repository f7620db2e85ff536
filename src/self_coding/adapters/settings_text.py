"""Add an entry to the text of a settings file and take it out again; every other byte stays. Pure.

JSON (comments and trailing commas too), TOML and YAML. Text is only ever inserted, so that what was
there is what remains when the inserted pieces are cut out. What is not understood is a `ValueError`
that says why; nothing is guessed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from self_coding.values.attempts import Json

_BLANK = re.compile(r"(?:[\s\ufeff]++|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+")
_SCALAR = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"|-?\d[\w.+-]*|true|false|null')
_YAML_LINE = re.compile(
    r"""(?:[\w.-]+|"[\w .-]+"|'[\w .-]+'):(?:\s.*)?|\#.*|---\s*|\s*|[ ].*|-\s.*"""
)


@dataclass(frozen=True)
class Entry:
    """One entry: `path` leads to its table, or to its list where `key` is empty."""

    path: tuple[str, ...]
    key: str
    value: Json


@dataclass(frozen=True)
class Piece:
    """Text inserted at an offset of what was there."""

    at: int
    text: str


def read(text: str, form: str) -> Any:
    """Return what a text holds; YAML is not read, only told from what we cannot add to.

    Raises:
        ValueError: it is not in its form.
    """
    try:
        if form == "toml":
            return tomllib.loads(text)
        if form == "json":
            return {} if _BLANK.fullmatch(text) else _parse(text).value
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not TOML: {error}") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if re.match(r"(?:\s|---|#.*\n)*-\s", text):
        raise ValueError("is a list")
    wrong = next((line for line in text.splitlines() if not _YAML_LINE.fullmatch(line)), None)
    if wrong is not None:
        raise ValueError(f"has a line that is not understood: {wrong[:60]!r}")
    return {}


def add(text: str, form: str, entry: Entry) -> Piece | None:
    """Return the piece that adds an entry to a text; None when it is there.

    Raises:
        ValueError: another entry has its place, or the text is not in its form.
    """
    before = read(text, form)
    if form == "yaml":
        piece = _add_yaml(text, entry)
    else:
        held = before
        for name in entry.path:
            if not isinstance(held, dict):
                raise ValueError(f"has something else than a table above {name!r}")
            held = held.get(name, {} if entry.key or name != entry.path[-1] else [])
        if not isinstance(held, dict if entry.key else list):
            raise ValueError(f"has something else where {'.'.join(entry.path)} should be")
        if entry.value in (held if isinstance(held, list) else [held.get(entry.key)]):
            return None
        if entry.key and entry.key in held:
            raise ValueError(f"has another entry {entry.key!r} already")
        if form == "json":
            piece = _add_json(text, entry)
        else:  # tables stand behind all that is there
            gap = "" if not text.strip() else "\n" if text.endswith("\n") else "\n\n"
            end = "\r\n" if "\r\n" in text else "\n"
            piece = Piece(len(text), f"{gap}{toml(entry)}".replace("\n", end))
    if piece is not None:
        try:
            read(put(text, piece), form)
        except ValueError as error:
            raise ValueError(f"cannot be added to as it is written: it {error}") from error
    return piece


def put(text: str, piece: Piece) -> str:
    """Return the text with a piece in it."""
    return text[: piece.at] + piece.text + text[piece.at :]


def cut(text: str, entry: Entry, mark: str) -> str:
    """Return a JSON text without an entry, by its name or in a list by `mark`.

    What held nothing else goes with it; an entry without a value goes only if it holds nothing.

    Raises:
        ValueError: it is not JSON.
    """

    def is_ours(key: str, held: Json) -> bool:
        if not entry.key:
            return mark in json.dumps(held)
        return key == entry.key and not (entry.value is None and held)

    gone = False
    while found := _member(text, entry.path, is_ours):
        text, gone = _without(text, *found), True
    if gone and entry.path:
        return cut(text, Entry(entry.path[:-1], entry.path[-1], None), mark)
    return text


# -- JSON -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Node:
    """A value in a text; `members` have a name ("" in a list), where they begin, and a value."""

    start: int
    end: int
    value: Any
    members: list[tuple[str, int, _Node]]


def _parse(text: str) -> _Node:
    node, at = _node(text, _skip(text, 0))
    if _skip(text, at) != len(text):
        raise ValueError(_not_json(text, at))
    return node


def _skip(text: str, at: int) -> int:
    return cast("re.Match[str]", _BLANK.match(text, at)).end()


def _not_json(text: str, at: int) -> str:
    return f"is not JSON at line {text.count(chr(10), 0, at) + 1}"


def _node(text: str, start: int) -> tuple[_Node, int]:
    """Return the value that begins at an offset, and where it ends."""
    is_table = text[start : start + 1] == "{"
    if not is_table and text[start : start + 1] != "[":
        match = _SCALAR.match(text, start)
        try:
            value = json.loads(match[0]) if match else None
        except ValueError:
            match = None
        if match is None:
            raise ValueError(_not_json(text, start))
        return _Node(start, match.end(), value, []), match.end()
    members: list[tuple[str, int, _Node]] = []
    at, may_follow = _skip(text, start + 1), True
    while text[at : at + 1] != ("}" if is_table else "]"):
        first, name = at, ""
        if is_table:
            key, at = _node(text, at)
            at = _skip(text, at)
            if not isinstance(key.value, str) or text[at : at + 1] != ":":
                raise ValueError(_not_json(text, first))
            name, at = key.value, _skip(text, at + 1)
        # Checked here and not at the comma: people leave one behind the last member.
        if not may_follow:
            raise ValueError(_not_json(text, first))
        if is_table and name in (other for other, _, _ in members):
            raise ValueError(f"has {name!r} twice")
        node, at = _node(text, at)
        members.append((name, first, node))
        at = _skip(text, at)
        if may_follow := text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    value = {n: node.value for n, _, node in members} if is_table else [m[2].value for m in members]
    return _Node(start, at + 1, value, members), at + 1


def _along(root: _Node, path: tuple[str, ...]) -> Iterator[_Node]:
    """Yield the containers on a path, as far as there are any."""
    yield root
    for name in path:
        found = [node for other, _, node in root.members if other == name]
        if not found:
            return
        (root,) = found
        yield root


def _line(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 : at]


def _add_json(text: str, entry: Entry) -> Piece:
    names = (*entry.path, *([entry.key] if entry.key else []))
    blank = _BLANK.fullmatch(text) is not None
    nodes = list(_along(_parse("{}" if blank else text), entry.path))
    rest = names[len(nodes) - 1 :]  # what is not there yet
    value: Any = entry.value if entry.key else [entry.value] if rest else entry.value
    for name in reversed(rest[1:]):
        value = {name: value}
    end = "\r\n" if "\r\n" in text else "\n"
    root, node = nodes[0], nodes[-1]
    lead = _line(text, root.members[0][1]) if root.members else ""
    unit = lead if lead and not lead.strip() else "  "

    def member(indent: str, unit: str | None) -> str:
        name = f"{json.dumps(rest[0], ensure_ascii=False)}: " if rest else ""
        return name + json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", end + indent)

    if blank:
        return Piece(len(text), f"{{{end}{unit}{member(unit, unit)}{end}}}{end}")
    if node.members:
        first = node.members[0][1]
        lead = _line(text, first)
        if lead.strip():  # in a line with what stands around it
            return Piece(first, f"{member('', None)}, ")
        return Piece(first, f"{member(lead, unit)},{end}{lead}")
    closing = node.end - 1
    outer = _line(text, closing)
    if not outer.strip() and node.start < closing - len(outer):  # its brace has a line of its own
        return Piece(closing, f"{unit}{member(outer + unit, unit)}{end}{outer}")
    begun = _line(text, node.start)
    outer = begun[: len(begun) - len(begun.lstrip())]
    return Piece(closing, f"{end}{outer}{unit}{member(outer + unit, unit)}{end}{outer}")


def _member(
    text: str, path: tuple[str, ...], is_ours: Callable[[str, Json], bool]
) -> tuple[_Node, int] | None:
    """Return the container at a path and the number of its first member that is ours."""
    if _BLANK.fullmatch(text):
        return None
    nodes = list(_along(_parse(text), path))
    if len(nodes) == len(path) + 1:
        for number, (name, _, node) in enumerate(nodes[-1].members):
            if is_ours(name, node.value):
                return nodes[-1], number
    return None


def _without(text: str, node: _Node, number: int) -> str:
    _, start, member = node.members[number]
    comma = _skip(text, member.end)
    if text[comma] == ",":
        after = cast("re.Match[str]", re.compile(r"[ \t]*(?:\r?\n[ \t]*)?").match(text, comma + 1))
        if number + 1 < len(node.members):
            return text[:start] + text[member.end : comma] + text[after.end() :]
        return text[:start].rstrip(" \t") + text[member.end : comma] + text[comma + 1 :]
    if number:
        previous = _skip(text, node.members[number - 1][2].end)
        between = re.sub(r"\r?\n?[ \t]*$", "", text[previous + 1 : start])
        return text[:previous] + between + text[member.end :]
    return re.sub(r"\r?\n?[ \t]*$", "", text[:start]) + text[member.end :]


# -- TOML and YAML ----------------------------------------------------------------------------


def toml(entry: Entry) -> str:
    """Return an entry as TOML tables."""

    def table(path: tuple[str, ...], value: dict[str, Json]) -> str:
        plain = [f"{k} = {json.dumps(v)}" for k, v in value.items() if not isinstance(v, dict)]
        below = [table((*path, k), v) for k, v in value.items() if isinstance(v, dict)]
        head = [f"[{'.'.join(path)}]", *plain] if plain else []
        return "\n\n".join(filter(None, ["\n".join(head), *below]))

    return table((*entry.path, entry.key), cast("dict[str, Json]", entry.value)) + "\n"


def yaml(entry: Entry, indent: str = "  ") -> str:
    """Return an entry as lines of YAML below the key that is its path."""

    def lines(key: str, value: Json, depth: int) -> Iterator[str]:
        if isinstance(value, dict):
            yield f"{indent * depth}{key}:"
            for name, held in value.items():
                yield from lines(name, held, depth + 1)
        else:
            yield f"{indent * depth}{key}: {json.dumps(value)}"

    return "\n".join(lines(entry.key, entry.value, 1)) + "\n"


def _add_yaml(text: str, entry: Entry) -> Piece | None:
    """Return the piece that adds an entry below a top-level key, which may be missing."""
    (name,) = entry.path
    end = "\r\n" if "\r\n" in text else "\n"
    heads = list(re.finditer(rf"^[\"']?{re.escape(name)}[\"']?:(.*)$\n?", text, re.MULTILINE))
    if not heads:
        if re.search(r"^---\s*$", text.partition("\n")[2], re.MULTILINE):
            raise ValueError("holds more than one document")
        gap = "" if not text or text.endswith("\n") else end
        return Piece(len(text), gap + f"{name}:\n{yaml(entry)}".replace("\n", end))
    if len(heads) > 1 or heads[0][1].partition("#")[0].strip() or not heads[0][0].endswith("\n"):
        raise ValueError(f"has {name!r} in a form that is not understood")
    at = heads[0].end()
    if re.match(r"(?:[^\S\n]*+(?:#.*+)?\n)*+\s*-", text[at:]):
        raise ValueError(f"has a list at {name!r}")
    below = re.match(r"(?:[^\S\n]*+(?:#.*+)?\n)*+(?P<indent> +)[^\s#-]", text[at:])
    indent = below["indent"] if below else "  "
    block = cast("re.Match[str]", re.match(r"(?:[ \t].*\n?|\s*\n|#.*\n)*", text[at:]))[0]
    if re.search(rf"^{indent}[\"']?{re.escape(entry.key)}[\"']?:", block, re.MULTILINE):
        if yaml(entry, indent).replace("\n", end) in block:
            return None
        raise ValueError(f"has another entry {entry.key!r} already")
    return Piece(at, yaml(entry, indent).replace("\n", end))
