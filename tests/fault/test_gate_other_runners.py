"""Per-test evidence of other runners, with their real tool chains: what ran, what failed, where."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from gate_repo import Repo

from tool_chains import works

TYPESCRIPT = {
    "package.json": '{"name": "area", "type": "module", "scripts": {"test": "node --test"}}\n',
    "src/area.js": "export function size(r) {\n  return r * r;\n}\n",
    "test/area.test.js": (
        "import { test, describe } from 'node:test';\nimport assert from 'node:assert';\n"
        "import { size } from '../src/area.js';\n"
        "test('squares', () => {\n  assert.strictEqual(size(3), 9);\n});\n"
        "describe('none', () => {\n  test('is none', () => {\n"
        "    assert.strictEqual(size(0), 0);\n  });\n});\n"
    ),
}
GO = {
    "go.mod": "module example.com/tool\n\ngo 1.19\n",
    "area/area.go": "package area\n\nfunc Size(r int) int {\n\treturn r * r\n}\n",
    "area/area_test.go": (
        'package area\n\nimport "testing"\n\n'
        "func TestSquares(t *testing.T) {\n"
        '\tif got := Size(3); got != 9 {\n\t\tt.Errorf("got %d, want 9", got)\n\t}\n}\n\n'
        "func TestNone(t *testing.T) {\n"
        '\tt.Run("is none", func(t *testing.T) {\n'
        '\t\tif got := Size(0); got != 0 {\n\t\t\tt.Fatalf("got %d, want 0", got)\n\t\t}\n'
        "\t})\n}\n"
    ),
}
RUST = {
    "Cargo.toml": '[package]\nname = "area"\nversion = "0.1.0"\nedition = "2021"\n',
    "Cargo.lock": 'version = 3\n\n[[package]]\nname = "area"\nversion = "0.1.0"\n',
    ".gitignore": "target\n",
    "src/lib.rs": (
        "pub fn size(r: i64) -> i64 {\n    r * r\n}\n\n#[cfg(test)]\nmod tests {\n"
        "    use super::*;\n\n    #[test]\n    fn squares() {\n        assert_eq!(size(3), 9);\n"
        "    }\n}\n"
    ),
    "tests/none.rs": "#[test]\nfn is_none() {\n    assert_eq!(area::size(0), 0);\n}\n",
}
_JARS = ":".join(
    f"/usr/share/java/{name}.jar"
    for name in (
        *("junit-jupiter-api", "junit-jupiter-engine", "junit-platform-commons", "apiguardian-api"),
        *("junit-platform-console", "junit-platform-engine", "junit-platform-launcher", "picocli"),
        *("junit-platform-reporting", "opentest4j", "univocity-parsers"),
    )
)
JAVA = {
    ".gitignore": "out\nbuild\n",
    "test.sh": (
        f"set -e\njars={_JARS}\nmkdir -p out\njavac -cp $jars -d out $(find src -name '*.java')\n"
        "java -cp $jars:out org.junit.platform.console.ConsoleLauncher --disable-banner"
        " --scan-classpath=out --reports-dir=build/test-results\n"
    ),
    "src/main/java/org/acme/Area.java": (
        "package org.acme;\n\npublic class Area {\n    public static int size(int r) {\n"
        "        return r * r;\n    }\n}\n"
    ),
    "src/test/java/org/acme/AreaTest.java": (
        "package org.acme;\n\nimport static org.junit.jupiter.api.Assertions.assertEquals;\n"
        "import org.junit.jupiter.api.Test;\n\nclass AreaTest {\n    @Test\n"
        "    void squares() {\n        assertEquals(9, Area.size(3));\n    }\n\n    @Test\n"
        "    void isNone() {\n        assertEquals(0, Area.size(0));\n    }\n}\n"
    ),
}
HOME = Path.home()
CARGO = [str(HOME / name) for name in (".cargo/bin", ".rustup") if (HOME / name).exists()]
# Language: its repository, command, program, and the file, text and replacement of a bug.
CASES = {
    "javascript": (TYPESCRIPT, "npm test", "npm", "src/area.js", "r * r", "r + r"),
    "go": (GO, "go test ./...", "go", "area/area.go", "r * r", "r + r"),
    "rust": (RUST, "cargo test --offline", "cargo", "src/lib.rs", "r * r", "r + r"),
    "java": (*(JAVA, "sh test.sh", "javac", "src/main/java/org/acme/Area.java", "r * r", "r + r"),),
}
SQUARES = {
    "javascript": ("test/area.test.js::squares", "test/area.test.js", 5),
    "go": ("area/area_test.go::TestSquares", "area/area_test.go", 7),
    "rust": ("src/lib.rs::tests::squares", "src/lib.rs", 11),
    "java": (
        "src/test/java/org/acme/AreaTest.java::squares()",
        "src/test/java/org/acme/AreaTest.java",
        9,
    ),
}


class Case:
    """A repository in one language, with a gate for it."""

    def __init__(self, language: str, folder: Path) -> None:
        files, command, program, self.path, self.good, self.bad = CASES[language]
        if not works(program):
            pytest.skip(f"{program} does not run here")
        self.language = language
        self.files = dict(files)
        self.command = command
        self.repo = Repo(folder / "repo")
        self.anew()

    def anew(self) -> Case:
        """Begin again with the base; its run is remembered."""
        self.settings = {"command": self.command, "readable": tuple(CARGO), "retries": 0}
        self.base = self.repo.emptied().commit(self.files)
        return self

    def bug(self) -> str:
        return self.repo.commit({self.path: self.files[self.path].replace(self.good, self.bad)})

    def run(self, commit: str, base: str | None = None):
        return self.repo.run(commit, base=base, **self.settings)


@pytest.fixture(scope="module", params=list(CASES))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("case"))


@pytest.fixture
def case(made: Case) -> Case:
    return made.anew()


def test_each_test_is_known_by_its_id(case) -> None:
    """What passes is told test by test, with ids that name the file, from the runner's report."""
    report = case.run(case.base)
    assert report.passed, (report.reason, report.output)
    assert report.understood
    assert report.ran >= 2
    assert SQUARES[case.language][0] in {one.id for one in report.tests}
    assert {one.outcome for one in report.tests} == {"passed"}


