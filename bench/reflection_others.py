"""Reflection on failures of other languages: mutants of libraries, the runners' own output.

    python bench/reflection_others.py make RUNNER CHECKOUT FILE [--tests 'a b'] [--seconds 200]
    python bench/reflection_others.py score FILE... [--show blind]

`make` changes one place of a library's source at a time (an operator, a number, a condition, what
is returned, thrown or awaited, a statement gone), runs its own tests with RUNNER (node, jest,
vitest, go, cargo, junit) and keeps what fails, 60 at most: what the runner printed, a diff in which
up to three other files have a harmless edit, and the truth. In one case of five the changed file is
kept out of it: then the change is not to blame. Truth of tests, messages and places is what the
runner reports to programs (JUnit's XML, JSON), of cargo the end of its output; of file and function
it is the mutation. `make` goes on where FILE ends.

`score` reads each case without and with the diff, as `GitSafety.get_diff` gives it. A name is right
when it ends as the reported one does, a message when its first line is in the reported one, a place
when it is the innermost of the repository in the stack that was reported.
"""

# ruff: noqa: E501 - the rules of the mutants are easier to compare a line each

from __future__ import annotations

import argparse
import html
import json
import os
import random
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from self_coding.git_safety.index import _FUNCTIONS
from self_coding.languages import is_source, is_test, language_of
from self_coding.reflection import read_failure

JARS = "$(ls /usr/share/java/{junit-jupiter-*,junit-platform-*,opentest4j,apiguardian-api,picocli,univocity-parsers,commons-lang3,commons-io}.jar | tr '\\n' :)"
RUNNERS = {
    "node": "node --test --test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit"
    " --test-reporter-destination=$REPORT $TESTS",
    "jest": "npx jest --json --outputFile=$REPORT --coverage=false $TESTS",
    "vitest": "npx vitest run --reporter=default --reporter=json --outputFile=$REPORT $TESTS",
    "go": "go test ./...; go test -json ./... > $REPORT",
    "cargo": "cargo test --offline --no-fail-fast $TESTS",
    "junit": f"rm -rf out && mkdir out && javac -nowarn -cp {JARS}$TESTS -d out $(find src -name '*.java')"
    f" && java -cp {JARS}$TESTS:out org.junit.platform.console.ConsoleLauncher --disable-banner"
    " --details tree --reports-dir $REPORT.d --scan-classpath out; cat $REPORT.d/*jupiter.xml > $REPORT",
}
KINDS: dict[str, list[tuple[str, Any]]] = {
    "operator": [(" + ", " - "), (" - ", " + "), (" < ", " >= "), (" > ", " <= "), (" <= ", " > "),
                 (" >= ", " < "), (" && ", " || "), (" || ", " && ")],
    "comparison": [(r" (==|===) ", lambda m: " !" + m[1][1:] + " "), (r" (!=|!==) ", lambda m: " =" + m[1][1:] + " ")],
    "constant": [(r"(?<![\w.\"'])(\d+)(?![\w.\"'])", lambda m: str(int(m[1]) + 1)), (r"\btrue\b", "false"),
                 (r"\bfalse\b", "true"), (r"(['\"])([a-zA-Z-]+)\1", r"\1\2x\1")],
    "condition": [(r"\b((?:else )?if) \((.+)\) \{$", r"\1 (!(\2)) {"), (r"\bif (?![(l])([^;{]+) \{$", r"if !(\1) {")],
    "returned": [(r"\breturn (?!err|nil|Err|null)(\S.*);$", "return null;"), (r"\breturn (\w+), nil$", "return nil, nil"),
                 (r"\breturn true", "return false"), (r"\breturn (\w+)$", "return undefined")],
    "thrown": [(r"throw new (\w+)\(", "throw new RangeError("), (r"^(\s+)throw .*;?$", r"\1"),
               (r"^(\s+)return (\w+);?$", r"\1throw new Error('broken'); return \2"), (r"^(\s+)return ", r'\1panic("broken"); return '),
               (r"^(\s+)return ", r'\1panic!("broken"); return '), (r"^(\s+)return ", r'\1if (true) { throw new IllegalStateException("broken"); } return ')],
    "statement": [(r"^(\s+)(?!return|throw|const|let|var|final|break|import|export|use|case)[\w.]+(?:\(.*\)| [-+*]?= .*);?$", r"\1")],
    "awaited": [(r"\bawait ", ""), (r"\breturn await (.*)", r"return Promise.reject(new Error('broken')) || \1")],
    "name": [(r"\.(length|size|name|value|key|path|index|type)\b", r".\1X")],
    "arguments": [(r"(\w\()(\w+), (\w+)\)", r"\1\3, \2)")],
}  # fmt: skip
ONLY = {"panic(": "go", "panic!(": "cargo", "IllegalState": "junit", "RangeError": "js", "new Error": "js",
        "undefined": "js", "return null": "jsjunit", "X": "js", "nil, nil": "go", "Promise": "js"}  # fmt: skip
