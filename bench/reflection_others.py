"""Reflection on real failures of other languages: mutants of small functions, the tools' own output.

    python bench/reflection_others.py [go rust node java] [--show]

Each language's corpus is two files of three functions and a test of each. One sign, number or name of
a function is changed at a time; where its test then fails, the tool's output is read without
and with the diff. Truth: the test of the function that was changed, the message that the tool printed
of it, a place in the test or, where it crashed, in the function. At most 60 failures a language.
"""

# ruff: noqa: E501 - the corpus is easier to compare when a spelling is one line

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from self_coding.reflection import read_failure

MOST = 60
BODIES = {
    "clamp": ("x lo hi", "if x < lo {\n return lo\n}\nif x > hi {\n return hi\n}\nreturn x + 0"),
    "total": ("xs", "LET sum = 0 + 0\nLET i = 0\nLOOP i < LEN(xs) {\n sum = sum + AT(xs, i)\n i = i + 1\n}\nreturn sum - 0"),
    "count": ("xs y", "LET n = 0\nLET i = 0\nLOOP i < LEN(xs) {\n if AT(xs, i) == y {\n  n = n + 1\n }\n i = i + 1\n}\nreturn n"),
    "fib": ("n", "if n < 2 {\n return n + 0\n}\nreturn fib(n - 1) + fib(n - 2)"),
    "position": ("xs y", "LET i = LEN(xs) - 1\nLOOP i > 0 {\n if AT(xs, i) == y {\n  return i + 0\n }\n i = i - 1\n}\nreturn 0"),
    "median": ("xs", "LET half = LEN(xs) - 1\nif half == 0 {\n return AT(xs, 0)\n}\nreturn AT(xs, half - 1) + 0"),
}  # fmt: skip
CASES = {
    "clamp": ("7, 1, 5", 5), "total": ("[1, 2, 4]", 7), "count": ("[3, 2, 3], 3", 2),
    "fib": ("7", 13), "position": ("[4, 6, 8], 8", 2), "median": ("[1, 5, 9]", 5),
}  # fmt: skip
PAIRS = ((" + ", " - "), (" - ", " + "), (" < ", " >= "), (" > ", " <= "), (" == ", " != "),
         ("0", "1"), ("1", "9"), ("2", "3"), ("lo\n", "hi\n"), ("hi\n", "lo\n"), ("sum\n", "i\n"), ("return ", "return 7 - "),
         (" = ", " = 3 + "), ("[i]", "[i + 9]"), ("(i)", "(i + 9)"), ("xs, i)", "xs, i + 9)"))  # fmt: skip
FILES = {"area": ("clamp", "total", "count"), "series": ("fib", "position", "median")}


