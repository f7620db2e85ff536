"""Findings as SARIF 2.1.0, the form in which code hosts and editors show them.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/: one run, one rule for each name of a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from self_coding.self_edit.history import History
from self_coding.self_edit.views import asked_of_person
from self_coding.text import shorten
from self_coding.values.attempts import Json
from self_coding.values.edits import SelfEditResult
from self_coding.values.results import AttemptRecord
from self_coding.values.verdicts import Finding

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_MESSAGE = 2_000  # characters; hosts cut longer ones


def found_in(result: object) -> list[Finding]:
    """Return what an operation found: broken rules, and tests that failed, each as a finding."""
    failing: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    if isinstance(result, SelfEditResult):
        findings, failing = result.findings, result.failing_tests
    elif isinstance(result, AttemptRecord):
        history = History(result.events)
        findings = history.refusal.findings or asked_of_person(history)
        failing = history.refusal.failing
    elif isinstance(result, list):
        findings = [one for one in result if isinstance(one, Finding)]
    tests = [
        Finding(rule="test-failed", path=one.partition("::")[0], message=f"{one} failed")
        for one in failing
    ]
    return [*findings, *tests]


def sarif(findings: Iterable[Finding], version: str) -> Json:
    """Return findings as a SARIF log, paths relative to the top of the repository."""
    found = list(findings)
    names = list(dict.fromkeys(one.rule for one in found))
    rules: list[Json] = [
        {"id": name, "shortDescription": {"text": name.replace("-", " ")}} for name in names
    ]
    results: list[Json] = []
    for one in found:
        place: dict[str, Json] = {
            # A path is bytes; in an address everything but plain letters is written as %XX.
            "artifactLocation": {"uri": quote(one.path.encode("utf-8", "surrogateescape"))}
        }
        if one.line > 0:
            place["region"] = {"startLine": one.line}
        result: dict[str, Json] = {
            "ruleId": one.rule,
            "ruleIndex": names.index(one.rule),
            "level": "error",
            "message": {
                "text": shorten(one.message.encode("utf-8", "replace").decode(), _MESSAGE)
                or one.rule
            },
            # What is of the change as a whole has no place.
            "locations": [{"physicalLocation": place}] if one.path else [],
        }
        results.append(result)
    driver: dict[str, Json] = {"name": "self-coding", "version": version, "rules": rules}
    run: dict[str, Json] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
