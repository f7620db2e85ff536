"""Read failing tests out of what other runners than Python's print.

Pure. `go test`, `cargo test`, `node --test`, jest, vitest, JUnit's console and Surefire: the name
of a failing test, the message behind it, and the places in files that its block names. Ids are as
the runner prints them; a file is put before one where its block names a test file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from self_coding.languages import is_source, is_test
from self_coding.reflection.test_output import FailedTest
from self_coding.reflection.tracebacks import Frame, Raised, split_raised

# How a failing test begins; the block below it ends where the next one does.
_HEAD = re.compile(
    r"^(?:\s{0,12}--- FAIL: (?P<go>\S+) \([\d.]+s\)"
    r"|---- (?P<rust>\S[^\n]{0,300}) stdout ----"
    r"|\s{0,12}\u2716 (?!\d+ problems? \()(?P<node>\S[^\n]{0,300}?)(?: \([\d.]+m?s\))?"
    r"|\s{0,16}not ok \d{1,6} (?:- )?(?P<tap>\S[^\n]{0,300})"
    r"|\s{0,4}\u25cf (?P<jest>\S[^\n]{0,300})"
    r"|\s{0,4}FAIL\s{1,4}(?P<vitest>\S[^\n]{0,200} > [^\n]{1,300})"
    r"|(?:\[ERROR\]\s{1,4})?(?P<java>[\w.$]{1,200}[.:#]\w{1,100}(?:\(\))?)\s.{0,40}"
    r"<<< (?:FAIL|ERR)\w{0,6}!?"
    r"|\s{0,8}JUnit Jupiter:(?P<junit>(?:\w{1,200}:){1,4}\w{1,100})\(.{0,400})$"
)
_PLACE = re.compile(
    r"(?<![\w./-])((?:[\w.@+-]{1,100}/|/){0,20}[\w.@+-]{1,100}\.[a-z]{1,4}):(\d{1,7})"
)
_CALLED = re.compile(
    r"^\s*+(?:at (?:async )?(?P<new>new )?|(?=\S{1,300}\(\w{1,100}\.java:\d))"
    r"(?:[\w$]{1,100}[./]){0,20}(?P<name>[\w$]{1,100}) ?(?:\[as \w{1,100}\] )?\("
    r"|^\s*+\u276f (?:async |get |set )?(?:[\w$]{1,100}\.){0,20}(?P<vitest>[\w$]{1,100}) "
    r"\S{1,300}:\d"
)
_CALLED_ABOVE = re.compile(
    r"[\w./-]{1,200}\.(?:\([^()\n]{1,80}\)\.)?(?P<name>\w{1,100})\("
    r"|\s*+\d+: (?:\S.{0,300}::)?(?P<rust>\w{1,100})$"
)
_ELSEWHERE = re.compile(
    r"node:internal|/node_modules/|org\.junit\.|java\.base/|/library/(?:core|std|alloc|test)/src/"
    r"|\bgoroutine\b|/go[-\d.]{0,9}/src/(?!\S{0,200}\.[a-z]{1,9}/)"
)
# A line of source that jest and vitest show around a place.
_SHOWN = re.compile(r"^\s*+(?:> )?\s*+(?P<line>\d{1,7}) ?\| ?(?P<code>.*)$")
# What `node --test` prints above a head.
_ABOVE = re.compile(r"(?m)^test at (?P<path>\S{1,300}?):\d")
_PANIC = re.compile(r"^thread '.{0,300}' (?:\(\d+\) )?panicked at (?:'(?P<old>.*)', )?")
_NOISE = re.compile(
    r"^(?:at |note: |goroutine \d|[\w.$]{1,200}\(\w{1,100}\.java:\d"
    r"|\d+ ?\||\||>|\u276f|\u2714|===|---|\.\.\.|\+ |- |exit status|FAIL\b|ok\b|test result"
    r"|stack back"
    r"|MethodSource|\[signal |=> *$|org\.junit"
    r"|(?:duration_ms|type|location|failureType|code|name|stack|error): ?(?:\|-)?.*$|$)"
)
_BUILD = re.compile(
    r"^(?P<path>[\w./-]{1,300}\.(?:go|java|[cm]?tsx?)):(?P<line>\d+)(?::\d+)?: (?P<what>\S.*)$"
    r"|^error(?:\[E\d+\])?: (?P<rust>\S.*)$"
)
_GO_PANIC = re.compile(r"^\s*+panic: (?P<what>.*?)(?: \[recovered\])?$")
_LONGEST = 80  # lines of a block that are read
_MARKS = re.compile(
    r"--- FAIL: | stdout ----$|\u2716 |\u25cf |^[ \t]*not ok \d|^[ \t]*FAIL\s|<<< |JUnit Jupiter:",
    re.M,
)


def read_other_output(output: str) -> list[FailedTest]:
    """Return the failing tests that another runner's output shows; none for other text."""
    # Node repeats what failed at its end, with files.
    _, again, last = output.rpartition("\u2716 failing tests:\n")
    lines = (last if again and _ABOVE.search(last) else output).split("\n")
    found = {test.id: test for test in _blocks(lines)} if _MARKS.search(output) else {}
    if found:
        names = list(found)
        # A test around failing ones says nothing of its own, nor one that is explained elsewhere.
        return [
            found[name]
            for name in names
            if found[name].raised.frames
            or not any(o.startswith(f"{name}/") or o.endswith(f"::{name}") for o in names)
        ]
    for at, line in enumerate(lines):
        if match := _BUILD.match(line):
            frames = _frames([line] if match["path"] else lines[at : at + 4])
            if frames:
                raised = Raised(
                    exception="BuildError", message=match["what"] or match["rust"], frames=frames
                )
                return [FailedTest(id="", raised=raised)]
    return []


