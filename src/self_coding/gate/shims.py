"""What stands before the programs that run tests: it hands their own report to us.

A shim is a shell script on PATH, before the program whose name it has. Where that is about to run
tests, it is started so that it reports each of them, into a named pipe that we read along: what
was written there nobody can take back, and no process of the tests is told where it is. Anything
else goes straight to the program.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

PIPE = "reports"  # in the folder beside the tree
_LOCK = "reports.lock"
_NESTED = "SELF_CODING_INSIDE"  # tests that run tests of their own are not ours

_START = """#!/bin/sh
# Put here by self-coding: it runs {name}, and tells how its tests went.
pipe='{pipe}'
real=
IFS=:
for folder in $PATH; do
  [ -x "$folder/{name}" ] && [ "$folder/{name}" != '{shim}' ] && real=$folder/{name} && break
done
unset IFS
[ -n "$real" ] || {{ echo '{name}: not found' >&2; exit 127; }}
[ -z "${nested}" ] && ( : >>"$pipe" ) 2>/dev/null || exec "$real" "$@"
begin() {{
  # Several at a time would write into each other's reports: one waits for the other, unless it is
  # that one's own child, which was given a clean environment.
  exec 9<'{lock}'
  if command -v flock >/dev/null && ! flock -n 9; then
    above=$PPID
    while [ "${{above:-0}}" -gt 1 ]; do
      case $(tr '\\0' ' ' <"/proc/$above/cmdline") in *'{folder}/bin/'*) return 1;; esac
      above=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$above/status")
    done
    flock 9
  fi
  export {nested}=1
  printf '\\n\\036begin %s %s\\n' "$1" "$PWD" >>"$pipe"
}}
# Tests that are to run first, as this program is told of them; what else was asked stays.
chosen() {{ [ "$PWD" = '{top}' ] && [ -n "$1" ] && printf '\\036chosen\\n' >>"$pipe"; }}
end() {{ printf '\\n\\036end %s\\n' "$1" >>"$pipe"; exit "$1"; }}
"""
_GO = """
[ "$1" = test ] || exec "$real" "$@"
shift
shown=/dev/null
for word; do
  case $word in
    -c|-h|-list|-list=*) exec "$real" test "$@";;
    -json|-json=true) shown=/dev/fd/4;;  # it was asked for: somebody reads it
  esac
done
begin go || exec "$real" test "$@"
case " $* " in *' ./... '*) if chosen {chosen}; then
  for word; do
    shift
    [ "$word" = ./... ] && set -- "$@" {chosen} || set -- "$@" "$word"
  done
fi;; esac
exec 4>&1 5>&2
# What the compiler says is part of the report, unless the stream is somebody's own.
[ "$shown" = /dev/null ] && errors=1 || errors=5
status=$(
  {{ {{ "$real" test -json "$@" 2>&$errors 3>&- 4>&- 5>&- 9<&-; echo $? >&3; }} |
    tee -a "$pipe" >$shown; }} 3>&1
)
end "$status"
"""
_CARGO = """
case "$1" in +*) [ "$2" = test ];; *) [ "$1" = test ];; esac || exec "$real" "$@"
for word; do case $word in --no-run|--list|--help|-h) exec "$real" "$@";; esac; done
begin cargo || exec "$real" "$@"
# Quiet and terse, cargo prints dots where it would name each test.
asked=
for word; do
  shift
  case $asked$word in
    --format) asked=--format;;
    -q|--quiet|--no-fail-fast|--format*) asked=;;
    *) asked=; set -- "$@" "$word";;
  esac
done
# What fails in one binary must not hide the tests of the next.
if [ "$1" = test ]; then shift; set -- test --no-fail-fast "$@"
else chain=$1; shift 2; set -- "$chain" test --no-fail-fast "$@"; fi
case " $* " in
  *' --lib '*|*' --bin'*|*' --test'*|*' --example'*|*' --bench'*|*' --doc '*);;
  *' -p '*|*' --package'*|*' --all'*|*' --workspace '*);;
  *)
    if [ "$1" = test ] && chosen {chosen}; then
      shift 2
      set -- test --no-fail-fast {chosen} "$@"
    fi;;
esac
exec 4>&1
export CARGO_TERM_COLOR=never CARGO_TERM_QUIET=false
status=$( {{ {{ "$real" "$@" 2>&1 3>&- 4>&- 9<&-; echo $? >&3; }} | tee -a "$pipe" >&4; }} 3>&1 )
end "$status"
"""
_NODE = """
runner= reporter= destination= named=
for word; do
  case $word in
    --test) [ -n "$runner" ] || runner=node;;
    --test-reporter=*|--test-reporter) reporter=1;;
    --test-reporter-destination*) destination=1;;
    -*) ;;
    *)
      case ${{word##*/}} in
        vitest|vitest.mjs) [ -n "$runner" ] || runner=vitest;;
        jest|jest.js|react-scripts) [ -n "$runner" ] || runner=jest;;
        mocha|mocha.js|_mocha) [ -n "$runner" ] || runner=mocha;;
        ava) [ -n "$runner" ] || exec "$real" "$@" --tap;;  # which its output is read for
        *) named=1;;
      esac
      break;;
  esac
