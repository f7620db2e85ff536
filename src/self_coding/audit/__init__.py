"""Does a change weaken the tests that judge it? Read from the two sides, before anything runs.

Pure: contents in, findings out. It refuses to trust names and markers alone: a test counts by
what it claims. What only a run can show (a plugin already installed, code that ends the process
at the right moment) is the gate's work.

    syntax, files       the vocabulary for syntax trees; what each changed file is to the tests
    claims, strength    what a test asserts, whether it is reached, and how much that says
    test_modules        the tests in a file, and the two sides of a change
    tests, weakening, skips          rules for the tests
    subject, framework, commands     rules for the code, the plugins, and what runs the tests
    other_languages     the rules for the tests of languages other than Python, by one table each

A new rule is a generator of breaches with a row in a table below; a change that it refuses goes
to `tests/cheats`, and its name into `docs/explanation/integrity.md`.
"""

from __future__ import annotations

from collections.abc import Iterable

from self_coding.audit import commands, framework, other_code, other_languages, subject, tests
from self_coding.audit.files import SETTING_FILES, Contents, Kind, effective, kind_of, read_files
from self_coding.audit.syntax import finding
from self_coding.audit.test_modules import read_sides
from self_coding.values.verdicts import Finding

__all__ = ["SETTING_FILES", "Contents", "Kind", "audit", "effective", "kind_of", "read_files"]

_RULES = (
    *(tests.unreadable, tests.data, subject.detection, subject.exchanged, subject.configured),
    framework.special_files,
    *(commands.project, commands.commands, commands.removed_command, commands.pipelines),
)
_RULES_FOR_NEW_CODE = (  # what the old file had, wherever that was, may stay
    *(subject.always_equal, subject.replacing, framework.hooks, framework.plugins),
    framework.exits,
)


def audit(
    paths: Iterable[str], *, before: Contents, after: Contents, strict: bool = False
) -> tuple[Finding, ...]:
    """Return every way in which the change of `paths` weakens the tests, by path and line.

    Args:
        paths: the changed paths, repository-relative.
        before: contents at the base by path (None: not there). It may also hold unchanged
            settings of pytest (`SETTING_FILES`), by which tests are told from other code.
        after: contents at the head by path.
        strict: accept no changed expectation, even where the code changes too.
    """
    files = read_files(paths, before, after)
    sides = read_sides(files, strict=strict)
    findings = {*tests.audit_tests(sides), *other_languages.audit_tests(files)}
    if files.of(Kind.SETTING):
        path = files.new_settings.path or files.settings.path
        for rule, message in commands.audit_settings(files):
            findings.add(finding(rule, path, 0, message))
    for file in files.changed:
        breaches = (*other_code.audit_settings(file), *other_code.audit_code(file))
        for r, at, text in breaches:
            findings.add(finding(r, file.path, at, text))
        for check in _RULES:
            findings |= {finding(r, file.path, at, text) for r, at, text in check(file, sides)}
        for check in _RULES_FOR_NEW_CODE:
            for rule, node, message in check(file, sides):
                # Code that moves between files is judged by what is new in it; what has only a
                # line number cannot be looked for there, and counts.
                if isinstance(node, int) or not any(other.had(node) for other in files.changed):
                    findings.add(finding(rule, file.path, node, message))
    return tuple(sorted(findings, key=lambda f: (f.path, f.line, f.rule, f.message)))