def _blocks(lines: list[str]) -> Iterator[FailedTest]:
    heads = [(at, match) for at, line in enumerate(lines) if (match := _HEAD.match(line.rstrip()))]
    block: list[str] = []
    tests: list[FailedTest] = []
    end = len(lines)
    for at, match in reversed(heads):
        own = lines[at + 1 : min(end, at + 1 + _LONGEST)]
        while own and (not own[-1].strip() or _ABOVE.match(own[-1])):
            own.pop()
        # vitest names all the tests that failed alike above one text.
        block = own if own or not match["vitest"] else block
        above = _ABOVE.match(lines[at - 1]) if at else None
        end = at
        if any("subtestsFailed" in line for line in block):
            continue  # what failed inside of it was told before
        name = next(each for each in match.groups() if each).strip()
        name += "()" if match["junit"] else ""  # each call of a test with parameters is that test
        tests.append(_test(name, block, above["path"] if above else ""))
    yield from reversed(tests)


def _test(name: str, block: list[str], path: str) -> FailedTest:
    """A failing test of a name as its block explains it; `path` is its file where that is told."""
    panicked = [match["what"] for line in block if (match := _GO_PANIC.match(line))]
    # Where Go's runtime was told to panic, its own frames end and those of the fault begin.
    calls = [at for at, line in enumerate(block) if line.startswith("panic(")]
    start = calls[-1] + 2 if calls else 0
    if panicked and not calls:
        start = next((at for at, line in enumerate(block) if line.startswith("goroutine ")), 0)
    frames = _frames(block[start:])
    message = _message(block)
    exception, text = split_raised(message) or ("AssertionError", message)
    if panicked:
        exception, text = "panic", panicked[0]
    elif any(_PANIC.match(line.strip()) for line in block) and message[:9] != "assertion":
        exception, text = "panic", message
    tests = [frame.path for frame in frames if is_test(frame.path)]
    path = path or (tests[0] if tests else (frames[-1].path if frames else ""))
    if " > " in name and is_source(name.split(" > ", maxsplit=1)[0].split(" ", maxsplit=1)[0]):
        path, _, name = name.partition(" > ")
    return FailedTest(
        id=f"{path}::{name}" if path else name,
        raised=Raised(exception=exception, message=text, frames=frames, details=tuple(block[:8])),
    )


def _frames(block: list[str]) -> tuple[Frame, ...]:
    """Return the places that a block names, outermost first, as stacks have them last."""
    sources = (code for each in block if (code := _SHOWN.match(each)))
    shown = {int(code["line"]): code["code"].strip() for code in sources}
    frames: dict[tuple[str, int], Frame] = {}
    above = ""
    for line in block:
        if not _ELSEWHERE.search(line):
            # Node and the JVM name the function on the line of its place, Go and Rust above it.
            called = _CALLED.search(line) or _CALLED_ABOVE.match(above)
            named = called.groupdict() if called else {}
            name = next((each for key, each in named.items() if each and key != "new"), "")
            name = "constructor" if named.get("new") else name
            for match in _PLACE.finditer(line.replace("file://", "")):
                if is_source(match[1]) and not _SHOWN.match(line):
                    place = match[1].removeprefix("./"), int(match[2])
                    if place not in frames or not frames[place].function:
                        frames[place] = Frame(*place, name, shown.get(place[1], ""))
        above = line
    return tuple(reversed(frames.values()))


def _message(block: list[str]) -> str:
    """Return the lines of a block that say what is wrong."""
    said: list[str] = []
    for line in block:
        text = line.strip()
        if panic := _PANIC.match(text):
            if panic["old"]:
                return panic["old"]
            continue
        if place := _PLACE.match(text):
            text = text[place.end() :].lstrip(": ")
        text = re.sub(r"^(\w+) \[\w+\]: ", r"\1: ", text.removeprefix("=> "))  # Node's codes
        if _NOISE.match(text):
            if said and text:
                break
            continue
        said.append(text)
        if len(said) == 4:
            break
    return "\n".join(said)