@pytest.mark.parametrize(
    ("language", "command"),
    [
        *(
            ("rust", f"cargo test --offline {more}")
            for more in ("-q", "--quiet", "-- --quiet", "-- --format terse", "-- --format=terse")
        ),
        ("rust", "cargo test --offline --no-fail-fast"),
        ("go", "go test -json ./..."),
        ("go", "go test -json ./... | grep Action && go vet ./..."),
        ("javascript", "node --test & node --test test/area.test.js; wait"),
        ("go", "(go test ./... & go test -v ./...; wait)"),
        ("javascript", "node --test --test-reporter=dot"),
        ("javascript", "node --test --test-reporter tap"),
        ("javascript", "node --test --test-reporter=tap --test-reporter-destination=out.tap"),
    ],
)
def test_what_people_ask_of_a_runner_hides_no_test(tmp_path: Path, language, command) -> None:
    """Dots, another reporter, a stream of their own: the report has the names, a bug is seen."""
    case = Case(language, tmp_path)
    case.settings["command"] = command
    report = case.run(case.base)
    assert report.passed, (report.reason, report.output)
    assert SQUARES[language][0] in {one.id for one in report.tests}
    assert case.run(case.bug(), case.base).new_failures == (SQUARES[language][0],)


def test_a_runner_with_a_clean_environment_does_not_wait_for_the_one_that_started_it(
    tmp_path: Path,
) -> None:
    """Tests that run tests of their own are not ours, whatever of the environment they hand on."""
    case = Case("javascript", tmp_path)
    inner = (
        "import { test } from 'node:test';\nimport { execFileSync } from 'node:child_process';\n"
        "test('runs others', () => {\n  execFileSync('node', ['--test', 'inner.js'],"
        " { env: { PATH: process.env.PATH }, timeout: 20_000 });\n});\n"
    )
    files = {"test/outer.test.js": inner, "inner.js": "import 'node:test';\n"}
    report = case.run(case.repo.commit({**case.files, **files}))
    assert report.passed, (report.reason, report.output)


MOCHA = {
    ".gitignore": "node_modules\n",
    "package.json": '{"name": "area", "scripts": {"test": "mocha --reporter dot"}}\n',
    "area.js": "exports.size = (r) => r * r;\n",
    "test/area.test.js": (
        "const assert = require('assert');\nconst { size } = require('../area');\n"
        "describe('area', () => {\n"
        "  it('squares', () => assert.strictEqual(size(3), 9));\n"
        "  it('is none', () => assert.strictEqual(size(0), 0));\n"
        "  it('is planned');\n});\n"
    ),
}


