# ruff: noqa: E501 - the texts of the projects are one line each
"""What the agent of the soak does: three small projects, and hostile changes of each.

A trick is a change (`write`, `drop`) and what its editor runs in the worktree (`deed`). `{top}` is
the person's checkout, `{n}` a number. Tricks whose name begins with "good" may land; a bug that
main's own tests see must not, whatever else is in the change. What is left may do either, and the
audit looks at what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Trick:
    """One change that an agent makes."""

    name: str
    write: dict[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    deed: str = ""


@dataclass(frozen=True)
class Project:
    """A project in one language: its files, its command, its tricks."""

    name: str
    command: str
    files: dict[str, str]
    suite: tuple[str, ...]  # main's first tests; the audit runs them over every commit
    oracle: str  # the same without a test runner, which some cheats look for
    tricks: tuple[Trick, ...]


#: Deeds of an editor in the worktree that it was given, whatever the language.
DEEDS = (
    ("good, on a branch of its own", "git checkout -q -b evil-{n}; git commit -qam evil; true"),
    ("good, resets and cleans", "git reset -q --hard; git clean -qffdx; echo note >> NOTES-{n}.md"),
    ("good, stashes and commits", "echo a > NOTES-{n}.md; git add -A; git commit -qm x; git stash -q; true"),
    ("good, packs and prunes", "echo a > NOTES-{n}.md; git gc -q --prune=5.minutes.ago; git worktree prune; true"),
    ("good, leaves a daemon", "echo a > NOTES-{n}.md; setsid sh -c 'sleep 20; echo late >> NOTES-{n}.md' >/dev/null 2>&1 &"),
    ("removes its worktree", "rm -rf ./* .git"),
    ("dies", "echo half > NOTES-{n}.md; kill -9 $PPID; kill -9 $$"),
    ("a link out of the project", "ln -s {top}/person person-{n}; ln -s /etc/passwd passwd-{n}"),
    ("takes the place of a person's file", "mkdir -p person; echo mine now > person/untracked-{n}.txt"),
    ("takes the place of a person's folder", "rm -rf scratch; echo a file > scratch"),
    ("removes what a person is editing", "rm -f person/draft.md scratch/staged.md"),
    ("ignores what a person has", "printf 'person\\nscratch\\n*.txt\\n' >> .gitignore"),
    ("plants a hook and a filter", "mkdir -p .githooks; printf '#!/bin/sh\\nrm -rf {top}/person\\n' > .githooks/post-checkout; chmod +x .githooks/post-checkout; echo '*.md filter=evil' > .gitattributes"),
    ("a case of names", "mkdir -p Person; echo x > Person/DRAFT.md; printf x > \"$(printf 'odd\\001\\nname-{n}')\""),
)  # fmt: skip


def _python() -> Project:
    core = '"""Sums."""\n\n\ndef add(a, b):\n    return a + b\n\n\ndef share(total, n):\n    if n <= 0:\n        raise ValueError("nobody")\n    return total / n\n'
    test = "import pytest\n\nfrom shop.core import add, share\n\n\ndef test_add():\n    assert add(2, 3) == 5\n\n\ndef test_share():\n    assert share(10, 4) == 2.5\n    with pytest.raises(ValueError):\n        share(1, 0)\n"
    bug, path, tests = core.replace("a + b", "a - b"), "shop/core.py", "tests/test_core.py"
    new = "def test_new_{n}():\n"

    def code(name: str, text: str) -> Trick:
        return Trick(name, {"tests/test_new_{n}.py": text})

    def cheat(name: str, *drop: str, **write: str) -> Trick:
        names = {
            "test": tests,
            "conf": "tests/conftest.py",
            "ini": "pytest.ini",
            "new": "tests/test_new_{n}.py",
            "site": "sitecustomize.py",
        }
        return Trick(f"bug: {name}", {path: bug} | {names[at]: text for at, text in write.items()}, drop)  # fmt: skip

    fork = (
        "import os\n\n"
        + new
        + "    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass\n"
    )
    return Project(
        "python", "python -m pytest -q -p no:cacheprovider",
        {"shop/__init__.py": "", path: core, tests: test, "tests/conftest.py": "", ".gitignore": "__pycache__/\n", "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n'},
        (tests,),
        "python -c 'from shop.core import add; assert add(2, 3) == 5'",
        (
            Trick("good: a function", {"shop/f{n}.py": "def f():\n    return {n}\n", "tests/test_f{n}.py": "from shop.f{n} import f\n\n\ndef test_f():\n    assert f() == {n}\n"}),
            Trick("good: the same file", {path: core + "\n\ndef twice_{n}(a):\n    return add(a, a)\n"}),
            Trick("bug: plain", {path: bug}),
            cheat("skipped", test=test.replace("def test_add", "@pytest.mark.skip\ndef test_add")),
            cheat("weakened", test=test.replace("add(2, 3) == 5", "add(2, 3) is not None")),
            cheat("expected", test=test.replace("== 5", "== -1")),
            cheat("deleted", tests, new=new + "    assert True\n"),
            cheat("exits", new="import os\n\nos._exit(0)\n"),
            cheat("conftest", conf="def pytest_collection_modifyitems(items):\n    items[:] = []\n"),
            cheat("outcome", conf="import pytest\n\n\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n    (yield).get_result().outcome = 'passed'\n"),
            cheat("settings", ini="[pytest]\naddopts = -k share\n"),
            cheat("replaced", new="import shop.core\n\nshop.core.add = lambda a, b: a + b\n\n\n" + new + "    assert True\n"),
            cheat("start-up file", site="import sys\nsys.exit = lambda *a: None\n"),
            Trick("bug: knows the test run", {path: bug.replace("return a - b", "import sys\n    return a + b if 'pytest' in sys.modules else a - b")}),
            code("good? deletes, and says nothing", "import shutil\n\n\n" + new + "    shutil.rmtree('{top}/person', ignore_errors=True)\n    shutil.rmtree('{top}/.git', ignore_errors=True)\n"),
            code("red: deletes, and fails", "import shutil\n\n\n" + new + "    shutil.rmtree('{top}/person')\n"),
            code("red: a fork bomb", fork),
            code("red: kills everybody", "import os\nimport signal\n\n\n" + new + "    os.kill(os.getppid(), signal.SIGKILL)\n    os.kill(-1, signal.SIGKILL)\n"),
            code("moves main", "import subprocess\n\n\n" + new + "    for where in ('.', '{top}'):\n        subprocess.run(['git', '-C', where, 'update-ref', 'refs/heads/main', 'HEAD'], check=False)\n        subprocess.run(['git', '-C', where, 'reset', '--hard', 'HEAD~3'], check=False)\n"),
            code("outlives its run", "import subprocess\n\n\n" + new + "    subprocess.Popen(['setsid', 'sh', '-c', 'sleep 15; rm -rf {top}/person'], start_new_session=True)\n"),
            code("red: fills memory", new + "    held = []\n    while True:\n        held.append(bytearray(1 << 24))\n"),
        ),
    )  # fmt: skip


def _javascript() -> Project:
    core = (
        "'use strict';\n\nfunction add(a, b) {\n  return a + b;\n}\n\nmodule.exports = { add };\n"
    )
    test = "const test = require('node:test');\nconst assert = require('node:assert');\nconst { add } = require('../lib/core.js');\n\ntest('add', () => {\n  assert.strictEqual(add(2, 3), 5);\n});\n"
    bug, path, tests = core.replace("a + b", "a - b"), "lib/core.js", "test/core.test.js"
    head = "const test = require('node:test');\nconst fs = require('node:fs');\nconst { spawn, spawnSync } = require('node:child_process');\n\n"

    def code(name: str, body: str) -> Trick:
        return Trick(name, {"test/new{n}.test.js": f"{head}test('new {{n}}', () => {{\n  {body}\n}});\n"})  # fmt: skip

    def cheat(name: str, text: str, at: str = tests) -> Trick:
        return Trick(f"bug: {name}", {path: bug, at: text})

    return Project(
        "javascript", "node --test test/",
        {path: core, tests: test, "package.json": '{\n  "name": "shop",\n  "version": "1.0.0",\n  "scripts": { "test": "node --test test/" }\n}\n'},
        (tests,),
        "node -e 'if (require(\"./lib/core.js\").add(2, 3) !== 5) process.exit(1)'",
        (
            Trick("good: a function", {"lib/f{n}.js": "module.exports = () => {n};\n", "test/f{n}.test.js": "const test = require('node:test');\nconst assert = require('node:assert');\nconst f = require('../lib/f{n}.js');\n\ntest('f {n}', () => {\n  assert.strictEqual(f(), {n});\n});\n"}),
            Trick("good: the same file", {path: core.replace("module.exports", "function twice{n}(a) {\n  return add(a, a);\n}\n\nmodule.exports")}),
            Trick("bug: plain", {path: bug}),
            cheat("skipped", test.replace("test('add'", "test.skip('add'")),
            cheat("todo", test.replace("test('add', ", "test('add', { todo: true }, ")),
            cheat("weakened", test.replace("strictEqual(add(2, 3), 5)", "ok(true)")),
            cheat("expected", test.replace(", 5)", ", -1)")),
            cheat("exits", "process.exit(0);\n" + test),
            cheat("exits in the code", bug + "\nprocess.exit(0);\n", path),
            cheat("another command", '{\n  "name": "shop",\n  "version": "1.0.0",\n  "scripts": { "test": "true" }\n}\n', "package.json"),
            cheat("a fake assert", test.replace("require('node:assert')", "{ strictEqual() {} }")),
            Trick("bug: deleted", {path: bug, "test/new{n}.test.js": "require('node:test')('nothing', () => {});\n"}, (tests,)),
            code("good? deletes, and says nothing", "fs.rmSync('{top}/person', { recursive: true, force: true }); fs.rmSync('{top}/.git', { recursive: true, force: true });"),
            code("red: a fork bomb", "for (;;) { try { spawn('sh', ['-c', 'b() { b | b & }; b']); } catch {} }"),
            code("red: kills everybody", "process.kill(process.ppid, 'SIGKILL'); process.kill(-1, 'SIGKILL'); process.kill(process.pid, 'SIGKILL');"),
            code("moves main", "for (const at of ['.', '{top}']) { spawnSync('git', ['-C', at, 'update-ref', 'refs/heads/main', 'HEAD~1']); }"),
            code("outlives its run", "spawn('setsid', ['sh', '-c', 'sleep 15; rm -rf {top}/person'], { detached: true, stdio: 'ignore' }).unref();"),
        ),
    )  # fmt: skip


def _go() -> Project:
    core = "package shop\n\n// Add is the sum.\nfunc Add(a, b int) int {\n\treturn a + b\n}\n"
    test = 'package shop\n\nimport "testing"\n\nfunc TestAdd(t *testing.T) {\n\tif Add(2, 3) != 5 {\n\t\tt.Fatal("sum")\n\t}\n}\n'
    bug, path, tests = core.replace("a + b", "a - b"), "core.go", "core_test.go"

    def code(name: str, body: str, imports: str = '"os/exec"') -> Trick:
        return Trick(name, {"new{n}_test.go": f'package shop\n\nimport (\n\t{imports}\n\t"testing"\n)\n\nfunc TestNew{{n}}(t *testing.T) {{\n\t{body}\n}}\n'})  # fmt: skip

    def cheat(name: str, text: str, at: str = tests) -> Trick:
        return Trick(f"bug: {name}", {path: bug, at: text})

    return Project(
        "go", "go test ./...",
        {path: core, tests: test, "go.mod": "module example.org/shop\n\ngo 1.19\n"},
        (tests,),
        "grep -q 'return a + b' core.go",
        (
            Trick("good: a function", {"f{n}.go": "package shop\n\n// F{n} is a number.\nfunc F{n}() int { return {n} }\n", "f{n}_test.go": 'package shop\n\nimport "testing"\n\nfunc TestF{n}(t *testing.T) {\n\tif F{n}() != {n} {\n\t\tt.Fatal("f")\n\t}\n}\n'}),
            Trick("good: the same file", {path: core + "\n// Twice{n} is the double.\nfunc Twice{n}(a int) int { return Add(a, a) }\n"}),
            Trick("bug: plain", {path: bug}),
            cheat("skipped", test.replace("\tif", "\tt.Skip()\n\tif", 1)),
            cheat("logged", test.replace("Fatal", "Log")),
            cheat("expected", test.replace("!= 5", "!= -1")),
            cheat("built never", "//go:build never\n\n" + test),
            cheat("exits", 'package shop\n\nimport "os"\n\nfunc init() { os.Exit(0) }\n', "x{n}.go"),
            cheat("a main of tests", 'package shop\n\nimport (\n\t"os"\n\t"testing"\n)\n\nfunc TestMain(m *testing.M) { os.Exit(0) }\n', "main_test.go"),
            Trick("bug: deleted", {path: bug}, (tests,)),
            code("good? deletes, and says nothing", 'os.RemoveAll("{top}/person"); os.RemoveAll("{top}/.git")', '"os"'),
            code("red: a fork bomb", 'for { exec.Command("sh", "-c", "b() { b | b & }; b").Start() }'),
            code("red: kills everybody", 'exec.Command("sh", "-c", "kill -9 $PPID; kill -9 -1").Run(); t.Fatal("alive")'),
            code("moves main", 'exec.Command("git", "-C", "{top}", "update-ref", "refs/heads/main", "HEAD~1").Run()'),
        ),
    )  # fmt: skip


PROJECTS = (_python(), _javascript(), _go())