FOREIGN = re.compile(r"node_modules/|node:|internal/|/rustc/|/usr/|\bjava\.base/|org\.junit|jdk\.")
PLACE = re.compile(r"(?:file://)?((?:[\w.@+/-])+\.(?:[cm]?[jt]sx?|go|rs|java)):(\d+)")


def mutants(
    root: Path, files: Sequence[str], runner: str
) -> Iterator[tuple[str, str, int, str, str]]:
    """Yield kind, file, line, function and new text of changes in random but repeatable order."""
    found = []
    js = "js" if runner in ("node", "jest", "vitest") else runner
    for file in files:
        text = (root / file).read_text()
        own = text.partition("#[cfg(test)]")[0]
        spans = language_of(file).bodies(text, file)
        for at, line in enumerate(own.split("\n"), 1):
            inside = [body for body in spans if body.start < at <= body.end]
            if not inside or re.match(
                r"\s*(//|\*|/\*|import|use|#\[|@|func |function |fn |export)", line
            ):
                continue
            for kind, rules in KINDS.items():
                for old, new in rules:
                    if isinstance(new, str) and any(
                        key in new and js not in who for key, who in ONLY.items()
                    ):
                        continue
                    pattern = re.compile(
                        re.escape(old) if old[0] == " " and "(" not in old else old
                    )
                    for match in pattern.finditer(line):
                        by = match.expand(new) if isinstance(new, str) else new(match)
                        changed = line[: match.start()] + by + line[match.end() :]
                        if changed != line:
                            found.append((kind, file, at, inside[-1].name, changed))
    chance = random.Random(7)
    chance.shuffle(found)
    # each kind has its turn
    waiting = {kind: [each for each in found if each[0] == kind] for kind in KINDS}
    while any(waiting.values()):
        for kind in KINDS:
            if waiting[kind]:
                yield waiting[kind].pop()


def innermost(stack: str, root: str) -> str:
    """The first place of a stack that is in the repository."""
    for line in stack.split("\n"):
        if not FOREIGN.search(line.replace(root, "")):
            for match in PLACE.finditer(line):
                return f"{match[1].removeprefix(root).lstrip('/')}:{match[2]}"
    return ""


def report(runner: str, text: str, output: str, root: str) -> list[dict[str, str]]:
    """The failing tests as the runner reports them to programs: name, message, place."""
    found = []
    if runner in ("node", "junit"):
        for case in ElementTree.fromstring(
            re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#\d+;", "", text)
        ).iter("testcase"):
            for failure in [*case.iter("failure"), *case.iter("error")]:
                stack = failure.text or ""
                message = failure.get("message") or stack.strip().split("\n")[0]
                name = case.get("name", "").split("(")[0]
                if "subtest" not in message or "failed" not in message:
                    found.append(
                        {"name": name, "message": message, "place": innermost(stack, root)}
                    )
    elif runner in ("jest", "vitest"):
        for file in json.loads(text)["testResults"]:
            for case in file["assertionResults"]:
                if case["status"] == "failed":
                    stack = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(case["failureMessages"]))
                    stack_only = "\n".join(
                        line for line in stack.split("\n") if re.match(r"\s+at ", line)
                    )
                    found.append(
                        {
                            "name": case["title"],
                            "message": stack.split("\n    at ")[0],
                            "place": innermost(stack_only, root),
                        }
                    )
            if not file["assertionResults"]:
                found.append({"name": "", "message": file.get("message", ""), "place": ""})
    elif runner == "go":
        said, failed = defaultdict(list), []
        for line in text.splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("Test") and event["Action"] == "output":
                said[event["Test"]].append(event["Output"])
            if event.get("Test") and event["Action"] == "fail":
                failed.append(event["Test"])
        for name in failed:
            if any(other.startswith(name + "/") for other in failed) and not any(
                ": " in line for line in said[name]
            ):
                continue  # only its subtests failed
            own = "".join(said[name])
            own = own.rpartition("[recovered]")[2] if "[recovered]" in own else own
            own = (
                own.partition("goroutine ")[2].rpartition("\npanic(")[2]
                if "panic: " in own
                else own
            )
            message = next(
                (line for line in said[name] if re.search(r"_test.go:\d+: |panic: ", line)), ""
            )
            found.append(
                {
                    "name": name,
                    "message": re.sub(r"^.*?(_test.go:\d+: |panic: )", "", message),
                    "place": innermost(own, root),
                }
            )
    else:
        for name in re.findall(r"(?m)^test (\S+)(?: - \S+)*? \.\.\. FAILED$", output):
            block = (
                output.partition(f"---- {name} stdout ----\n")[2]
                .partition("\n---- ")[0]
                .partition("\nfailures:")[0]
            )
            _, _, rest = block.partition("panicked at ")
            found.append(
                {"name": name, "message": rest.partition("\n")[2], "place": innermost(rest, root)}
            )
    return found


