"""Imports of other languages than Python against what their own tools resolve.

    python bench/languages.py go FOLDER             a module: `go list -json ./...`
    python bench/languages.py typescript FOLDER     a project: `tsc --traceResolution`
    python bench/languages.py rust FOLDER           crates: what `rustc --emit dep-info` reads
    python bench/languages.py java FOLDER [MODULE]  sources: what `jdeps -v` finds in their classes,
                                                    compiled here, or those of a JDK's module
    python bench/languages.py cost FOLDER           CPU of the scans, and of `refresh()`, beside the
                                                    bare parse

Prints precision and recall of the edges. Go is compared package by package, Rust as the closure of
the modules below a crate's root, TypeScript and Java file by file.
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from self_coding.adapters.db import Database
from self_coding.codebase_indexer import store
from self_coding.codebase_indexer.refresh import refresh
from self_coding.languages import language_of, syntax_tree

Edges = set[tuple[str, str]]


def edges_of(folder: Path) -> tuple[dict[int, str], Edges]:
    with tempfile.TemporaryDirectory() as place:
        database = Database(
            Path(place) / "i.db", application=store.APPLICATION, migrations=store.MIGRATIONS
        )
        refresh(database, folder, None)
        with database.read() as connection:
            paths = {file: path for path, file in store.paths(connection).items()}
            pairs = {(paths[a], paths[b]) for a, b in store.pairs(connection)}
        database.close()
    return paths, pairs


def go(folder: Path) -> tuple[Edges, Edges]:
    done = subprocess.run(
        ["go", "list", "-e", "-json", "./..."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    decoder, at, packages = json.JSONDecoder(), 0, []
    while at < len(done.stdout.rstrip()):
        package, at = decoder.raw_decode(done.stdout, at)
        packages.append(package)
        at += len(done.stdout[at:]) - len(done.stdout[at:].lstrip())
    places = {
        each["ImportPath"]: Path(each["Dir"]).relative_to(folder).as_posix() for each in packages
    }
    truth = set()
    built = set()
    for each in packages:
        place = places[each["ImportPath"]]
        names = ("GoFiles", "CgoFiles", "TestGoFiles", "XTestGoFiles")
        built |= {
            f"{place}/{name}".removeprefix("./") for key in names for name in each.get(key) or ()
        }
        for key in ("Imports", "TestImports", "XTestImports"):
            truth |= {(place, places[name]) for name in each.get(key) or () if name in places}
    _, pairs = edges_of(folder)
    ours = {
        (str(Path(a).parent), str(Path(b).parent)) for a, b in pairs if a in built and b in built
    }
    return {e for e in ours if e[0] != e[1]}, {e for e in truth if e[0] != e[1]}


def typescript(folder: Path) -> tuple[Edges, Edges]:
    paths, pairs = edges_of(folder)
    tsc = ["npx", "--no-install", "tsc", "--traceResolution", "--noEmit", "--allowJs"]
    given = ["-p", "."] if (folder / "tsconfig.json").exists() else sorted(paths.values())
    done = subprocess.run([*tsc, *given], cwd=folder, capture_output=True, text=True)
    truth, importer = set(), ""
    for line in done.stdout.splitlines():
        if match := re.match(r"=+ Resolving module '.*?' from '(.*?)'", line):
            importer = match[1]
        elif match := re.match(r"=+ Module name '.*?' was successfully resolved to '(.*?)'", line):
            truth.add((importer, match[1]))
    inside = set(paths.values())
    top = f"{folder}/"
    named = {(a.removeprefix(top), b.removeprefix(top)) for a, b in truth}
    read = {a for a, _ in named}
    truth = {(a, b) for a, b in named if a in inside and b in inside and a != b}
    # Of `a.js` and what declares it, `a.d.ts`, the compiler names one.
    ours = {(a, b) for a, b in pairs if a in read}
    for a, b in ours:
        stem = b.rpartition(".")[0].removesuffix(".d")
        twins = {(a, stem + end) for end in (".ts", ".tsx", ".d.ts")}
        truth |= {(a, b)} if b not in truth and twins & truth else set()
    return ours, truth


def rust(folder: Path) -> tuple[Edges, Edges]:
    _, pairs = edges_of(folder)
    ours, truth = set(), set()
    place = Path(tempfile.mkdtemp()) / "d"
    for root in sorted(folder.rglob("src/lib.rs")):
        place.write_text("")
        cargo = (root.parent.parent / "Cargo.toml").read_text("utf-8")
        features = re.findall(r"(?m)^([\w-]+) = \[|^\[dependencies\.([\w-]+)\]", cargo)
        argv = [
            "rustc",
            "--edition=2021",
            "--crate-type=lib",
            str(root),
            f"--emit=dep-info={place}",
        ]
        for name in {word for pair in features for word in pair if word} - {"nightly"}:
            argv += ["--cfg", f'feature="{name}"']
        told = ""
        for more in ([], ["--test"]):
            place.write_text("")
            subprocess.run([*argv, *more], capture_output=True, text=True, cwd=folder)
            told += place.read_text()
        top = root.relative_to(folder).as_posix()
        read = {
            Path(word).resolve().relative_to(folder).as_posix()
            for word in told.split()
            if word.endswith(".rs") and Path(folder, word).resolve().is_relative_to(folder)
        }
        if not read:
            continue
        truth |= {(top, each) for each in read - {top}}
        seen, waiting = {top}, [top]
        while waiting:
            here = waiting.pop()
            for a, b in pairs:
                # The compiler is not told of other crates.
                is_own = b in read or b.startswith(f"{top.rpartition('/')[0]}/")
                if a == here and b not in seen and is_own:
                    seen.add(b)
                    waiting.append(b)
        ours |= {(top, each) for each in seen - {top}}
    return ours, truth


def java(folder: Path) -> tuple[Edges, Edges]:
    paths, pairs = edges_of(folder)
    own = sorted(path for path in paths.values() if path.endswith(".java"))
    jdeps = ["jdeps", "--multi-release", "base", "-v"]
    with tempfile.TemporaryDirectory() as out:
        jars = ":".join(map(str, Path("/usr/share/java").glob("*.jar")))
        if len(sys.argv) > 3:
            argv = [*jdeps, "-m", sys.argv[3]]
        else:
            javac = ["javac", "-nowarn", "-proc:none", "-cp", jars, "-d", out, *own]
            subprocess.run(javac, cwd=folder, capture_output=True, check=True)
            argv = [*jdeps, "-cp", jars, out]
        done = subprocess.run(argv, capture_output=True, text=True)
    places = {}
    for path in own:
        package = re.search(
            r"(?m)^\s*package\s+([\w.]+)", (folder / path).read_text("utf-8", "replace")
        )
        places[f"{package[1] + '.' if package else ''}{Path(path).stem}"] = path
    truth = set()
    for line in done.stdout.splitlines():
        if match := re.match(r"\s+(\S+)\s+-> (\S+)", line):
            a, b = (places.get(name.partition("$")[0]) for name in match.groups())
            if a and b and a != b:
                truth.add((a, b))
    # A type that the source never names follows from others: it is reached through them.
    texts = {path: (folder / path).read_text("utf-8", "replace") for path in own}
    named = {(a, b) for a, b in truth if re.search(rf"\b{Path(b).stem}\b", texts[a])}
    found = len(named & pairs) / max(1, len(named))
    print(f"java: {len(named)} of {len(truth)} edges are named in the source, recall {found:.3f}")
    return pairs, truth


def cost(folder: Path) -> Iterator[str]:
    gc.disable()  # as a refresh does
    all_parsed = 0.0
    for suffix in (".ts", ".tsx", ".js", ".go", ".rs", ".java"):
        sources = [
            (str(p), p.read_bytes()) for p in sorted(folder.rglob(f"*{suffix}")) if p.is_file()
        ]
        if not sources:
            continue
        language = language_of(f"a{suffix}")
        parser = syntax_tree._parser(*language.grammars[suffix])
        language.scan(sources[0][1], sources[0][0])
        started = time.process_time()
        for _, source in sources:
            parser.parse(source)
        parsed = time.process_time()
        for path, source in sources:
            language.scan(source, path)
        scanned = time.process_time()
        bare = parsed - started
        ratio = (scanned - parsed) / bare
        all_parsed += bare
        yield f"{suffix} {len(sources)} files: parse {bare:.2f} s, scan {ratio:.2f} x"
    started = time.process_time()
    edges_of(folder)
    ratio = (time.process_time() - started) / all_parsed
    yield f"refresh of all, from nothing: {ratio:.2f} x the parse of {all_parsed:.2f} s"


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    if what == "cost":
        print("\n".join(cost(folder)))
        return
    ours, truth = {"go": go, "typescript": typescript, "rust": rust, "java": java}[what](folder)
    both = len(ours & truth)
    print(f"{what}: {len(truth)} true edges, {len(ours)} of ours, {both} in both")
    print(f"precision {both / max(1, len(ours)):.3f}, recall {both / max(1, len(truth)):.3f}")
    for name, rest in (("missed", truth - ours), ("too many", ours - truth)):
        for edge in sorted(rest)[:10]:
            print(f"  {name}: {edge[0]} -> {edge[1]}")


if __name__ == "__main__":
    main()
