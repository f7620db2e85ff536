"""An entry goes into settings text of any form and comes out again; every other byte stays."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from self_coding.adapters.settings_text import Entry, add, cut, put, read

SERVER = Entry(("mcpServers",), "ours", {"command": "x", "args": ["a", "b"]})
HOOK = Entry(("hooks", "PreToolUse"), "", {"matcher": "Edit", "mark": "ours"})
TABLE = Entry(("mcp_servers",), "ours", {"command": "x", "n": 1, "tools": {"t": {"mode": "y"}}})
EXTENSION = Entry(("extensions",), "ours", {"cmd": "x", "enabled": True, "args": ["a"]})

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
COMMENTS = st.sampled_from(["", " ", "\n", "\n\t", " // c, }\n", '/* " { */', "\r\n"])


@st.composite
def settings(draw: st.DrawFn) -> str:
    """JSON as people write it: comments anywhere, trailing commas, any indentation."""

    def write(value: object) -> str:
        comma = draw(st.sampled_from(["", ","]))
        blank = draw(COMMENTS)
        if isinstance(value, dict) and value:
            parts = [f"{json.dumps(k)}{blank}:{blank}{write(v)}" for k, v in value.items()]
            return f"{{{blank}{f',{blank}'.join(parts)}{comma}{blank}}}"
        if isinstance(value, list) and value:
            return f"[{blank}{f',{blank}'.join(map(write, value))}{comma}{blank}]"
        return json.dumps(value, indent=draw(st.sampled_from([None, 2])))

    held: dict[str, object] = draw(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
    held |= draw(
        st.sampled_from([{}, {"mcpServers": {}}, {"mcpServers": {"x": 1}}, {"hooks": {}}])
        | st.just({"hooks": {"PreToolUse": [{"matcher": "x"}], "Stop": []}})
    )
    return draw(COMMENTS) + write(held) + draw(COMMENTS)


@given_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(settings(), st.sampled_from([SERVER, HOOK]))
def test_json_is_added_to_and_comes_back(text: str, entry: Entry) -> None:
    """Text is only inserted; what it holds afterwards is what it held and the entry."""
    piece = add(text, "json", entry)
    assert piece is not None
    added = put(text, piece)
    assert added[: piece.at] + added[piece.at + len(piece.text) :] == text
    expected = read(text, "json")
    held = expected
    for name in entry.path[:-1]:
        held = held.setdefault(name, {})
    if entry.key:
        held.setdefault(entry.path[-1], {})[entry.key] = entry.value
    else:
        held.setdefault(entry.path[-1], []).insert(0, entry.value)
    assert read(added, "json") == expected
    assert add(added, "json", entry) is None


@given_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(settings(), st.sampled_from([SERVER, HOOK]))
def test_json_is_cut_without_a_note(text: str, entry: Entry) -> None:
    """An entry of ours is found by its name or mark, and goes alone; comments of others stay."""
    piece = add(text, "json", entry)
    assert piece is not None
    left = cut(put(text, piece), entry, "ours")
    held, before = read(left, "json"), read(text, "json")
    for one in (held, before):  # a table that held nothing else goes with it
        for name in ("mcpServers", "hooks"):
            if not one.get(name, True):
                del one[name]
    assert held == before
    if set(read(text, "json")) == set(read(left, "json")):
        assert left.count("// c, }") == text.count("// c, }")


@pytest.mark.parametrize("entry", [SERVER, HOOK])
@pytest.mark.parametrize(
    "text", ["", "\n", "// only a comment\n", "{}", "{ }", "{\n}\n", "\ufeff{}"]
)
def test_json_that_holds_nothing_gets_the_entry(text: str, entry: Entry) -> None:
    """An empty file, a comment alone and an empty object all take it."""
    piece = add(text, "json", entry)
    assert piece is not None
    assert "ours" in json.dumps(read(put(text, piece), "json"))


def test_an_entry_is_written_as_its_surroundings_are() -> None:
    """Indentation and line ends of the file are kept to."""
    text = '{\r\n\t"mcpServers": {\r\n\t\t"x": 1\r\n\t}\r\n}\r\n'
    piece = add(text, "json", SERVER)
    assert piece is not None
    added = put(text, piece)
    assert added.startswith('{\r\n\t"mcpServers": {\r\n\t\t"ours": {\r\n\t\t\t"command": "x",\r\n')
    assert added.replace("\r\n", "").count("\n") == 0


@pytest.mark.parametrize(
    ("text", "form", "entry", "why"),
    [
        ("{", "json", SERVER, "not JSON"),
        ('{"a": }', "json", SERVER, "not JSON at line 1"),
        ('{"a": 1}\n{}', "json", SERVER, "not JSON"),
        ("{} /* open", "json", SERVER, "not JSON"),
        ("[]", "json", SERVER, "something else"),
        ('{"mcpServers": []}', "json", SERVER, "something else"),
        ('{"hooks": {"PreToolUse": {}}}', "json", HOOK, "something else"),
        ('{"hooks": []}', "json", HOOK, "something else"),
        ('{"a": 1, "a": 2}', "json", SERVER, "twice"),
        ('{"mcpServers": {"ours": {}}}', "json", SERVER, "another entry"),
        ("[" * 100_000, "json", SERVER, "too deeply"),
        ("a = ", "toml", TABLE, "not TOML"),
        ("mcp_servers = {}", "toml", TABLE, "cannot be added to"),
        ("[mcp_servers.ours]\na = 1", "toml", TABLE, "another entry"),
        ("extensions: {}\n", "yaml", EXTENSION, "not understood"),
        ("extensions: &a\n  x:\n", "yaml", EXTENSION, "not understood"),
        ("- a\n- b\n", "yaml", EXTENSION, "list"),
        ("{a: 1}\n", "yaml", EXTENSION, "not understood"),
        ("a: 1\n---\nb: 2\n", "yaml", EXTENSION, "more than one"),
        ("extensions:\n  ours:\n    cmd: y\n", "yaml", EXTENSION, "another entry"),
        ("extensions:\n  - a\n", "yaml", EXTENSION, "list"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, form: str, entry: Entry, why: str) -> None:
    """Broken, hostile and unusual files are told apart, and nothing is guessed."""
    with pytest.raises(ValueError, match=why):
        add(text, form, entry)


@pytest.mark.parametrize(
    "text", ["", 'model = "x"', "# c\n[mcp_servers.y]\nz = 1\n", "a = 1\r\n[b]\r\n"]
)
def test_toml_gets_tables_at_its_end(text: str) -> None:
    """The tables stand behind what is there, with its line ends, and are read back."""
    piece = add(text, "toml", TABLE)
    assert piece is not None and piece.at == len(text)
    held = tomllib.loads(text)
    held.setdefault("mcp_servers", {})["ours"] = TABLE.value
    assert tomllib.loads(put(text, piece)) == held
    assert add(put(text, piece), "toml", TABLE) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "extensions:\n  ours:\n    cmd: "),
        ("a: 1", "a: 1\nextensions:\n  ours:\n"),
        (
            "extensions:\n    # c\n    x:\n        cmd: y\nb: 2\n",
            "extensions:\n    ours:\n        cmd: ",
        ),
        ("# c\nextensions: # d\n  x:\n", "# c\nextensions: # d\n  ours:\n    cmd: "),
        ("extensions:\n\nb: |\n  extensions:\n", "extensions:\n  ours:\n"),
    ],
)
def test_yaml_gets_lines_below_its_key(text: str, expected: str) -> None:
    """The lines stand first below the key, as deep as the others; the rest follows unchanged."""
    piece = add(text, "yaml", EXTENSION)
    assert piece is not None
    added = put(text, piece)
    assert added.startswith(expected)
    assert added.endswith(text[piece.at :])
    assert add(added, "yaml", EXTENSION) is None