done
[ -n "$runner" ] && begin "$runner" || exec "$real" "$@"
case $runner in
  node)
    # Node pairs reporters and destinations by their order: ours is the first of both.
    [ -n "$reporter" ] || set -- --test-reporter=spec --test-reporter-destination=stdout "$@"
    [ -z "$reporter" ] || [ -n "$destination" ] || set -- --test-reporter-destination=stdout "$@"
    set -- --test-reporter='{folder}/node_reporter.mjs' --test-reporter-destination="$pipe" "$@";;
  vitest) set -- "$@" --reporter=default --reporter=json --outputFile.json="$pipe";;
  jest) set -- "$@" --json --outputFile="$pipe";;
  mocha) set -- "$@" --require '{folder}/mocha_hook.cjs';;
esac
if [ -z "$named" ] && chosen {chosen}; then set -- "$@" {chosen}; fi
"$real" "$@" 9<&-
end $?
"""
_REPORTER = """// Writes one line of JSON for each test that ended; put here by self-coding.
export default async function* report(source) {
  for await (const { type, data } of source) {
    if (!["test:start", "test:pass", "test:fail"].includes(type)) continue;
    const error = data.details?.error;
    const cause = error?.cause ?? error;
    yield JSON.stringify({
      type, name: data.name, nesting: data.nesting, file: data.file, line: data.line,
      suite: data.details?.type === "suite", seconds: (data.details?.duration_ms ?? 0) / 1000,
      skip: data.skip !== undefined && data.skip !== false, todo: data.todo !== undefined,
      message: String(cause?.message ?? cause ?? ""), stack: String(cause?.stack ?? ""),
      how: error?.failureType,
    }) + "\\n";
  }
}
"""
# Mocha knows one reporter, which is the project's: this listens beside it.
_MOCHA = """// Writes one line of JSON for each test of mocha that ended; put here by self-coding.
const fs = require("fs");
const path = require("path");
const from = [process.cwd(), path.dirname(fs.realpathSync(process.argv[1]))];
const Mocha = require(require.resolve("mocha", { paths: from }));
const write = (line) => fs.appendFileSync("{pipe}", JSON.stringify(line) + "\\n");
const told = (test, type, error) => write({
  type,
  names: test.titlePath ? test.titlePath() : [test.title],
  file: test.file,
  hook: test.type === "hook",
  seconds: (test.duration || 0) / 1000,
  message: error && String(error.message || error),
  stack: error && String(error.stack || ""),
});
const broken = (error) => {
  write({ type: "broken", message: String(error.message), stack: String(error.stack) });
  throw error;
};
const { run, loadFilesAsync } = Mocha.prototype;
Mocha.prototype.loadFilesAsync = function (...rest) {
  return loadFilesAsync.apply(this, rest).catch(broken);
};
Mocha.prototype.run = function (...rest) {
  const Reporter = this._reporter;
  this._reporter = function (runner, options) {
    runner.on("pass", (test) => told(test, "passed"));
    runner.on("fail", (test, error) => told(test, "failed", error));
    runner.on("pending", (test) => told(test, "skipped"));
    runner.once("end", () => write({ type: "end" }));
    return new Reporter(runner, options);
  };
  return run.apply(this, rest);
};
"""
_PROVE = """exec "$real" -v --merge "$@"  # its output has the TAP then, each failure said below it
"""
_SCRIPTS = {"go": _GO, "cargo": _CARGO, "node": _NODE, "prove": _PROVE}


def _chosen(name: str, files: Sequence[str], tree: Path) -> list[str]:
    """Return the words by which a program runs the tests of some files alone; none for all."""
    if name == "node":
        return [each for each in files if each.endswith((".js", ".ts", ".mjs", ".cjs", ".mts"))]
    if name == "go":
        return sorted({f"./{Path(each).parent}" for each in files if each.endswith(".go")})
    words: list[str] = []
    for each in files:
        folder, _, file = each.rpartition("/")
        if folder == "tests" and file.endswith(".rs"):
            words += ["--test", file.removesuffix(".rs")]
        elif each.endswith(".rs") and (tree / "src/lib.rs").exists() and each.startswith("src/"):
            words += ["--lib"] if "--lib" not in words else []
        elif each.endswith(".rs"):  # of another package, or a program: all of them
            return []
    return words


def put_shims(
    folder: Path, path: str, tree: Path, top: str = "", select: Sequence[str] = ()
) -> None:
    """Make the pipe, and a shim for each program that is found on `path`.

    Args:
        folder: read-only for the tests, its `bin` first on their PATH.
        path: a PATH as the tests have it.
        tree: the checkout, which is at `top` for the tests.
        select: files or ids of the tests that are to run alone; all where it is empty.
    """
    files = sorted({each.partition("::")[0] for each in select})
    os.mkfifo(folder / PIPE)
    (folder / _LOCK).touch()
    (folder / "node_reporter.mjs").write_text(_REPORTER, encoding="utf-8")
    hook = _MOCHA.replace("{pipe}", str(folder / PIPE))
    (folder / "mocha_hook.cjs").write_text(hook, encoding="utf-8")
    for name, script in _SCRIPTS.items():
        if shutil.which(name, path=path) is not None:
            shim = folder / "bin" / name
            text = (_START + script).format(
                name=name,
                pipe=folder / PIPE,
                lock=folder / _LOCK,
                shim=shim,
                folder=folder,
                nested=_NESTED,
                top=top,
                chosen=shlex.join(_chosen(name, files, tree)),
            )
            shim.write_bytes(os.fsencode(text))  # a path may be no UTF-8
            shim.chmod(0o755)
