"""One test before and after a change: does it still say what it said?

Pure. A rewritten test passes when it claims at least as much; an assertion that was dropped,
cannot fail, is no longer reached, or forgives more than before is a finding.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from self_coding.audit import strength as says
from self_coding.audit.canonical import covers
from self_coding.audit.claims import PLATFORM, Claim
from self_coding.audit.syntax import (
    bound,
    calls,
    constant,
    dotted,
    elements,
    name_of,
    quote,
    strings,
    unparse,
    walk_own,
)
from self_coding.audit.test_modules import Test, cases
from self_coding.values.verdicts import Finding

# words of how it is said, not of what
_NEUTRAL = frozenset(
    {
        *("pytest", "approx", "round", "math", "isclose", "abs", "rel", "self", "not", "is", "in"),
        *("assertCountEqual", "assertAlmostEqual", "isinstance", "len"),
        *("or", "and", "None", "True", "False"),
    }
)
_MOST_PAIRED = 60  # assertions of one test that are paired by likeness; more are a table
_CATCHERS = frozenset({"raises", "assertRaises", "assertRaisesRegex", "warns"})


@dataclass(frozen=True)
class Around:
    """What else the change does: assertions that it adds elsewhere, what helpers by their names
    claim more than they did (`gains`), names that it takes out of the code, words of the code that
    it touches and, where the code shrinks, of what is cut, and whether code changes at all.
    `renewed`: the tests of this file together claim at least as much as before. `aids` are the
    helpers of the tests' own that change, `cases` the parameter sets that are new. `strict` accepts
    no changed expectation."""

    moved: Counter[str] = field(default_factory=Counter)
    gains: Mapping[str, list[Claim]] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()
    cut: frozenset[str] = frozenset()
    touches_source: bool = False
    renewed: bool = False
    aids: frozenset[str] = frozenset()
    cases: tuple[str, ...] = ()
    strict: bool = False

    @property
    def judged(self) -> bool:
        """Whether the base's own tests judge code of this change, and may be answered."""
        return self.touches_source and not self.strict

    def said_by(self, test: Test) -> tuple[Claim, ...]:
        """Return what a test claims, and what helpers that it calls, directly or not, claim more
        than they did, in the place of the calls."""
        seen, pending = set[str](), self.gains.keys() & test.words
        while pending:
            seen |= pending
            said = " ".join(claim.text for name in pending for claim in self.gains[name])
            pending = self.gains.keys() & set(re.findall(r"\w+", said)) - seen
        gained = [claim for name in sorted(seen) for claim in self.gains[name]]
        return tuple(
            claim
            for claim in (*test.live, *gained)
            if not (isinstance(claim.node, ast.Call) and name_of(claim.node.func) in seen)
        )


def compare(old: Test, new: Test, around: Around) -> Iterator[Finding]:
    """Yield every way in which `new` claims less than `old`."""
    yield from _less_reached(old, new)
    yield from _ends_early(old, new)
    lost = without(old.live, new.claims)
    gained = without(around.said_by(new), old.live)
    pairs = _pairs(lost, gained)
    if around.judged:  # a claim about something else is another one
        pairs = [(was, now) for was, now in pairs if _words(was.text) <= _words(now.text)]
    as_much = len(new.live) >= len(old.live) and new.strength >= old.strength
    for was, now in pairs:
        rule = _weaker(was, now, around)
        # where the test does something else than before, it may expect something else
        if rule == "expectation-changed" and not around.strict:
            same = around.aids.isdisjoint({"setUp", *new.names}) and _setting(old) == _setting(new)
            rule = rule if same else ""
        if rule == "raises-widened" and around.judged and as_much:
            rule = ""
        if rule:
            message = f"{quote(was.text)} became {quote(now.text)}"
            if rule == "expectation-changed" and not around.touches_source:
                message += ", and no code changed"
            yield new.finding(rule, message, now.line)
    paired = {id(claim) for pair in pairs for claim in pair}
    claimed = {(c.text, c.reach) for c in new.live}  # what is claimed still is not dropped
    values: dict[str, str] = {}  # what a claim says of a variable, it says of what that was given
    for node in walk_own(old.node):
        if isinstance(node, ast.Assign):
            values |= dict.fromkeys(bound(node), unparse(node.value))
    firm, firm_now = (sum(c.strength > says.EXISTS for c in t.live) for t in (old, new))
    dropped = [
        claim
        for claim in lost
        if id(claim) not in paired
        and not around.moved[bare(claim.text)]
        and around.gone.isdisjoint(
            name.lower()
            for text in (claim.text, claim.reach, *map(values.get, _words(claim.text)))
            for name in re.findall(r"[A-Za-z_]\w*=|[A-Za-z_]\w*", text or "")
        )
        and not _is_withdrawn(claim, around.gone)
        and not _is_looped(claim, new)
        and not _is_matched(claim, new)
        and (claim.text, claim.reach) not in claimed
        # what kind of thing it works with may go unsaid, where all that says more is still said
        and (claim.strength > says.EXISTS or firm_now < firm)
        and not _is_of_a_whole(claim, old, new, around)
    ]
    # Where code changes, most of what a test said may stay and the rest go.
    most = around.judged and new.strength >= 0.6 * old.strength
    if dropped and not (around.renewed or most) and len(cases(new)) <= max(len(cases(old)), 1):
        yield from _dropped(old, new, dropped, [c for c in gained if id(c) not in paired])


