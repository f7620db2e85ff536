"""Figures of reflection: what is read from real test output, without and with the diff.

    PYTHONPATH=src python bench/reflection.py DIRECTORY     # with reflect.jsonl and score.py
    PYTHONPATH=src python bench/reflection.py DIRECTORY --ablate

Prints the scorer's six scores for the whole set and for each package apart, so that a clue that
only helps one package is seen. `--ablate` also switches each kind of evidence off in turn.
CPU milliseconds are user + system of this process, for one case.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
from collections import defaultdict
from pathlib import Path
from types import ModuleType

from self_coding.reflection import localization, read_failure
from self_coding.reflection.texts import facts

SCORES = ("tests", "exception", "location", "root file", "root function")
CLUES = (
    *("_LAST_FRAME", "_TEST_FRAME", "_SYNTAX", "_TOUCHED_FUNCTION", "_TOUCHED_LINE"),
    *("_TOUCHED_WORD", "_TOUCHED_NAME", "_NAMESAKE", "_MENTIONED", "_PACKAGE"),
)


def scorer(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", folder / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(
    score: ModuleType, cases: list[dict], *, blind: bool, text: bool = False
) -> dict[str, float]:
    """The mean of each score over `cases`, `related` balanced over both answers.

    With `text`, the labelled lines are graded as a reader of the reflection gets them, files
    named before them; else the values themselves.
    """
    seen: dict[str, list[float]] = defaultdict(list)
    related: dict[bool, list[float]] = defaultdict(list)
    for case in cases:
        files, diff = case["files_modified"], "" if blind else case["diff"]
        failure = read_failure(case["output"], files_modified=files, diff=diff)
        if text:
            got, shown = score.extract(f"Files: {', '.join(files)}\n{facts(failure)}")
        else:
            got = {field: getattr(failure, field) for field in score.FIELDS}
            shown = ""
        for name, value in score.grade({**case, "diff": diff}, got, shown).items():
            if name == "_rel":
                if value is not None:
                    related[value[0]].append(float(value[0] == value[1]))
            elif value is not None:
                seen[name].append(value)
    means = {name: sum(values) / len(values) for name, values in seen.items()}
    means["related"] = sum(sum(v) / len(v) for v in related.values()) / len(related)
    return {**means, "MEAN": sum(means.values()) / len(means)}


def row(name: str, means: dict[str, float]) -> str:
    cells = [means.get(score) for score in (*SCORES, "related", "MEAN")]
    return f"{name:34s}" + " ".join("     -" if c is None else f"{c:6.3f}" for c in cells)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ablate", action="store_true")
    wanted = parser.parse_args()
    score = scorer(wanted.folder)
    lines = (wanted.folder / "reflect.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    print(f"{'':34s}" + " ".join(f"{name[-6:]:>6s}" for name in (*SCORES, "related", "MEAN")))
    for blind in (True, False):
        kind = "no diff" if blind else "with the diff"
        before = cpu()
        print(row(f"{kind}, values", measure(score, cases, blind=blind)))
        each = 1000 * (cpu() - before) / len(cases)
        print(row(f"{kind}, text", measure(score, cases, blind=blind, text=True)))
        for repo in sorted({case["repo"] for case in cases}):
            some = [case for case in cases if case["repo"] == repo]
            print(row(f"  {repo}", measure(score, some, blind=blind)))
        print(f"  cpu ms/case = {each:.1f}")
        for clue in CLUES if wanted.ablate else ():
            weight = getattr(localization, clue)
            setattr(localization, clue, 0.0)
            print(row(f"  without {clue[1:].lower()}", measure(score, cases, blind=blind)))
            setattr(localization, clue, weight)


if __name__ == "__main__":
    main()
