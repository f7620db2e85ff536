"""Each block of how-to/set-up-your-project works: a good change lands, a bad one does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

import forked
from self_coding.settings import read_settings
from self_coding.testing import write_files
from tool_chains import put, works

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "set-up-your-project.md"
BLOCKS = dict(re.findall(r"(?ms)^## (.+?)\n(?:(?!^##).)*?^```toml\n(.*?)^```", PAGE.read_text()))
PYTHON = {
    "code_.py": "def add(a, b):\n    return a + b\n",
    "test_code.py": "from code_ import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
}
CASE = "import unittest\nfrom code_ import add\n\nclass T(unittest.TestCase):\n"
CASE += "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
NODE = {
    "package.json": '{"scripts": {"test": "node check.js"}}',
    "code.js": "exports.add = (a, b) => a + b\n",
    "check.js": "require('assert').equal(require('./code.js').add(1, 2), 3)\n",
}
C = {
    "code.h": "static int add(int a, int b) { return a + b; }\n",
    "check.c": '#include "code.h"\nint main(void) { return add(1, 2) != 3; }\n',
}
JAVA = {
    "src/main/java/x/Code.java": "package x;\n\npublic class Code {\n"
    "    public static int add(int a, int b) { return a + b; }\n}\n",
    "src/test/java/x/CodeTest.java": "package x;\n\nimport org.junit.*;\n\n"
    "public class CodeTest {\n    @Test public void adds() {\n"
    "        Assert.assertEquals(3, Code.add(1, 2));\n    }\n}\n",
}
DEBIAN = "/usr/share/maven-repo"  # what a distribution installs for both, without a network
POM = """<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId>
<version>1</version><properties><maven.compiler.source>11</maven.compiler.source>
<maven.compiler.target>11</maven.compiler.target></properties><dependencies><dependency>
<groupId>junit</groupId><artifactId>junit</artifactId><version>4.x</version><scope>test</scope>
</dependency></dependencies></project>"""
#: For each block: the program without which it cannot run, the file with `a + b`, the project.
PROJECTS: dict[str, tuple[str, dict[str, str]]] = {
    "pip": ("python3", PYTHON),
    "uv": ("python3", {**PYTHON, "uv.lock": "version = 1\n"}),
    "Poetry": ("python3", {**PYTHON, "poetry.lock": ""}),
    "Hatch": ("python3", {**PYTHON, "hatch.toml": ""}),
    "tox": ("python3", {**PYTHON, "tox.ini": "[tox]\n"}),
    "unittest": ("python3", {**PYTHON, "test_code.py": CASE}),
    "Django": (
        "django",
        {
            "manage.py": "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings_'\n"
            "from django.core.management import execute_from_command_line as run\n"
            "import sys\nrun(sys.argv)\n",
            "settings_.py": "SECRET_KEY = 'x'\nDATABASES = {}\n",
            "code_.py": PYTHON["code_.py"],
            "tests.py": CASE.replace("import unittest", "from django import test as unittest")
            .replace("unittest.TestCase", "unittest.SimpleTestCase"),
        },
    ),
    "npm": ("npm", NODE),
    "pnpm": ("pnpm", NODE),
    "Bun": (
        "bun",
        {
            "code.ts": "export const add = (a: number, b: number) => a + b\n",
            "code.test.ts": "import { test, expect } from 'bun:test'\n"
            "import { add } from './code'\ntest('adds', () => expect(add(1, 2)).toBe(3))\n",
        },
    ),
    "Deno": (
        "deno",
        {
            "deno.json": "{}",
            "code.ts": "export const add = (a: number, b: number) => a + b\n",
            "code_test.ts": "import { add } from './code.ts'\n"
            "Deno.test('adds', () => { if (add(1, 2) !== 3) throw new Error('no') })\n",
        },
    ),
    "Go": (
        "go",
        {
            "go.mod": "module x\n",
            "code.go": "package x\n\nfunc Add(a, b int) int { return a + b }\n",
            "code_test.go": 'package x\n\nimport "testing"\n\nfunc TestAdd(t *testing.T) {\n'
            '\tif Add(1, 2) != 3 {\n\t\tt.Fatal("no")\n\t}\n}\n',
        },
    ),
    "Cargo": (
        "cargo",
        {
            "Cargo.toml": '[package]\nname = "x"\nversion = "0.1.0"\nedition = "2021"\n',
            "Cargo.lock": 'version = 3\n\n[[package]]\nname = "x"\nversion = "0.1.0"\n',
            "src/lib.rs": "pub fn add(a: i32, b: i32) -> i32 { a + b }\n\n"
            "#[test]\nfn adds() {\n    assert_eq!(add(1, 2), 3);\n}\n",
        },
    ),
    "Maven": (
        f"{DEBIAN}/org/apache/maven/plugins/maven-surefire-plugin",
        {**JAVA, "pom.xml": POM, ".mvn/maven.config": f"-Dmaven.repo.local={DEBIAN}\n"},
    ),
    "Gradle": (
        "/usr/share/gradle/lib/plugins",
        {
            **JAVA,
            "build.gradle": "apply plugin: 'java'\n"
            f"repositories {{ maven {{ url 'file://{DEBIAN}' }} }}\n"
            "dependencies { testCompile 'junit:junit:4.x' }\n",
        },
    ),
    "make": ("make", {**C, "Makefile": "test:\n\t$(CC) -o check check.c && ./check\n"}),
    "CMake": (
        "cmake",
        {
            **C,
            "CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(x C)\n"
            "enable_testing()\nadd_executable(check check.c)\nadd_test(check check)\n",
        },
    ),
    "Meson": (
        "meson",
        {
            **C,
            "meson.build": "project('x', 'c')\ntest('adds', executable('check', 'check.c'))\n",
        },
    ),
    "Ruby": (
        "rake",
        {
            "Rakefile": "task(:test) { ruby 'check.rb' }\n",
            "code.rb": "def add(a, b) = a + b\n",
            "check.rb": "require_relative 'code'\nexit add(1, 2) == 3\n",
        },
    ),
    "Perl": (
        "prove",
        {
            "lib/Code.pm": "package Code; our ($x, $y); sub a() { $x } sub b() { $y }\n"
            "sub add { ($x, $y) = @_; return a + b }\n1;\n",
            "t/code.t": "use Test::More tests => 1; use Code; is(Code::add(1, 2), 3);\n",
        },
    ),
    "Bats": (
        "bats",
        {
            "code.sh": "add() { a=$1 b=$2; echo $((a + b)); }\n",
            "test/code.bats": '@test "adds" {\n  source ./code.sh\n  [ "$(add 1 2)" = 3 ]\n}\n',
        },
    ),
}  # fmt: skip

#: What takes many seconds each, and differs from the others by the words of its command.
LONG = {"uv", "Poetry", "Hatch", "tox", "Maven", "Gradle"}
PLACES = {"pip": ".venv", "uv": ".venv", "tox": ".tox/py311"}


def test_every_kind_has_a_block() -> None:
    """What the page promises is there, and is tried here."""
    assert BLOCKS.keys() - PROJECTS.keys() == {"Without tests"}


def _environment(folder: Path) -> None:
    """Make an environment that has what ours has."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [site] = folder.glob("lib/python3*/site-packages")
    ours = Path(sysconfig.get_path("purelib"))
    # Pytest and what it needs, as pip would have it; without the plugins that are installed beside
    # ours, which load for longer than these tests run.
    for name in ("pytest", "_pytest", "py.py", "pluggy", "iniconfig", "packaging", "pygments"):
        put(ours / name, site / name)