def _less_reached(old: Test, new: Test) -> Iterator[Finding]:
    """Yield assertions that are still written down, but no longer reached."""
    before: dict[str, Counter[str]] = {}
    for claim in old.claims:
        before.setdefault(claim.text, Counter())[claim.reach] += 1
    # One that is claimed as often as it was, whatever happens, may be claimed once more.
    always, always_now = (Counter(c.text for c in t.live if not c.reach) for t in (old, new))
    known = {c.text for c in old.live if not 0 < always[c.text] <= always_now[c.text]}
    reaches = {claim.reach for claim in new.live}
    for claim in new.claims:
        reach, shown = claim.reach, f"{quote(claim.text)} in {new.name}"
        if claim.text not in known or before[claim.text][reach]:
            before.get(claim.text, Counter())[reach] -= 1
            continue
        if reach == "unreachable":
            yield new.finding("assert-unreachable", f"{shown} is never reached", claim.line)
        elif reach == "swallowed":
            yield new.finding("assert-swallowed", f"the failure of {shown} is caught", claim.line)
        elif reach and "" in before[claim.text] and not PLATFORM.search(reach):
            kind, _, condition = reach.partition(" ")
            if f"{'unless' if kind == 'if' else 'if'} {condition}" not in reaches:
                yield new.finding("assert-conditional", f"{shown} runs only {reach}", claim.line)


def _ends_early(old: Test, new: Test) -> Iterator[Finding]:
    """Yield blocks that expect an exception of several turns of a call: the first one ends them."""
    repeated: list[dict[str, ast.AST]] = []
    for test in (old, new):
        repeated.append({})
        for block in walk_own(test.node):
            heads = [c for i in getattr(block, "items", ()) for c in calls(i.context_expr)]
            if not _CATCHERS.isdisjoint(name_of(c.func) for c in heads):
                inside = [*ast.walk(block)]
                loops = [n for n in inside if isinstance(n, ast.For | ast.While)]
                rows = (*inside, *(row for loop in loops for row in loop.body))
                made = [n.value for n in rows if isinstance(n, ast.Expr)]
                said = Counter(dotted(n.func) for n in made if isinstance(n, ast.Call))
                repeated[-1] |= {name: block for name, count in said.items() if count > 1}
    for name in repeated[1].keys() - repeated[0].keys():
        if name.rpartition(".")[2] in old.names:
            told = f"the first {name}() that raises ends the block"
            yield new.finding("assert-unreachable", told, repeated[1][name])


def _is_withdrawn(claim: Claim, gone: frozenset[str]) -> bool:
    """Return whether a claim expects most words of a text that the code no longer holds."""
    said = [{*re.findall(r"\w{4,}", text.lower())} for text in strings(ast.walk(claim.node))]
    texts = [{*re.findall(r"\w{4,}", text)} for text in gone if " " in text] if any(said) else []
    return any(len(s & t) >= 0.6 * len(s) for s in said for t in texts if len(s) > 2)


def without(claims: tuple[Claim, ...], others: tuple[Claim, ...]) -> list[Claim]:
    """Return the claims that are not among the others; one that is there twice counts twice."""
    left = Counter(claim.text for claim in others)
    rest = []
    for claim in claims:
        if not left[claim.text]:
            rest.append(claim)
        left[claim.text] -= left[claim.text] > 0
    return rest


