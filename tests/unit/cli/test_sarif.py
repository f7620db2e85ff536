"""Findings as SARIF: what its schema requires is there, whatever the finding."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

from self_coding.cli.sarif import sarif
from self_coding.testing import sample_repo
from self_coding.values.verdicts import Finding


def check(log: object) -> list[dict]:  # type: ignore[type-arg]
    """Hold a log to what sarif-schema-2.1.0.json requires; return its results."""
    log = json.loads(json.dumps(log))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "self-coding"
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids)), "uniqueItems"
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    for result in run["results"]:
        assert result["message"]["text"]
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        for place in result["locations"]:
            physical = place["physicalLocation"]
            # a uri-reference: no space, no raw byte beyond ASCII, not from the root
            assert re.fullmatch(r"[\w.~/%-]+", physical["artifactLocation"]["uri"], re.ASCII)
            assert physical.get("region", {"startLine": 1})["startLine"] >= 1
    results: list[dict] = run["results"]  # type: ignore[type-arg]
    return results


def test_each_finding_is_a_result_of_its_rule() -> None:
    """Rule, message, path and line are told; what is of no file or line says none."""
    found = [
        Finding(rule="test-removed", path="tests/ä b.py", line=7, message="is gone"),
        Finding(rule="too-many-files", message="60 files change"),
        Finding(rule="test-removed", path="t.py", message=""),
    ]
    first, whole, bare = check(sarif(found, "1.0"))
    place = first["locations"][0]["physicalLocation"]
    assert unquote(place["artifactLocation"]["uri"]) == "tests/ä b.py"
    assert place["region"] == {"startLine": 7}
    assert whole["locations"] == []
    assert bare["message"]["text"] == "test-removed"
    assert "region" not in bare["locations"][0]["physicalLocation"]


def test_nothing_found_is_a_whole_log() -> None:
    """A run without findings has an empty list, which clears what a host showed before."""
    assert check(sarif([], "1.0")) == []


def test_hostile_texts_stay_texts() -> None:
    """Undecodable names, endless messages and lines that are none make no broken log."""
    (result,) = check(sarif([Finding(rule="x", path="a\udcff", line=-1, message="y" * 9999)], "1"))
    assert len(result["message"]["text"]) <= 2000


def test_commands_print_it(tmp_path: Path) -> None:
    """A refused edit's broken rules come as SARIF from the attempt and from the call alike."""
    top = sample_repo(tmp_path / "repository")
    patch = tmp_path / "p.diff"
    patch.write_text(
        "--- a/tests/test_report.py\n+++ /dev/null\n@@ -1,5 +0,0 @@\n"
        + "".join(f"-{line}\n" for line in (top / "tests/test_report.py").read_text().split("\n"))[
            : -len("-\n")
        ]
    )
    base = [sys.executable, "-m", "self_coding", "--repo", str(top)]
    logs = []
    words = ["self-edit", "Remove a test", "--patch", str(patch), "--test-command", "true"]
    for argv in ([*words, "--sarif"], ["show-attempt", "1", "--sarif"], ["verify", "--sarif"]):
        done = subprocess.run([*base, "-q", *argv], capture_output=True, text=True)
        assert done.returncode == (1 if "self-edit" in argv else 0), done.stderr
        logs.append(check(json.loads(done.stdout)))
    edited, shown, verified = logs
    assert edited == shown
    assert verified == []
    assert edited[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == (
        "tests/test_report.py"
    )
