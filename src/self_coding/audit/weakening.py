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
from self_coding.audit.reading import Test
from self_coding.values.verdicts import Finding

_DEFAULT_TOLERANCE = 1e-6  # what `pytest.approx` grants by itself
_SPELLING = (
    "pytest approx round math isclose abs rel self not is in None assertEqual assertTrue "
    "assertAlmostEqual assertFalse isinstance len or and True False"
)
_NEUTRAL = frozenset(_SPELLING.split())  # words of how it is said, not of what
_MOST_PAIRED = 60  # assertions of one test that are paired by likeness; more are a table


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
    """Every way in which `new` claims less than `old`."""
    yield from _reach(old, new)
    lost, gained = _difference(old, new)
    pairs, left, spare = _pair(lost, gained)
    for was, now in pairs:
        for found in _compare_claims(was, now, new.path, around):
            if (
                found.rule != "expectation-changed"
                or around.strict
                or (_same_setting(old, new) and around.aids.isdisjoint({"setUp", *new.called}))
            ):
                yield found
    left = [c for c in left if not _excused(c, around) and not _implied(c, new, gained)]
    if left and not around.renewed:
        yield from _dropped(old, new, left, spare)
    yield from _early_return(old, new)


def _reach(old: Test, new: Test) -> Iterator[Finding]:
    """Assertions that are still written down, but no longer reached."""
    before: dict[str, list[str]] = {}
    for claim in old.live:
        before.setdefault(claim.text, []).append(claim.reach)
    others = {claim.reach for claim in new.live}
    for claim in new.claims:
        if claim.text not in before or claim.reach in before[claim.text]:
            continue
        if claim.reach == "unreachable":
            yield _finding("assert-unreachable", new, claim, "is never reached")
        elif claim.reach == "swallowed":
            yield _finding("assert-swallowed", new, claim, "is caught where it fails")
        elif claim.reach and "" in before[claim.text] and not PLATFORM.search(claim.reach):
            kind, _, condition = claim.reach.partition(" ")
            opposite = f"{'unless' if kind == 'if' else 'if'} {condition}"
            if opposite not in others:
                yield _finding("assert-conditional", new, claim, f"runs only {claim.reach}")


def _difference(old: Test, new: Test) -> tuple[list[Claim], list[Claim]]:
    """The live claims that went and those that came; what is written twice counts twice."""
    written = Counter(claim.text for claim in new.claims)
    present = Counter(claim.text for claim in old.live)
    lost = []
    for claim in old.live:
        if written[claim.text]:
            written[claim.text] -= 1
        else:
            lost.append(claim)
    gained = []
    for claim in new.live:
        if present[claim.text]:
            present[claim.text] -= 1
        else:
            gained.append(claim)
    return lost, gained


def _pair(
    lost: list[Claim], gained: list[Claim]
) -> tuple[list[tuple[Claim, Claim]], list[Claim], list[Claim]]:
    """Each lost assertion with the new one that is most like it; then both rests."""
    if len(lost) > _MOST_PAIRED or len(gained) > _MOST_PAIRED:
        return [], lost, gained
    likeness = sorted(
        (
            (-_like(was.text, now.text), abs(i - j), i, j)
            for i, was in enumerate(lost)
            for j, now in enumerate(gained)
        ),
    )
    taken: dict[int, int] = {}
    used: set[int] = set()
    for alike, _, i, j in likeness:
        if -alike >= 0.5 and i not in taken and j not in used:
            taken[i] = j
            used.add(j)
    pairs = [(lost[i], gained[j]) for i, j in sorted(taken.items())]
    left = [claim for i, claim in enumerate(lost) if i not in taken]
    return pairs, left, [claim for j, claim in enumerate(gained) if j not in used]