@pytest.mark.parametrize("kind", PROJECTS)
def test_the_block_is_read(tmp_path: Path, kind: str) -> None:
    """Every setting of the file is one that there is, with a value that it can have."""
    write_files(tmp_path, {"self-coding.toml": BLOCKS[kind]})
    [said] = re.findall(r"(?m)^test_command = (.*)$", BLOCKS[kind])
    assert read_settings(tmp_path, environ={}).test_command == json.loads(said)


@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=pytest.mark.slow if one in LONG else ()) for one in PROJECTS]
)
def test_the_block_works(tmp_path: Path, kind: str) -> None:
    """With just this file a harmless change lands and a breaking one is refused."""
    needed, files = PROJECTS[kind]
    if not (works(needed) or Path(needed).exists() or find_spec(needed)):
        pytest.skip(f"no {needed} on this machine")
    top = tmp_path / "top"
    write_files(top, {**files, "self-coding.toml": BLOCKS[kind], ".gitignore": ".venv\n.tox\n"})
    if kind in PLACES:
        _environment(top / PLACES[kind])
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=top, check=True)
    [code] = [name for name, text in files.items() if "a + b" in text]
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for edit, status in (("s/a + b/b + a/", 0), ("s/b + a/a - b/", 1)):
        command = f"sed -i '{edit}' {code}"
        done = forked.run("-q", "try", edit, "--with", command, cwd=top, env=environ)
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
