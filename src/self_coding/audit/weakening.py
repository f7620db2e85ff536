"""One test before and after a change: does it still say what it said?

Pure. A rewritten test passes when it claims at least as much; an assertion that was dropped,
cannot fail, is not reached any more, or forgives more than before is a finding.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from self_coding.audit import strength as says
from self_coding.audit.claims import PLATFORM, Claim
from self_coding.audit.syntax import elements, finding, name_of, quote, strings, unparse, walk_own
from self_coding.audit.test_modules import Test, cases
from self_coding.values.verdicts import Finding

_SPELLING = (
    "pytest approx round math isclose abs rel self not is in None assertEqual assertTrue "
    "assertAlmostEqual assertFalse isinstance len or and True False"
)
_NEUTRAL = frozenset(_SPELLING.split())  # words of how it is said, not of what
_MOST_PAIRED = 60  # assertions of one test that are paired by likeness; more are a table
_CATCHERS = frozenset({"raises", "assertRaises", "assertRaisesRegex", "warns"})


@dataclass(frozen=True)
class Around:
    """What else the change does: assertions that it adds elsewhere, names that it takes out of
    the code, and whether it changes code at all. `renewed`: code changes, and the tests of this
    file together claim at least as much as before. `aids` are the helpers of the tests' own that
    change, `cases` the parameter sets that are new. `strict` accepts no changed expectation."""

    moved: Counter[str] = field(default_factory=Counter)
    gone: frozenset[str] = frozenset()
    touches_source: bool = False
    renewed: bool = False
    aids: frozenset[str] = frozenset()
    cases: tuple[str, ...] = ()
    strict: bool = False


def compare(old: Test, new: Test, around: Around) -> Iterator[Finding]:
    """Yield every way in which `new` claims less than `old`."""
    yield from _less_reached(old, new)
    lost = _without(old.live, new.claims)
    gained = _without(new.live, old.live)
    pairs = _pairs(lost, gained)
    for was, now in pairs:
        for weaker in _compare_claims(was, now, new.path, around):
            # where the test does something else than before, it may expect something else
            if (
                weaker.rule != "expectation-changed"
                or around.strict
                or (
                    _setting(old) == _setting(new) and around.aids.isdisjoint({"setUp", *new.names})
                )
            ):
                yield weaker
    paired = {id(claim) for pair in pairs for claim in pair}
    dropped = [
        claim
        for claim in lost
        if id(claim) not in paired
        and not around.moved[bare(claim.text)]
        and around.gone.isdisjoint(_names_in(claim.text))
        and not _is_implied(claim, new, gained)
    ]
    if dropped and not around.renewed:
        yield from _dropped(old, new, dropped, [c for c in gained if id(c) not in paired])
    yield from _early_return(old, new)


def _less_reached(old: Test, new: Test) -> Iterator[Finding]:
    """Yield assertions that are still written down, but no longer reached."""
    before: dict[str, list[str]] = {}
    for claim in old.live:
        before.setdefault(claim.text, []).append(claim.reach)
    reaches = {claim.reach for claim in new.live}
    for claim in new.claims:
        reach = claim.reach
        if claim.text not in before or reach in before[claim.text]:
            continue
        shown = f"{quote(claim.text)} in {new.name}"
        if reach == "unreachable":
            yield finding("assert-unreachable", new.path, claim.line, f"{shown} is never reached")
        elif reach == "swallowed":
            message = f"the failure of {shown} is swallowed"
            yield new.finding("assert-swallowed", message, claim.line)
        elif reach and "" in before[claim.text] and not PLATFORM.search(reach):
            kind, _, condition = reach.partition(" ")
            if f"{'unless' if kind == 'if' else 'if'} {condition}" not in reaches:
                message = f"{shown} runs only {reach}"
                yield new.finding("assert-conditional", message, claim.line)


def _without(claims: tuple[Claim, ...], others: tuple[Claim, ...]) -> list[Claim]:
    """Return the claims that are not among the others; one that is there twice counts twice."""
    left = Counter(claim.text for claim in others)
    rest = []
    for claim in claims:
        if left[claim.text]:
            left[claim.text] -= 1
        else:
            rest.append(claim)
    return rest


def _pairs(lost: list[Claim], gained: list[Claim]) -> list[tuple[Claim, Claim]]:
    """Return each lost assertion with the new one that is most like it."""
    if len(lost) > _MOST_PAIRED or len(gained) > _MOST_PAIRED:
        return []
    candidates = sorted(
        (-_likeness(was.text, now.text), abs(i - j), i, j)
        for i, was in enumerate(lost)
        for j, now in enumerate(gained)
    )
    taken: dict[int, int] = {}
    for unlikeness, _, i, j in candidates:
        if -unlikeness >= 0.5 and i not in taken and j not in taken.values():
            taken[i] = j
    return [(lost[i], gained[j]) for i, j in sorted(taken.items())]


def _likeness(one: str, two: str) -> float:
    if one.partition(",")[0].rstrip(")") == two.partition(",")[0].rstrip(")"):
        return 0.9  # the same call with the same first argument
    names, others = (set(re.findall(r"\b[A-Za-z_]\w*", text)) - _NEUTRAL for text in (one, two))
    if names and names == others:
        return 0.8  # about the same thing, said in another way
    matcher = SequenceMatcher(None, one[:300], two[:300], autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() > 0.5 else 0.0


def _compare_claims(was: Claim, now: Claim, path: str, around: Around) -> Iterator[Finding]:
    message = f"{quote(was.text)} became {quote(now.text)}"
    before, after = says.tolerance(was.node), says.tolerance(now.node)
    if after > max(before, says.DEFAULT_TOLERANCE) or says.is_loosened(was.node, now.node):
        yield finding("tolerance-widened", path, now.line, message)
    elif _catches_more(was.node, now.node):
        yield finding("raises-widened", path, now.line, message)
    elif after < before or says.is_loosened(now.node, was.node):
        return
    elif now.strength < was.strength and not _says_the_same(was, now):
        yield finding("assert-weakened", path, now.line, message)
    elif (around.strict or not around.touches_source) and (
        _shape(was.node) == _shape(now.node) and was.text != now.text
    ):
        why = "" if around.touches_source else ", and no code changed"
        yield finding("expectation-changed", path, now.line, message + why)


def _says_the_same(was: Claim, now: Claim) -> bool:
    """Return whether a weaker form says the same: the truth of what is a bool anyway
    (`(a < b) == True` as `a < b`), or an exact value with the default tolerance."""
    if now.strength == says.CLOSE:  # a wider tolerance than the default is refused before
        unordered = isinstance(now.node, ast.Call) and name_of(now.node.func) == "assertCountEqual"
        return unordered or says.tolerance(now.node) > 0
    (old, old_truth), (new, new_truth) = says.truth(was.node), says.truth(now.node)
    return old_truth is new_truth and ast.dump(old) == ast.dump(new)


def _catches_more(was: ast.expr, now: ast.expr) -> bool:
    """Return whether `raises` accepts more kinds of exception, or any message."""
    if not (isinstance(was, ast.Call) and isinstance(now, ast.Call) and was.args and now.args):
        return False
    old, new = name_of(was.func), name_of(now.func)
    if not {old, new} <= _CATCHERS:
        return False
    before, after = ({name_of(kind) for kind in elements(call.args[0])} for call in (was, now))
    if (after - before) & {"Exception", "BaseException"} or before < after:
        return True
    had_match, has_match = (any(k.arg == "match" for k in call.keywords) for call in (was, now))
    any_message = before == after and had_match and not has_match
    return any_message or (old == "assertRaisesRegex" and new == "assertRaises")


def _shape(node: ast.expr) -> list[object]:
    """Return an assertion without the values of its literals."""
    names = ("id", "attr", "arg")
    return [(type(n), *(getattr(n, name, None) for name in names)) for n in ast.walk(node)]


def _setting(test: Test) -> list[str]:
    """Return what a test does besides asserting."""
    asserted = {id(claim.node) for claim in test.claims}
    return [
        unparse(node)
        for node in walk_own(test.node)
        if isinstance(node, ast.stmt)
        and not hasattr(node, "body")
        and not any(id(inner) in asserted for inner in ast.walk(node))
    ]


def _is_implied(claim: Claim, new: Test, gained: list[Claim]) -> bool:
    """Return whether the rest of the test says it too: `K in X` beside an assertion about `X[K]`,
    or a message that is now the `match` of a `raises`."""
    node = claim.node
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
        item = f"{unparse(node.comparators[0])}[{unparse(node.left)}]"
        if any(item in other.text for other in new.live):
            return True
    constants = [n for n in ast.walk(node) if isinstance(n, ast.Constant)]
    texts = [re.sub(r"\W", "", text) for text in strings(constants) if len(text) > 7]
    claimed = re.sub(r"\W", "", " ".join(other.text for other in gained))
    return bool(texts) and all(text in claimed for text in texts)


def bare(text: str) -> str:
    """Return an assertion without the names of the objects it goes through: `a.b == 1` as
    `b == 1`, so that it is recognised where a variable has another name."""
    return re.sub(r"\b[A-Za-z_]\w*\.(?=[A-Za-z_])", "", text)


def _names_in(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"[A-Za-z_]\w*=|[A-Za-z_]\w*", text)}


def _dropped(old: Test, new: Test, lost: list[Claim], spare: list[Claim]) -> Iterator[Finding]:
    """Yield assertions without a successor, unless the new ones together say as much."""
    if len(cases(new)) > max(len(cases(old)), 1):
        return
    if sum(claim.strength for claim in spare) >= sum(claim.strength for claim in lost):
        return
    literals, literals_now = (
        sum(isinstance(n, ast.Constant) for claim in claims for n in ast.walk(claim.node))
        for claims in (lost, spare)
    )
    merged = 0 < len(spare) < len(lost) and literals_now >= literals > 0
    if merged and max(c.strength for c in spare) >= max(c.strength for c in lost):
        return
    shown = quote(lost[0].text) + (f" and {len(lost) - 1} more" if lost[1:] else "")
    before = {claim.text for claim in old.claims}
    trivial = [c for c in new.claims if c.strength == says.NOTHING and c.text not in before]
    if trivial:
        message = f"{quote(trivial[0].text)} cannot fail, and {shown} is gone"
        yield new.finding("assert-trivial", message, trivial[0].line)
    elif len(spare) < len(lost):
        message = f"{new.name} no longer asserts {shown}"
        yield new.finding("assert-removed", message)
    else:
        message = f"{new.name} asserts less than {shown}"
        yield new.finding("assert-weakened", message, spare[0].line)


def _early_return(old: Test, new: Test) -> Iterator[Finding]:
    """Yield a new `return` on some condition, before an assertion."""
    was, now = (
        [node for node in walk_own(test.node) if isinstance(node, ast.Return)]
        if test.collected
        else []
        for test in (old, new)
    )
    if len(now) > len(was) and any(claim.line > now[0].lineno for claim in new.live):
        message = f"{new.name} may return before it asserts"
        yield new.finding("early-return", message, now[0])