def _like(one: str, two: str) -> float:
    if one.partition(",")[0].rstrip(")") == two.partition(",")[0].rstrip(")"):
        return 0.9  # the same call with the same first argument
    names, others = (set(re.findall(r"\b[A-Za-z_]\w*", text)) - _NEUTRAL for text in (one, two))
    if names and names == others:
        return 0.8  # about the same thing, said in another way
    matcher = SequenceMatcher(None, one[:300], two[:300], autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() > 0.5 else 0.0


def _compare_claims(was: Claim, now: Claim, path: str, around: Around) -> Iterator[Finding]:
    def finding(rule: str, message: str) -> Finding:
        return Finding(rule=rule, path=path, line=now.line, message=message)

    shown = f"`{_short(was.text)}` became `{_short(now.text)}`"
    tolerance = says.tolerance(now.node)
    wider = tolerance > max(says.tolerance(was.node), _DEFAULT_TOLERANCE)
    if wider or says.loosened(was.node, now.node):
        yield finding("tolerance-widened", shown)
    elif _catches_more(was.node, now.node):
        yield finding("raises-widened", shown)
    elif tolerance < says.tolerance(was.node) or says.loosened(now.node, was.node):
        return
    elif now.strength < was.strength and not _same_said(was, now):
        yield finding("assert-weakened", shown)
    elif (around.strict or not around.touches_source) and _only_literals(was.node, now.node):
        why = "" if around.touches_source else ", and no code changed"
        yield finding("expectation-changed", f"{shown}{why}")


def _same_said(was: Claim, now: Claim) -> bool:
    """Return whether a weaker form says the same: the truth of what is a bool anyway
    (`(a < b) == True` as `a < b`), or an exact value with the default tolerance."""
    if says.tolerance(now.node) > 0:
        return was.strength == says.EXACT  # a wider tolerance than the default was refused before
    if isinstance(now.node, ast.Call) and now.strength == says.CLOSE:
        names = {says.name_of(now.node.func)}
        return names == {"assertCountEqual"} and was.strength == says.EXACT
    (old, old_truth), (new, new_truth) = says.truth(was.node), says.truth(now.node)
    return old_truth is new_truth and ast.dump(old) == ast.dump(new)


def _catches_more(was: ast.expr, now: ast.expr) -> bool:
    """Whether `raises` accepts more kinds of exception, or any message."""
    if not (isinstance(was, ast.Call) and isinstance(now, ast.Call)):
        return False
    names = {"raises", "assertRaises", "assertRaisesRegex", "warns"}
    if not {says.name_of(was.func), says.name_of(now.func)} <= names or not (was.args and now.args):
        return False
    before, after = set(says._names(was.args[0])), set(says._names(now.args[0]))
    broad = {"Exception", "BaseException"}
    if (after - before) & broad or before < after:
        return True
    matches = [any(k.arg == "match" for k in call.keywords) for call in (was, now)]
    same = before == after and matches == [True, False]
    return same or (
        says.name_of(was.func) == "assertRaisesRegex" and says.name_of(now.func) == "assertRaises"
    )


def _same_setting(old: Test, new: Test) -> bool:
    """Whether two tests do the same, but for what they assert."""
    return _without_claims(old) == _without_claims(new)


def _without_claims(test: Test) -> str:
    asserted = {id(claim.node) for claim in test.claims}
    rest = [
        ast.unparse(node)
        for node in _own(test.node)
        if isinstance(node, ast.stmt)
        and not hasattr(node, "body")
        and not any(id(inner) in asserted for inner in ast.walk(node))
    ]
    return "\n".join(rest)


def _implied(claim: Claim, new: Test, gained: list[Claim]) -> bool:
    """Whether the rest of the test says it too: `K in X` beside an assertion about `X[K]`, or
    a message that is now the `match` of a `raises`."""
    node = claim.node
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
        member, whole = ast.unparse(node.left), ast.unparse(node.comparators[0])
        if any(f"{whole}[{member}]" in other.text for other in new.live):
            return True
    texts = [
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    said = [re.sub(r"\W", "", text) for text in texts if len(text) > 7]
    held = re.sub(r"\W", "", " ".join(other.text for other in gained))
    return bool(said) and all(text in held for text in said)


def _only_literals(was: ast.expr, now: ast.expr) -> bool:
    """Whether two assertions differ in nothing but literal values."""
    return _masked(was) == _masked(now) and ast.dump(was) != ast.dump(now)


def _masked(node: ast.expr) -> str:
    return re.sub(
        r"Constant\(value=(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^),]*)", "C(", ast.dump(node)
    )


def bare(text: str) -> str:
    """An assertion without the names of the objects it goes through: `a.b == 1` as `b == 1`, so
    that it is known again where a variable has another name."""
    return re.sub(r"\b[A-Za-z_]\w*\.(?=[A-Za-z_])", "", text)


def _excused(claim: Claim, around: Around) -> bool:
    """Whether an assertion moved to another place, or speaks of what is gone from the code."""
    if around.moved[bare(claim.text)] > 0:
        return True
    names = {name.lower() for name in re.findall(r"[A-Za-z_]\w*=|[A-Za-z_]\w*", claim.text)}
    return not around.gone.isdisjoint(names)


def _dropped(old: Test, new: Test, left: list[Claim], spare: list[Claim]) -> Iterator[Finding]:
    """Assertions without a successor, unless the new ones together say as much."""
    if len(cases(new)) > max(len(cases(old)), 1):
        return
    said, says_now = sum(c.strength for c in left), sum(c.strength for c in spare)
    literals, literals_now = (sum(map(_literals, claims)) for claims in (left, spare))
    merged = len(spare) < len(left) and literals_now >= literals > 0
    exact = max((c.strength for c in spare), default=0) >= max(c.strength for c in left)
    if says_now >= said or (spare and merged and exact):
        return
    trivial = [c for c in new.claims if c.strength == says.NOTHING and not _holds(old, c.text)]
    shown = f"`{_short(left[0].text)}`" + (f" and {len(left) - 1} more" if left[1:] else "")
    if trivial:
        message = f"`{_short(trivial[0].text)}` cannot fail; {shown} is gone"
        yield Finding(rule="assert-trivial", path=new.path, line=trivial[0].line, message=message)
    elif len(spare) < len(left):
        message = f"{new.name} no longer asserts {shown}"
        yield Finding(rule="assert-removed", path=new.path, line=new.line, message=message)
    else:
        message = f"{new.name} asserts less than {shown}"
        yield Finding(rule="assert-weakened", path=new.path, line=spare[0].line, message=message)


def _literals(claim: Claim) -> int:
    return sum(isinstance(node, ast.Constant) for node in ast.walk(claim.node))


def _holds(test: Test, text: str) -> bool:
    return any(claim.text == text for claim in test.claims)


def _early_return(old: Test, new: Test) -> Iterator[Finding]:
    """A new `return` or `skip` on some condition, before an assertion."""
    if not new.live or _returns(new) <= _returns(old):
        return
    first = next(node for node in _own(new.node) if isinstance(node, ast.Return))
    if any(claim.line > first.lineno for claim in new.live):
        message = f"{new.name} may return before it asserts"
        yield Finding(rule="early-return", path=new.path, line=first.lineno, message=message)


def _returns(test: Test) -> int:
    return sum(isinstance(node, ast.Return) for node in _own(test.node)) if test.collected else 0


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
        ):
            yield child
            yield from _own(child)


def cases(test: Test, lists: dict[str, ast.expr] | None = None) -> list[str]:
    """The parameter sets that a test is run with, as text; `lists` are its module's constants."""
    found: list[str] = []
    decorators = [*test.node.decorator_list, *(test.owner.decorator_list if test.owner else [])]
    for decorator in decorators:
        if not isinstance(decorator, ast.Call):
            continue
        name = says.name_of(decorator.func)
        if name == "parametrize" and len(decorator.args) > 1:
            values = decorator.args[1]
            if isinstance(values, ast.Name) and lists and values.id in lists:
                values = lists[values.id]
            if isinstance(values, ast.List | ast.Tuple | ast.Set):
                found += [ast.unparse(element) for element in values.elts]
        elif name == "example":
            found.append(ast.unparse(decorator))
    return found


def _finding(rule: str, test: Test, claim: Claim, message: str) -> Finding:
    text = f"in {test.name} `{_short(claim.text)}` {message}"
    return Finding(rule=rule, path=test.path, line=claim.line, message=text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