def _is_matched(claim: Claim, new: Test) -> bool:
    """Return whether the text that a claim expects is what an exception must match now."""
    words = re.compile(r"\w{3,}")
    said = {*words.findall(" ".join(strings(ast.walk(claim.node))))}
    given = (k.value for call in calls(new.node) for k in call.keywords if k.arg == "match")
    return bool(said) and any(
        said <= {*words.findall(" ".join(strings(ast.walk(match))))} for match in given
    )


def _is_of_a_whole(claim: Claim, old: Test, new: Test, around: Around) -> bool:
    """Return whether a claim is about a part of what the new test compares with a value as a whole.

    Where that comparison is new, it has to hold what the claim did: it may be with anything.
    """
    said, about = {c.text for c in old.live}, _told(claim.node)
    given = {
        name: _told(node.value)
        for node in walk_own(new.node)
        if isinstance(node, ast.Assign)
        for name in bound(node)
    }
    for whole in new.live:
        name = name_of(whole.node.left) if isinstance(whole.node, ast.Compare) else ""
        if whole.strength != says.EXACT or name not in about:
            continue
        if whole.text in said:
            if claim.strength < says.EXACT:
                return True
        elif around.judged:
            told = _told(whole.node)
            told = told.union(*(given[one] for one in told & given.keys() if one != name))
            if about - {name} <= told:
                return True
    return False


def _told(node: ast.AST) -> set[str]:
    """Return the values and the variables of some code, as they are spelled."""
    return {unparse(n) for n in ast.walk(node) if isinstance(n, ast.Name | ast.Constant)}


def _is_looped(claim: Claim, new: Test) -> bool:
    """Return whether what was claimed one by one is claimed in a loop over literals, these too."""
    loops = [n for n in walk_own(new.node) if isinstance(n, ast.For)]
    for loop in loops:
        if isinstance(loop.iter, ast.List | ast.Tuple):
            lines = range(loop.lineno, (loop.end_lineno or loop.lineno) + 1)
            for said in (c for c in new.live if not c.reach and c.line in lines):
                own = _parts(claim.node) - _parts(said.node)
                if own and own <= _parts(loop.iter):
                    return True
    return False


def _parts(node: ast.AST) -> set[object]:
    """Return the literals of some code, and the names in it."""
    parts = (n.value if isinstance(n, ast.Constant) else name_of(n) for n in ast.walk(node))
    return set[object](parts) - {""}


def _words(text: str) -> set[str]:
    """Return the names in an assertion that tell what it is about; what is caught does not."""
    text = re.sub(r"^(?:\w+\.)?(raises|warns|assertRaises\w*)\(.*", r"\1", text)
    return set(re.findall(r"\b[A-Za-z_]\w*", text)) - _NEUTRAL


def _pairs(lost: list[Claim], gained: list[Claim]) -> list[tuple[Claim, Claim]]:
    """Return each lost assertion with the new one that is most like it."""
    if len(lost) > _MOST_PAIRED or len(gained) > _MOST_PAIRED:
        return []

    def likeness(one: str, two: str) -> float:
        if one.partition(",")[0].rstrip(")") == two.partition(",")[0].rstrip(")"):
            return 0.9  # the same call with the same first argument
        names, others = _words(one), _words(two)
        if names and names == others:
            return 0.8  # about the same thing, said in another way
        return 0.5 if names and names <= others else 0.0

    # the likest first; among equals those that are nearest to their old place
    candidates = sorted(
        (-likeness(was.text, now.text), abs(i - j), i, j)
        for i, was in enumerate(lost)
        for j, now in enumerate(gained)
    )
    taken: dict[int, int] = {}
    for unlikeness, _, i, j in candidates:
        if -unlikeness >= 0.5 and i not in taken and j not in taken.values():
            taken[i] = j
    return [(lost[i], gained[j]) for i, j in sorted(taken.items())]


