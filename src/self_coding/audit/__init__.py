"""Does a change weaken the tests that judge it? Read from the two sides, before anything runs.

Pure: contents in, findings out. It refuses to trust names and markers alone: a test counts by
what it claims. What only a run can show (a plugin already installed, code that ends the process
at the right moment) is the gate's work.

    files, test_modules     what each changed file is, and the tests in it
    claims, strength        what a test asserts, and how much that says
    tests, weakening, skips          rules for the tests
    subject, framework, commands     rules for the code, the plugins, and what runs the tests
    syntax                  the vocabulary for syntax trees that all of them share

A new rule is a generator of findings, called in `audit` below; a change that it refuses goes to
`tests/cheats`, and its name into `docs/explanation/integrity.md`.
"""

from __future__ import annotations

from collections.abc import Iterable

from self_coding.audit.commands import audit_commands, audit_pipelines, audit_settings
from self_coding.audit.files import (
    SETTING_FILES,
    Contents,
    Files,
    Kind,
    Settings,
    effective,
    kind_of,
    read_files,
    read_toml,
)
from self_coding.audit.framework import audit_framework
from self_coding.audit.subject import audit_detection, audit_exchanged, audit_replacing
from self_coding.audit.tests import audit_data, audit_tests, audit_unreadable, read_side
from self_coding.values.verdicts import Finding

__all__ = [
    "SETTING_FILES",
    "Contents",
    "Files",
    "Kind",
    "Settings",
    "audit",
    "effective",
    "kind_of",
    "read_files",
    "read_toml",
]


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
    old, new = read_side(files, new=False), read_side(files, new=True)
    findings = {
        *audit_tests(files, old, new, strict=strict),
        *audit_unreadable(files, old, new),
        *audit_data(files, strict=strict),
        *audit_detection(files),
        *audit_exchanged(files, old, new),
        *audit_replacing(files),
        *audit_framework(files),
        *audit_settings(files),
        *audit_commands(files),
        *audit_pipelines(files),
    }
    return tuple(sorted(findings, key=lambda f: (f.path, f.line, f.rule, f.message)))