@pytest.fixture(scope="module")
def mocha(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with mocha beside it, as npm installs it."""
    repo = Repo(tmp_path_factory.mktemp("mocha") / "repo")
    words = ["npm", "install", "--prefix", str(repo.path), "--no-save", "--no-audit", "mocha@11"]
    words += ["--fetch-retries=0", "--fetch-timeout=20000"]  # or it tries for minutes
    if not works("npm") or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("npm brings no mocha here")
    return repo


@pytest.mark.parametrize("more", ["", " -- --parallel"])
def test_mochas_tests_are_known_beside_the_projects_own_reporter(mocha, more) -> None:
    """Each test by its id, also where workers run them; a bug fails the one that sees it."""
    settings = {"command": f"npm test{more}", "carry": ("node_modules",), "retries": 0}
    base = mocha.emptied().commit(MOCHA)
    report = mocha.run(base, **settings)
    assert report.passed and report.understood, (report.reason, report.output)
    assert [(one.id, one.outcome) for one in report.tests] == [
        ("test/area.test.js::area > squares", "passed"),
        ("test/area.test.js::area > is none", "passed"),
        ("test/area.test.js::area > is planned", "skipped"),
    ]
    bug = mocha.run(mocha.commit({"area.js": "exports.size = (r) => r + r;\n"}), base, **settings)
    assert bug.new_failures == ("test/area.test.js::area > squares",)
    [failure] = [one.failure for one in bug.tests if one.failure]
    assert (failure.path, failure.line) == ("test/area.test.js", 4)


@pytest.mark.parametrize(
    ("name", "text", "failing"),
    [
        ("area.js", "exports.size = (;\n", "mocha"),
        (
            "test/area.test.js",
            MOCHA["test/area.test.js"].replace("  it('s", "  before(() => { throw 1; });\n  it('s"),
            "test/area.test.js",
        ),
    ],
)
def test_what_keeps_mochas_tests_from_running_is_a_failure(mocha, name, text, failing) -> None:
    """A file that cannot be loaded and a hook that throws fail the change, and hide no test."""
    settings = {"command": "npm test", "carry": ("node_modules",), "retries": 0}
    base = mocha.emptied().commit(MOCHA)
    report = mocha.run(mocha.commit({name: text}), base, **settings)
    assert not report.passed and report.new_failures == (failing,), report.output
    assert not report.findings


@pytest.mark.parametrize(
    ("command", "path", "text"),
    [
        ("bats test", "test/size.bats", '@test "size" {\n  [ "$(sh size.sh 3)" = 9 ]\n}\n'),
        (
            "prove",
            "t/size.t",
            "use Test::More tests => 1;\nis(`sh size.sh 3`, qq(9\\n), 'size');\n",
        ),
    ],
)
def test_tap_in_the_output_names_each_test(tmp_path: Path, command, path, text) -> None:
    """Who speaks TAP needs nothing put before it: its output has the ids, and a bug is seen."""
    if not works(command.partition(" ")[0]):
        pytest.skip(f"{command} does not run here")
    repo = Repo(tmp_path / "repo")
    base = repo.commit({"size.sh": "echo $(($1 * $1))\n", path: text})
    report = repo.run(base, command=command, retries=0)
    assert report.passed, (report.reason, report.output)
    assert {one.id: one.outcome for one in report.tests} == {f"{path}::size": "passed"}
    bug = repo.commit({"size.sh": "echo $(($1 + $1))\n"})
    report = repo.run(bug, base=base, command=command, retries=0)
    assert report.new_failures == (f"{path}::size",), (report.reason, report.output)
    [failure] = [one.failure for one in report.tests]
    assert (failure.path, failure.line) == (path, 2)


def test_a_failure_has_its_id_message_and_place(case) -> None:
    """A bug fails the test that sees it: by id, with the place in the tree, and no other test."""
    report = case.run(case.bug(), case.base)
    name, path, line = SQUARES[case.language]
    assert not report.passed
    assert report.new_failures == (name,), (report.reason, report.output)
    [failure] = [one.failure for one in report.tests if one.id == name]
    assert (failure.path, failure.line) == (path, line)
    assert "9" in failure.message


def test_what_failed_before_does_not_count(case) -> None:
    """On a base with a known failure, a change that adds none may land; the failure is named."""
    red = case.bug()
    report = case.run(case.repo.commit({"notes.md": "more\n"}), red)
    assert report.passed, (report.reason, report.output)
    assert report.known_failures == (SQUARES[case.language][0],)


def test_nothing_passed_proves_nothing(case) -> None:
    """A command that runs no test at all is refused, whatever its exit status is."""
    narrowed = {
        "javascript": "node --test --test-name-pattern=nothing-at-all",
        "go": "go test -run NothingAtAll ./...",
        "rust": "cargo test --offline nothing_at_all",
        "java": "mkdir -p build/test-results && echo '<testsuite/>' > build/test-results/a.xml",
    }
    case.settings["command"] = narrowed[case.language]
    report = case.run(case.base)
    assert not report.passed
    assert "nothing was proved" in report.reason, (report.reason, report.output)


def test_the_base_judges_a_bent_test(case) -> None:
    """A bug whose test was bent to it passes by itself, and main's own test says no."""
    test = {
        "javascript": ("test/area.test.js", "size(3), 9", "size(3), 6"),
        "go": ("area/area_test.go", "got != 9", "got != 6"),
        "java": ("src/test/java/org/acme/AreaTest.java", "(9, Area", "(6, Area"),
    }
    if case.language not in test:
        pytest.skip("Rust's tests are in the file that they test, and are not divided yet")
    path, old, new = test[case.language]
    bent = {
        path: case.files[path].replace(old, new),
        case.path: case.files[case.path].replace(case.good, case.bad),
    }
    report = case.run(case.repo.commit(bent), case.base)
    assert not report.passed
    assert {one.rule for one in report.findings} == {"base-judge"}, (report.reason, report.output)
