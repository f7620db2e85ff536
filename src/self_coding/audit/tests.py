"""The tests of a change as a whole: each test that was there is still there, or accounted for.

Pure. A test is accounted for when it has moved or been renamed with what it claims, when its
claims stand in other tests of the change, or when what it tests is gone from the code.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from self_coding.audit import strength as says
from self_coding.audit.accounting import (
    Modules,
    added,
    aids,
    gone,
    hidden,
    is_accounted,
    is_renewed,
    lists,
    moved,
    new_cases,
    successor,
)
from self_coding.audit.files import File, Files, Kind, is_collected, kind_of
from self_coding.audit.reading import Module, Test, read_module
from self_coding.audit.skips import compare_marks, compare_module_marks
from self_coding.audit.weakening import Around, cases, compare
from self_coding.values.verdicts import Finding


def audit_tests(
    files: Files, old: Modules, new: Modules, *, strict: bool = False
) -> Iterator[Finding]:
    """Every test and helper that went, or says less than before, given both sides' modules."""
    around = Around(
        moved=moved(old, new),
        cases=new_cases(old, new),
        gone=gone(files),
        touches_source=files.touches_source,
        strict=strict,
    )
    yield from _unreadable(files, old, new)
    pool = added(old, new)
    used: Counter[int] = Counter()
    for path, before in old.items():
        after = new.get(path)
        if after is not None:
            yield from compare_module_marks(before, after)
        renewed = (
            files.touches_source
            and not strict
            and (
                (after is not None and is_renewed({path: before}, {path: after}, 0.6))
                or is_renewed(old, new, 0.8)
            )
        )
        here = replace(around, renewed=renewed, aids=aids(before, after))
        yield from _module(before, after, new, pool, used, here)


def _module(
    before: Module,
    after: Module | None,
    new: Modules,
    pool: list[Test],
    used: Counter[int],
    around: Around,
) -> Iterator[Finding]:
    missing: list[Test] = []
    for test in before.by_name.values():
        now = after.by_name.get(test.name) if after else None
        if now is None:
            missing += [test] if test.collected else []
        elif test.collected and not now.collected:
            message = f"{test.name} is not collected any more"
            yield Finding(rule="test-uncollected", path=now.path, line=now.line, message=message)
        else:
            yield from _pair(test, now, before, new[now.path], around)
    lost: list[tuple[str, int, str]] = []
    for test in missing:
        heir = successor(test, pool, used)
        if heir is not None:
            yield from _pair(test, heir, before, new[heir.path], around)
        elif not around.renewed and not is_accounted(test, pool, new, used, around):
            elsewhere = hidden(test, new)
            rule = "test-renamed-out" if elsewhere else "test-removed"
            name = f"{test.name} is now {elsewhere}:" if elsewhere else test.name
            lost.append((rule, test.line, name))
    yield from _lost(before.path, after is None, lost)


def _lost(path: str, whole: bool, lost: list[tuple[str, int, str]]) -> Iterator[Finding]:
    """One finding for each lost test; for a file that went, one that names the first."""
    if whole and lost and all(rule == "test-removed" for rule, _, _ in lost):
        names = ", ".join(name for _, _, name in lost[:3]) + (", ..." if lost[3:] else "")
        message = f"the file is gone with {len(lost)} tests: {names}"
        yield Finding(rule="test-removed", path=path, message=message)
        return
    for rule, line, name in lost:
        yield Finding(rule=rule, path=path, line=line, message=f"{name} is no test any more")


def _pair(old: Test, new: Test, before: Module, after: Module, around: Around) -> Iterator[Finding]:
    """One function before and after: what it claims, its marks, its parameters, its form."""
    same = old.source == new.source
    if same and before.frame == after.frame:
        return
    if not same and old.body != new.body:
        yield from compare(old, new, around)
    yield from compare_marks(old, new, before, after)
    if not (old.collected and new.collected):
        return
    yield from _cases(old, new, before, after, around)
    yield from _form(old, new, after)


