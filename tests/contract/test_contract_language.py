"""A language is one new file and one row: the index asks for nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import self_coding

TOY = """
from self_coding.languages import Language, Resolver, Scan, pack_import
from self_coding.values.code import ModuleInfo


class Layout(Resolver):
    def __init__(self, files):
        self.files = files

    def module(self, path):
        return path.removesuffix(".toy")

    def resolve(self, path, module, names):
        return tuple(self.files[each] for each in (f"{module}.toy",) if each in self.files)

    def anywhere(self, module, names):
        return self.resolve("", module, names)

    def literal(self, path, text):
        return ()


class Toy(Language):
    suffixes = (".toy",)
    manifest = "toy.cfg"
    test_settings = ("toy.cfg",)
    settings = frozenset(test_settings)

    def is_test(self, path):
        return path.startswith("check_")

    is_test_module = is_test

    def tests_named_after(self, path):
        return (f"check_{path}",)

    def stem(self, path):
        return path.removesuffix(".toy")

    def scan(self, source, path=""):
        lines = source.decode().splitlines()
        imports = [pack_import(line[4:], ()) for line in lines if line.startswith("use ")]
        names = [line[4:] for line in lines if line.startswith("fun ")]
        symbols = [f"{n}\\tdef\\t{name}\\t" for n, name in enumerate(names, 1)]
        packed = "\\n".join(symbols), names, "\\n".join(imports)
        return Scan(len(lines), *packed, "", [], source.decode())

    def parse(self, source, path, module):
        return ModuleInfo(file_path=path, module_name=module)

    def resolver(self, files, roots=()):
        return Layout(files)


LANGUAGE = Toy()
"""
ASK = """
import asyncio, json
from self_coding import CodebaseIndexer

async def ask():
    index = CodebaseIndexer("tree", "index.db")
    counts = await index.index_all()
    info = await index.get_module_info("base.toy")
    return [
        counts["indexed"], await index.get_dependency_chain("base.toy"),
        await index.affected_tests(["base.toy"]), await index.get_relevant_files("frobnicate"),
        info.module_name, info.test_coverage, (await index.impact(["toy.cfg"])).tests,
        await index.get_dependency_chain("one.py"),
    ]

print(json.dumps(asyncio.run(ask())))
"""


STUB = """
from self_coding.languages import Language


class Stub(Language):
    suffixes = (".stub",)

    def is_test(self, path):
        return path.startswith("spec/")


LANGUAGE = Stub()
"""
ASK_STUB = """
import asyncio, json
from self_coding import CodebaseIndexer

async def ask():
    index = CodebaseIndexer("tree", "index.db")
    counts = await index.index_all()
    impact = await index.impact(["lib.stub"])
    users = await index.symbol_users("frobnicate")
    return [
        counts["indexed"], await index.get_relevant_files("frobnicate"), impact.tests,
        impact.complete, [(use.path, use.line) for use in users.unknown],
    ]

print(json.dumps(asyncio.run(ask())))
"""


def _answers(folder: Path, files: dict[str, str], ask: str) -> object:
    for path, text in files.items():
        (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / path).write_text(text)
    argv = [sys.executable, "-c", ask]
    # A copy of the package is not measured: it would count as so much code that nothing ran.
    env = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _with_language(folder: Path, name: str, source: str) -> None:
    """Put a copy of the package with one more language, and its row, into a folder."""
    package = folder / "self_coding"
    shutil.copytree(Path(self_coding.__file__).parent, package)
    (package / "languages" / f"{name}.py").write_text(source)
    table, last = package / "languages" / "__init__.py", '    ("java", (".java",), ()),\n'
    text = table.read_text()
    assert last in text
    table.write_text(text.replace(last, f'{last}    ("{name}", (".{name}",), ("{name}.cfg",)),\n'))


def test_suffixes_and_tests_are_enough(tmp_path: Path) -> None:
    """A language of two members is indexed and searched; what it does not know is a blind spot."""
    _with_language(tmp_path, "stub", STUB)
    files = {
        "lib.stub": "do frobnicate\n",
        "spec/lib.stub": "frobnicate twice\n",
        "one.py": "def frobnicate(): ...\n",
    }
    indexed, relevant, tests, complete, users = _answers(tmp_path, files, ASK_STUB)
    assert (indexed, tests, complete) == (3, ["spec/lib.stub"], False)
    assert {"lib.stub", "one.py"} <= set(relevant)
    assert sorted(users) == [["lib.stub", 1], ["spec/lib.stub", 1]]


def test_a_language_is_one_new_file_and_a_row(tmp_path: Path) -> None:
    """With one more module and row in `languages`, its files are indexed beside Python's."""
    _with_language(tmp_path, "toy", TOY)
    files = {
        "base.toy": "fun frobnicate\n",
        "top.toy": "use base\n",
        "check_top.toy": "use top\n",
        "one.py": "x = 1\n",
        "two.py": "import one\n",
    }
    assert _answers(tmp_path, files, ASK) == [
        5,
        ["top.toy", "check_top.toy"],
        ["check_top.toy"],
        ["base.toy"],
        "base",
        None,
        ["check_top.toy"],
        ["two.py"],
    ]