def _weaker(was: Claim, now: Claim, around: Around) -> str:
    """Return the rule by which an assertion says less than the one it replaces; "" if none."""
    old, new = was.node, now.node
    before, after = says.tolerance(old), says.tolerance(new)
    if after > max(before, says.DEFAULT_TOLERANCE) or says.is_loosened(old, new):
        return "tolerance-widened"
    if _catches_more(old, new):
        return "raises-widened"
    if after < before or says.is_loosened(new, old):
        return ""
    # The same may be expected to be false that was true, or the other way round.
    opposite = any(
        isinstance(one, ast.UnaryOp)
        and isinstance(one.op, ast.Not)
        and ast.dump(one.operand) == ast.dump(other)
        for one, other in ((old, new), (new, old))
    )
    more = False  # the same is compared with what it was, and further members
    match old, new:
        case ast.Compare(left=one, ops=[ast.Eq()]), ast.Compare(left=two, ops=[ast.Eq()]):
            held = covers(old.comparators[0], new.comparators[0], more=True)
            more = held and ast.dump(one) == ast.dump(two)
    if now.strength < was.strength and not (opposite or more):
        # the default tolerance; a wider one is refused above
        counts = isinstance(new, ast.Call) and name_of(new.func) == "assertCountEqual"
        raising = around.judged and _raises_another(old, new)
        if not raising and (now.strength != says.CLOSE or not (after > 0 or counts)):
            return "assert-weakened"
    if around.strict:
        changed = was.text != now.text and _shape(old) == _shape(new)
    else:  # what is expected of the same, and nothing of the code accounts for it
        (about, expected), (now_about, now_expected) = _expectation(old), _expectation(new)
        changed = (
            about == now_about != "" and expected != now_expected and not around.touches_source
        )
    return "expectation-changed" if changed else ""


def _expectation(claim: ast.expr) -> tuple[str, str]:
    """Return what a claim of equality is about, and the constants that it expects, as text."""
    match claim:
        case ast.Compare(left=one, ops=[ast.Eq() | ast.Is()], comparators=[two]):
            pass
        case ast.Call(func=ast.Attribute(attr="assertEqual" | "assertIs"), args=[one, two, *_]):
            pass
        case _:
            return "", ""
    said, other = (two, one) if constant(one) is None else (one, two)
    return (unparse(other), unparse(said)) if constant(said) is not None else ("", "")


def _raises_another(was: ast.expr, now: ast.expr) -> bool:
    """Return whether another kind of exception is expected by name."""
    calls = [one for one in (was, now) if isinstance(one, ast.Call) and one.args]
    said = [_CATCHERS.isdisjoint({name_of(call.func)}) for call in calls]
    broad = {name_of(kind) for kind in elements(calls[-1].args[0])} if calls else set()
    return said == [False, False] and not broad & {"", "Exception", "BaseException"}


def _catches_more(was: ast.expr, now: ast.expr) -> bool:
    """Return whether `raises` accepts more kinds of exception, or any message."""
    if not (isinstance(was, ast.Call) and isinstance(now, ast.Call) and was.args and now.args):
        return False
    old, new = name_of(was.func), name_of(now.func)
    if not {old, new} <= _CATCHERS:
        return False
    before, after = (set(map(name_of, elements(call.args[0]))) for call in (was, now))
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
        if isinstance(node, ast.stmt | ast.withitem)
        and not hasattr(node, "body")
        and not any(id(inner) in asserted for inner in ast.walk(node))
    ]


def bare(text: str) -> str:
    """Return an assertion without the names of the objects it goes through: `a.b == 1` as
    `b == 1`, so that it is recognised where a variable has another name."""
    return re.sub(r"\b[A-Za-z_]\w*\.(?=[A-Za-z_])", "", text)


def _dropped(old: Test, new: Test, lost: list[Claim], spare: list[Claim]) -> Iterator[Finding]:
    """Yield assertions without a successor, unless the new ones together say as much."""
    said, says_now = (sum(claim.strength for claim in side) for side in (lost, spare))
    if says_now >= said or (len(spare) >= len(lost) > 1 and says_now >= 0.7 * said):
        return
    shown = quote(lost[0].text) + (f" and {len(lost) - 1} more" if lost[1:] else "")
    before = {claim.text for claim in old.claims}
    trivial = [c for c in new.claims if c.strength == says.NOTHING and c.text not in before]
    if trivial:
        message = f"{quote(trivial[0].text)} cannot fail, and {shown} is gone"
        yield new.finding("assert-trivial", message, trivial[0].line)
    elif len(spare) < len(lost):
        yield new.finding("assert-removed", f"{new.name} no longer asserts {shown}")
    else:
        message = f"{new.name} asserts less than {shown}"
        yield new.finding("assert-weakened", message, spare[0].line)