def _cases(
    old: Test, new: Test, before: Module, after: Module, around: Around
) -> Iterator[Finding]:
    was, now = (cases(test, lists(module)) for test, module in ((old, before), (new, after)))
    lost = [case for case in was if case not in now]
    if len(now) >= len(was) or not lost:
        return
    rest = re.sub(r"\s+", "", ast.unparse(after.tree))
    kept = [case for case in lost if re.sub(r"\s+", "", case) in rest]
    names = {name.lower() for name in re.findall(r"[A-Za-z_]\w*", " ".join(lost))}
    if len(kept) < len(lost) and around.gone.isdisjoint(names):
        gone = next(case for case in lost if case not in kept)
        message = f"{new.name} runs {len(was) - len(now)} cases less, without `{gone[:80]}`"
        yield Finding(rule="cases-removed", path=new.path, line=new.line, message=message)


def _form(old: Test, new: Test, after: Module) -> Iterator[Finding]:
    """Changes by which a test is still collected, but does not run."""

    def finding(rule: str, message: str) -> Finding:
        return Finding(rule=rule, path=new.path, line=new.line, message=f"{new.name} {message}")

    if _yields(new) and not _yields(old):
        yield finding("test-uncollected", "yields now, so pytest does not run it")
    asynchronous = isinstance(new.node, ast.AsyncFunctionDef)
    if asynchronous and not isinstance(old.node, ast.AsyncFunctionDef) and not new.owner:
        marked = re.search(r"asyncio|anyio|trio|curio|tornado", ast.unparse(after.tree))
        if not marked:
            yield finding("test-uncollected", "is asynchronous now, and nothing awaits it")
    for decorator in new.node.decorator_list:
        name = says.name_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        target = after.by_name.get(name)
        if target is not None and not _runs_its_argument(target):
            yield finding("test-wrapped", f"is wrapped by {name}, which never calls it")


def _yields(test: Test) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(test.node))


def _runs_its_argument(decorator: Test) -> bool:
    """Whether a decorator calls, or gives back, what it is put on."""
    names = {argument.arg for argument in decorator.node.args.args}
    names |= {
        argument.arg
        for node in ast.walk(decorator.node)
        if isinstance(node, ast.FunctionDef) and node is not decorator.node
        for argument in node.args.args
    }
    for node in ast.walk(decorator.node):
        if isinstance(node, ast.Call):
            used = [node.func, *node.args]
            if any(isinstance(n, ast.Name) and n.id in names for n in used):
                return True
        if isinstance(node, ast.Return) and says.name_of(node.value or ast.Constant(0)) in names:
            return True
    return False


def read_side(files: Files, *, new: bool) -> Modules:
    """The test modules and helpers of one side."""
    settings = files.new_settings if new else files.settings
    found: Modules = {}
    for file in files.changed:
        text = file.new if new else file.old
        kind = file.kind
        if new and kind in {Kind.SOURCE, Kind.OTHER} and file.name.endswith(".py"):
            kind = kind_of(file.path, settings)
        if kind in {Kind.TEST, Kind.SUPPORT}:
            runs = kind is Kind.TEST and (not new or _still_collected(file, files))
            module = read_module(file.path, text, settings if new else files.settings, runs=runs)
            if module is not None:
                found[file.path] = module
    return found


def _still_collected(file: File, files: Files) -> bool:
    return is_collected(file.path, files.settings) or is_collected(file.path, files.new_settings)


def _unreadable(files: Files, old: Modules, new: Modules) -> Iterator[Finding]:
    """Test modules that Python refuses: compared as text."""
    for file in files.of(Kind.TEST, Kind.SUPPORT):
        if file.new is None or file.path in new or not file.is_python:
            continue
        if file.path in old:
            yield Finding(rule="test-unparsable", path=file.path, message="is no Python any more")
        elif file.old is not None:
            for word in (r"^\s*(?:async )?def test", r"^\s*assert\b|\.assert\w+\("):
                was, now = (len(re.findall(word, text, re.M)) for text in (file.old, file.new))
                if now < was:
                    message = f"{was - now} lines less match {word!r} (the file is no Python 3)"
                    yield Finding(rule="assert-removed", path=file.path, message=message)