def make(args: argparse.Namespace) -> None:
    root, runner, target = args.checkout.resolve(), args.runner, args.file

    def git(*argv: str) -> str:
        told = [part for setting in _FUNCTIONS for part in ("-c", setting)]
        command = ["git", *told, *argv]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout

    git("checkout", "-q", ".")
    files = [
        f
        for f in git("ls-files").split("\n")
        if is_source(f) and not is_test(f) and not re.search(args.skip, f)
    ]
    done = [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []
    tried, kept = (done[-1]["tried"] if done else 0), len(done)
    start = time.monotonic()

    def run() -> tuple[int, str, str]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report"
            env = {
                **os.environ,
                "REPORT": str(path),
                "TESTS": args.tests,
                "CI": "1",
                "NO_COLOR": "1",
            }
            argv = ["bash", "-c", "ulimit -t 60; " + RUNNERS[runner]]
            try:
                ran = subprocess.run(
                    argv,
                    cwd=root,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    env=env,
                    timeout=60,
                )
            except subprocess.TimeoutExpired:
                return -1, "", ""
            return (
                ran.returncode,
                ran.stdout + ran.stderr,
                path.read_text() if path.exists() else "",
            )

    if not done:
        status, output, text = run()
        failed = report(runner, text, output, str(root))
        assert not failed, (failed, output[-3000:])
    for number, (kind, file, line, function, changed) in enumerate(mutants(root, files, runner)):
        if number < tried:
            continue
        if kept >= args.most or time.monotonic() - start > args.seconds:
            break
        chance = random.Random(number)
        lines = (root / file).read_text().split("\n")
        lines[line - 1] = changed
        (root / file).write_text("\n".join(lines))
        mutation = git("diff")
        others = chance.sample(
            [f for f in files if f != file], min(len(files) - 1, chance.randrange(4))
        )
        for other in others:
            text = (root / other).read_text()
            spans = language_of(other).bodies(text, other)
            if spans:
                at = chance.choice(spans).start
                edited = text.split("\n")
                if edited[at - 1].rstrip().endswith("{"):
                    edited.insert(at, "    // looked at again")
                    (root / other).write_text("\n".join(edited))
        related = chance.random() >= 0.2 or not others
        whole = git("diff")
        status, output, text = run()
        git("checkout", "-q", ".")
        try:
            failing = report(runner, text, output, str(root))
        except (ValueError, ElementTree.ParseError):
            continue
        if not failing or not failing[0]["name"] or status == -1:
            continue
        modified = sorted([*others, *([file] if related else [])])
        diff = whole if related else whole.replace(mutation, "")
        if len(output) > 20_000:
            output = output[:10_000] + "\n... [truncated] ...\n" + output[-10_000:]
        truth = {
            "kind": kind,
            "related": related,
            "file": file,
            "function": function,
            "line": line,
            "failing": failing,
        }
        case = {"id": f"{args.checkout.name}-{number}", "runner": runner, "tried": number + 1, "files_modified": modified,
                "diff": diff, "root": str(root), "output": output, "truth": truth}  # fmt: skip
        kept += 1
        with target.open("a") as out:
            out.write(json.dumps(case) + "\n")
    print(runner, args.checkout.name, kept, "failures", flush=True)


def words(text: str) -> str:
    return " ".join(re.findall(r"[\w$-]+", text.split("(")[0] if text.endswith(")") else text))


def grade(case: dict[str, Any], *, blind: bool) -> dict[str, Any]:
    truth, output = case["truth"], case["output"]
    got = read_failure(
        output, files_modified=case["files_modified"], diff="" if blind else case["diff"]
    )
    scores: dict[str, Any] = {"got": got}
    names = {words(one["name"]) for one in truth["failing"]}
    seen = [name for name in names if name in words(output)]
    told = [words(each.partition("::")[2] or each) for each in got.failing_tests]
    right = [each for each in told if any(each.endswith(name) for name in names)]
    found = {name for name in seen if any(each.endswith(name) for each in told)}
    precision, recall = (
        len(right) / max(1, len(told)),
        min(1.0, len(found) / max(1, min(10, len(seen)))),
    )
    scores["tests"] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    flat = [
        " ".join(html.unescape(html.unescape(one["message"])).split()) for one in truth["failing"]
    ]
    flat += [re.sub(r" ?\[recovered\]", "", each) for each in flat]
    if case["runner"] == "go" and "\npanic: " in output:
        flat += re.findall(r"(?m)^panic: (.*?)(?: \[recovered\])?$", output)
    if case["runner"] == "node":
        flat = ["".join(each.split()) for each in flat]
    first = ("" if case["runner"] == "node" else " ").join(got.message.split("\n")[0].split())
    scores["message"] = float(bool(first) and any(first in one for one in flat))
    places = {one["place"] for one in truth["failing"]} - {""}
    short = {place.rpartition("/")[2] for place in places}
    if case["runner"] in ("junit", "go"):  # these print names without folders
        scores["location"] = float(got.location.rpartition("/")[2] in short) if places else None
    else:
        scores["location"] = float(got.location in places) if places else None
    if truth["related"]:
        if len(case["files_modified"]) > 1:
            scores["root file"] = float(got.root_cause_file == truth["file"])
        own = re.split(r"\.|::", truth["function"])[-1]
        scores["root function"] = float(re.split(r"\.|::|#", got.root_cause_function)[-1] == own)
    scores["related"] = (truth["related"], bool(got.related) == truth["related"])
    return scores


def score(args: argparse.Namespace) -> None:
    columns = ("tests", "message", "location", "root file", "root function")
    print(f"{'':28s}" + "".join(f"{name[-8:]:>9s}" for name in (*columns, "related", "MEAN")))
    for file in args.files:
        cases = [json.loads(line) for line in Path(file).read_text().splitlines()]
        cases = [case for at, case in enumerate(cases) if args.half is None or at % 2 == args.half]
        for blind in (True, False):
            graded = [grade(case, blind=blind) for case in cases]
            means = {}
            for name in columns:
                values = [each[name] for each in graded if each.get(name) is not None]
                if values:
                    means[name] = sum(values) / len(values)
            sides = [
                [ok for side, ok in (each["related"] for each in graded) if side is which]
                for which in (True, False)
            ]
            means["related"] = sum(sum(side) / len(side) for side in sides if side) / sum(
                map(bool, sides)
            )
            means["MEAN"] = sum(means.values()) / len(means)
            kind = "no diff" if blind else "diff"
            print(
                f"{Path(file).stem[:16]:17s}{len(cases):3d} {kind:7s}"
                + "".join(f"{means.get(name, -1):9.3f}" for name in (*columns, "related", "MEAN"))
            )
            for case, each in zip(cases, graded, strict=True):
                bad = [name for name in columns if each.get(name) is not None and each[name] < 1]
                bad += [] if each["related"][1] else ["related"]
                if args.show and bad and blind == (args.show == "blind"):
                    got = each["got"]
                    t = case["truth"]
                    print(
                        " ",
                        case["id"],
                        bad,
                        "|",
                        t["kind"],
                        t["related"],
                        t["file"],
                        t["function"],
                        t["line"],
                        "| got",
                        got.root_cause_file,
                        got.root_cause_function,
                        got.related,
                        got.location,
                        repr(got.message[:80]),
                        got.failing_tests[:2],
                        "| truth",
                        t["failing"][:1],
                    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("runner", choices=RUNNERS)
    maker.add_argument("checkout", type=Path)
    maker.add_argument("file", type=Path)
    maker.add_argument("--most", type=int, default=60)
    maker.add_argument("--seconds", type=float, default=200)
    maker.add_argument("--tests", default="")
    maker.add_argument("--skip", default="^$")
    maker.set_defaults(do=make)
    scorer = verbs.add_parser("score")
    scorer.add_argument("files", nargs="+")
    scorer.add_argument("--show", choices=["blind", "diff"])
    scorer.add_argument("--half", type=int)
    scorer.set_defaults(do=score)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
