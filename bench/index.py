"""Figures of the index beside its peers: CPU, import graph, affected tests.

    python bench/index.py cost TREE [--ruff PATH] [--python PATH]     a git working tree
    python bench/index.py graph ROOT EDGES.tsv                        EDGES of bench/import_truth.py
    python bench/index.py tests ROOT DATA      coverage.py's, with a context for each test file

CPU is user + system seconds of whole processes, children included; every row of `cost` is the
least of five runs, the peers' in between ours.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SRC = HERE.parent / "src"
sys.path.insert(0, str(SRC))

_AST = (
    "import ast,subprocess,sys,warnings;warnings.simplefilter('ignore')\n"
    "for p in subprocess.run(['git','ls-files','-z','*.py'],stdout=-1).stdout.split(b'\\0')[:-1]:\n"
    "    try: ast.parse(open(p,'rb').read())\n"
    "    except (SyntaxError,ValueError): pass\n"
)
_OURS = (
    "import sys;sys.path.insert(0,{src!r})\n"
    "from pathlib import Path\n"
    "from self_coding.codebase_indexer.refresh import Cache, refresh\n"
    "print(Cache(Path({db!r}),ours=False).use("
    "lambda d: refresh(d,Path({tree!r}),None,parse={parse})))\n"
)
_API = (
    "import sys,asyncio;sys.path.insert(0,{src!r})\n"
    "from self_coding import CodebaseIndexer\n"
    "print(asyncio.run(CodebaseIndexer({tree!r},{db!r}).{call}))\n"
)


def cpu(argv: list[str], cwd: Path) -> tuple[float, int]:
    """CPU seconds of a process with its children, and its peak in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as where it is installed
    run = subprocess.Popen(
        argv, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(run.pid, 0)
    run.returncode = 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, usage.ru_maxrss // 1024


def cost(tree: Path, ruff: str | None, python: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-index-"))
    files = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=tree, capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]
    victim = tree / max(files, key=lambda path: path.count("/") * 100 + len(path))

    def ours(db: str, *, parse: bool = False) -> list[str]:
        code = _OURS.format(src=str(SRC), db=str(folder / db), tree=str(tree), parse=parse)
        return [python, "-c", code]

    def api(db: str, call: str) -> list[str]:
        code = _API.format(src=str(SRC), db=str(folder / db), tree=str(tree), call=call)
        return [python, "-c", code]

    def fresh(db: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            (folder / (db + suffix)).unlink(missing_ok=True)

    def touch() -> None:
        victim.write_text(victim.read_text() + "\n# changed\n")

    rows: dict[str, list[tuple[float, int]]] = defaultdict(list)
    original = victim.read_bytes()
    for _ in range(5):
        if ruff:
            rows["ruff analyze graph"].append(
                cpu([ruff, "analyze", "graph", "--isolated", "."], tree)
            )
        fresh("one.db")
        rows["refresh(), first"].append(cpu(ours("one.db"), tree))
        rows["ast.parse of all"].append(cpu([python, "-c", _AST], tree))
        fresh("two.db")
        rows["index_all(), first"].append(cpu(ours("two.db", parse=True), tree))
        cpu(["git", "status", "--porcelain"], tree)  # it writes its index anew after a change
        cpu(ours("one.db"), tree)
        rows["git status"].append(cpu(["git", "status", "--porcelain"], tree))
        rows["nothing changed"].append(cpu(ours("one.db"), tree))
        rows["nothing changed, through the async API"].append(cpu(api("one.db", "refresh()"), tree))
        touch()
        rows["git status, one changed"].append(cpu(["git", "status", "--porcelain"], tree))
        rows["one changed"].append(cpu(ours("one.db"), tree))
        victim.write_bytes(original)
        rows["python -c pass"].append(cpu([python, "-c", "pass"], tree))
        rows["dependents of one file"].append(
            cpu(api("one.db", f"get_dependency_chain({str(victim.relative_to(tree))!r})"), tree)
        )
    for name, runs in rows.items():
        spent, _ = min(runs)
        print(
            f"{name:42} {spent:7.3f} s   {max(p for _, p in runs):4d} MiB   "
            f"{' '.join(f'{run[0]:.3f}' for run in runs)}"
        )
    shutil.rmtree(folder)


def statements(tree: ast.AST, *, top: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Every import statement that runs with its module, and whether it does so in any case."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, top
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(ast.Module(node.orelse, []), top=False)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef | ast.ExceptHandler):
            yield from statements(node, top=False)


def graph(root: Path, truth_file: Path) -> None:
    from self_coding.codebase_indexer import store
    from self_coding.codebase_indexer.reader import IndexReader
    from self_coding.codebase_indexer.refresh import Cache, refresh

    truth: set[tuple[str, str]] = set()
    ran: set[str] = set()
    for line in truth_file.read_text().splitlines():
        importer, _, target = line.partition("\t")
        ran.add(importer)
        if target:
            truth.add((importer, target))
    folder = Path(tempfile.mkdtemp(prefix="bench-index-"))
    cache = Cache(folder / "index.db", ours=False)
    cache.use(lambda database: refresh(database, root, None))
    with cache.use(lambda database: database).read() as connection:
        index = IndexReader(connection, root)
        edges = {"all": set(), "module level": set(), "top": set()}
        for path in ran & index.ids.keys():
            targets = store.targets(connection, index.ids[path])
            edges["all"] |= {(path, index.paths[target]) for target in targets}
            for node, top in statements(ast.parse(index.source(path) or b"")):
                names = tuple(each.name for each in node.names)
                if isinstance(node, ast.ImportFrom):
                    found = index.resolve(path, "." * node.level + (node.module or ""), names)
                else:
                    found = [each for name in names for each in index.resolve(path, name, ())]
                edges["module level"] |= {(path, target) for target in found}
                edges["top"] |= {(path, target) for target in found if top}
        listed = {index.paths[file] for file, _, _ in store.blind_lines(connection)}
        known = set(index.ids)
    shutil.rmtree(folder)

    def with_parents(source: str, target: str) -> set[tuple[str, str]]:
        found = {(source, target)}
        place = target.rpartition("/")[0]
        while place:
            if f"{place}/__init__.py" in known:
                found.add((source, f"{place}/__init__.py"))
            place = place.rpartition("/")[0]
        return {each for each in found if each[0] != each[1]}

    said = {
        label: {pair for edge in some for pair in with_parents(*edge)}
        for label, some in edges.items()
    }
    for label, found in said.items():
        right = len(found & truth)
        print(
            f"{label:14} edges {len(found):6d}  true {len(truth):6d}  "
            f"precision {right / max(1, len(found)):.4f}  recall {right / max(1, len(truth)):.4f}"
        )
    missed = truth - said["all"]
    told = {pair for pair in missed if pair[0] in listed}
    print(f"missed {len(missed)}, of them from a file with a listed blind spot {len(told)}")
    for pair in sorted(missed - told)[:40]:
        print("  missed", *pair)
    wrong = said["module level"] - truth
    for pair in sorted(wrong)[:25]:
        print("  not run", *pair)


def tests(root: Path, data: Path) -> None:
    """Affected tests of each changed file against what ran: coverage.py's, a context a test file.

    A test file that does not even run itself is none that pytest collects, and is not counted.
    """
    import coverage

    from self_coding import CodebaseIndexer

    async def run() -> None:
        folder = Path(tempfile.mkdtemp(prefix="bench-index-"))
        indexer = CodebaseIndexer(root, folder / "index.db")
        suite = set((await indexer.impact(["pyproject.toml"])).tests)
        ran: dict[str, set[str]] = defaultdict(set)
        record = coverage.CoverageData(str(data))
        record.read()
        for measured in record.measured_files():
            if Path(measured).is_relative_to(root):
                path = Path(measured).relative_to(root).as_posix()
                ran[path] = {
                    test for tests in record.contexts_by_lineno(measured).values() for test in tests
                }
        suite = {test for test in suite if test in ran[test]}
        rows, lost = [], []
        for path, tests in sorted(ran.items()):
            needed = tests & suite
            if path in suite or not needed or not path.endswith(".py"):
                continue
            chosen = set(await indexer.affected_tests([path])) & suite
            rows.append((len(chosen & needed), len(needed), len(chosen)))
            lost += [(path, test) for test in sorted(needed - chosen)]
        hit, need, took = (sum(column) for column in zip(*rows, strict=True))
        print(
            f"{len(suite)} test files, {len(rows)} files: recall {hit / need:.4f}  "
            f"share {took / len(rows) / len(suite):.3f}  "
            f"needed {need / len(rows) / len(suite):.3f}  ratio {took / need:.2f}"
        )
        for path, test in lost[:20]:
            print("  missed", path, test)
        shutil.rmtree(folder)

    asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("cost")
    one.add_argument("tree", type=Path)
    one.add_argument("--ruff", default=shutil.which("ruff"))
    one.add_argument("--python", default=sys.executable)
    two = commands.add_parser("graph")
    two.add_argument("root", type=Path)
    two.add_argument("truth", type=Path)
    three = commands.add_parser("tests")
    three.add_argument("root", type=Path)
    three.add_argument("data", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "cost":
        cost(chosen.tree.resolve(), chosen.ruff, chosen.python)
    elif chosen.command == "graph":
        graph(chosen.root.resolve(), chosen.truth)
    else:
        tests(chosen.root.resolve(), chosen.data)


if __name__ == "__main__":
    main()
