"""Does a change weaken the tests that judge it? Read from the two sides, before anything runs.

Pure: contents in, findings out. It refuses to trust names and markers alone: a test counts by
what it claims. What only a run can show (a plugin already installed, code that ends the process
at the right moment) is the work of the gate's census.
"""

from __future__ import annotations

from collections.abc import Iterable

from self_coding.audit.commands import audit_commands
from self_coding.audit.data import audit_data
from self_coding.audit.files import Contents, Files, Kind, kind_of, read_files
from self_coding.audit.framework import audit_framework
from self_coding.audit.pipelines import audit_pipelines
from self_coding.audit.replacing import audit_replacing
from self_coding.audit.settings import SETTING_FILES, Settings, effective
from self_coding.audit.subject import audit_subject
from self_coding.audit.tests import audit_tests, read_side
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
]


def audit(
    paths: Iterable[str], *, before: Contents, after: Contents, strict: bool = False
) -> tuple[Finding, ...]:
    """Every way in which the change of `paths` weakens the tests, in order of path and line.

    Args:
        paths: the changed paths, repository-relative.
        before: contents at the base by path (None: not there). It may also hold unchanged
            settings of pytest (`SETTING_FILES`), by which tests are told from other code.
        after: contents at the head by path.
        strict: accept no changed expectation, even where the code changes too.
    """
    files = read_files(paths, before, after)
    old, new = read_side(files, new=False), read_side(files, new=True)
    found = [
        *audit_tests(files, old, new, strict=strict),
        *audit_framework(files),
        *audit_subject(files, old, new),
        *audit_replacing(files),
        *audit_commands(files),
        *audit_pipelines(files),
        *audit_data(files, strict=strict),
    ]
    unique = dict.fromkeys(found)
    return tuple(sorted(unique, key=lambda f: (f.path, f.line, f.rule, f.message)))