class Written:
    """How a language spells the corpus, and what runs it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def function(self, name: str) -> str:
        names, body = BODIES[name]
        spell = {
            "go": (r"\1 := ", r"for ", r"len(xs)", r"xs[\1]"),
            "rust": (r"let mut \1: i64 = ", r"while ", r"(xs.len() as i64)", r"xs[(\1) as usize]"),
            "node": (r"let \1 = ", r"while ", r"xs.length", r"item(xs, \1)"),
            "java": (r"int \1 = ", r"while ", r"xs.length", r"xs[\1]"),
        }[self.name]
        for what, by in zip(
            (r"LET (\w+) = ", "LOOP ", r"LEN\(xs\)", r"AT\(xs, ([^)]+)\)"), spell, strict=True
        ):
            body = re.sub(what, by, body)
        if self.name in ("node", "java"):
            body = re.sub(r"\b(if|while) (.*) \{", r"\1 (\2) {", body)
        if self.name != "go":
            body = re.sub(r"(?m)([^{}\n])$", r"\1;", body)
        own = self.title(name) if self.name == "go" else name
        body = body.replace("fib(", f"{own}(") if name == "fib" else body
        kind = {"go": ("[]int", "int"), "rust": ("&[i64]", "i64"), "java": ("int[]", "int")}
        given = []
        for each in names.split():
            type_ = kind.get(self.name, ("", ""))[each != "xs"]
            given.append({"go": f"{each} {type_}", "rust": f"{each}: {type_}", "node": each,
                          "java": f"{type_} {each}"}[self.name])  # fmt: skip
        head = {
            "go": "func {}({}) int", "rust": "pub fn {}({}) -> i64", "node": "export function {}({})",
            "java": "static int {}({})",
        }[self.name]  # fmt: skip
        return head.format(own, ", ".join(given)) + " {\n" + re.sub("(?m)^", "    ", body) + "\n}\n"

    def title(self, name: str) -> str:
        return name[0].upper() + name[1:]

    def test(self, name: str, module: str) -> str:
        given, want = CASES[name]
        lists = {"go": r"[]int{\1}", "rust": r"&[\1]", "node": r"[\1]", "java": r"new int[] {\1}"}
        given = re.sub(r"\[([^]]*)\]", lists[self.name], given)
        title = self.title(name)
        return {
            "go": f'func Test{title}(t *testing.T) {{\n\tif got := {title}({given}); got != {want} {{\n'
            f'\t\tt.Errorf("{name}: got %d, want {want}", got)\n\t}}\n}}\n',
            "rust": f"#[test]\nfn test_{name}() {{\n    assert_eq!({module}::{name}({given}), {want});\n}}\n",
            "node": f'test("{name} of numbers", () => {{\n  assert.equal({name}({given}), {want});\n}});\n',
            "java": f"@Test\nvoid test{title}() {{\n    assertEquals({want}, {title2(module)}.{name}({given}));\n}}\n",
        }[self.name]  # fmt: skip

    def files(self) -> dict[str, str]:
        made = {}
        for module, names in FILES.items():
            code = "\n".join(map(self.function, names))
            tests = "\n".join(self.test(name, module) for name in names)
            top = title2(module)
            if self.name == "go":
                made[f"{module}.go"] = f"package shop\n\n{code}"
                made[f"{module}_test.go"] = f'package shop\n\nimport "testing"\n\n{tests}'
            elif self.name == "rust":
                made[f"src/{module}.rs"] = code
                made[f"tests/{module}.rs"] = f"use shop::{module};\n\n{tests}"
            elif self.name == "node":
                items = "function item(xs, i) {\n    if (!(i in xs)) {\n        throw new RangeError(`no item ${i}`);\n    }\n    return xs[i];\n}\n\n"
                made[f"{module}.mjs"] = items + code
                heads = f'import test from "node:test";\nimport assert from "node:assert";\nimport {{ {", ".join(names)} }} from "./{module}.mjs";\n\n'
                made[f"{module}.test.mjs"] = heads + tests
            else:
                heads = "import static org.junit.jupiter.api.Assertions.assertEquals;\n\nimport org.junit.jupiter.api.Test;\n\n"
                made[f"{top}.java"] = f"class {top} {{\n{code}}}\n"
                made[f"{top}Test.java"] = f"{heads}class {top}Test {{\n{tests}}}\n"
        made |= {
            "go": {"go.mod": "module shop\n\ngo 1.19\n"}, "node": {"package.json": "{}\n"},
            "rust": {"Cargo.toml": '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n',
                     "src/lib.rs": "".join(f"pub mod {each};\n" for each in FILES)},
            "java": {},
        }[self.name]  # fmt: skip
        return made

    def command(self) -> str:
        jars = "$(ls /usr/share/java/{junit-jupiter-*,junit-platform-*,opentest4j,apiguardian-api,picocli,univocity-parsers}.jar | tr '\\n' :)"
        return {
            "go": "go test ./...", "rust": "cargo test -q --offline --no-fail-fast", "node": "node --test",
            "java": f"javac -cp {jars} -d out *.java && java -cp {jars}out org.junit.platform.console.ConsoleLauncher"
            " --disable-banner --details tree --scan-classpath out",
        }[self.name]  # fmt: skip


def title2(name: str) -> str:
    return name[0].upper() + name[1:]


def mutants(files: dict[str, str], written: Written) -> Iterator[tuple[str, str, str, str]]:
    """Yield function, file, old and new text of each small change of a function."""
    for module, names in FILES.items():
        for name in names:
            text = written.function(name)
            path = next(p for p, each in files.items() if text in each and module in p.lower())
            start = text.index("{")
            for old, new in PAIRS:
                for match in re.finditer(re.escape(old), text[start:]):
                    at = start + match.start()
                    changed = text[:at] + new + text[at + len(old) :]
                    yield name, path, files[path], files[path].replace(text, changed)


def scores(
    name: str, written: Written, diff: str, files: list[str], output: str
) -> dict[str, float]:
    got = read_failure(output, files_modified=files, diff=diff)
    wanted = {"go": f"Test{title2(name)}", "rust": f"test_{name}", "node": f"{name} of numbers",
              "java": f"test{title2(name)}"}[written.name]  # fmt: skip
    ids = [
        each
        for each in got.failing_tests
        if re.search(rf"(?<![\w ]){re.escape(wanted)}(?!\w)", each)
    ]
    said = got.message.split("\n")[0]
    place = got.location.partition(":")[0]
    own = next(each for each in files if each.lower().endswith(diff_path(name, written)))
    near = place.rpartition("/")[2].lower()
    return {
        "ids": float(len(ids) == len(got.failing_tests) == 1),
        "message": float(bool(said) and said in output and any(c.isdigit() for c in got.message)),
        "location": float(
            bool(got.location) and near.startswith(own.rpartition("/")[2].lower().partition(".")[0])
        ),
        "root file": float(got.root_cause_file == own),
        "root function": float(got.root_cause_function.lower() == name),
    }


def git(*argv: str, place: str) -> str:
    return subprocess.run(["git", *argv], cwd=place, capture_output=True, text=True).stdout


def diff_path(name: str, written: Written) -> str:
    module = next(module for module, names in FILES.items() if name in names)
    return f"{module}.{ {'go': 'go', 'rust': 'rs', 'node': 'mjs', 'java': 'java'}[written.name] }"


def main() -> None:
    chosen = [each for each in sys.argv[1:] if each[:1] != "-"] or ["go", "rust", "node", "java"]
    for language in chosen:
        written = Written(language)
        files = written.files()
        seen: dict[str, list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as place:
            for path, text in files.items():
                (Path(place) / path).parent.mkdir(exist_ok=True, parents=True)
                (Path(place) / path).write_text(text)

            def run(place: str = place, command: str = written.command()) -> tuple[int, str]:
                argv = ["bash", "-c", f"ulimit -t 12; {command}"]
                done = subprocess.run(argv, cwd=place, capture_output=True, text=True)
                return done.returncode, done.stdout + done.stderr

            git("init", "-q", place=place)
            git("add", "-A", place=place)
            status, output = run()
            assert status == 0, output
            own = [
                p
                for p in files
                if any(p.lower().endswith(diff_path(n[0], written)) for n in FILES.values())
            ]
            made = [*mutants(files, written)]
            made = [
                made[at * len(made) // min(len(made), 2 * MOST)]
                for at in range(min(len(made), 2 * MOST))
            ]
            for name, path, before, after in made:
                (Path(place) / path).write_text(after)
                status, output = run()
                diff = git("diff", place=place)
                (Path(place) / path).write_text(before)
                if (
                    status == 0
                    or "error[" in output
                    or "BuildError" in read_failure(output).exception
                    or status > 123
                    or "signal: " in output
                ):
                    continue
                for blind in (True, False):
                    told = scores(name, written, "" if blind else diff, own, output)
                    for key, value in told.items():
                        seen[f"{key}, {'no diff' if blind else 'diff'}"].append(value)
                    if "--show" in sys.argv and min(told.values()) < 1:
                        print(
                            name,
                            blind,
                            told,
                            read_failure(output, files_modified=own),
                            output[-1500:],
                        )
                if len(seen["ids, diff"]) == MOST:
                    break
        means = {key: sum(values) / len(values) for key, values in seen.items()}
        print(
            language,
            len(seen["ids, diff"]),
            "failures:",
            ", ".join(f"{k} {v:.3f}" for k, v in means.items()),
            flush=True,
        )
        for kind in ("no diff", "diff"):
            rows = [value for key, value in means.items() if key.endswith(f", {kind}")]
            print(f"  mean, {kind}: {sum(rows) / len(rows):.3f}", flush=True)


if __name__ == "__main__":
    main()
