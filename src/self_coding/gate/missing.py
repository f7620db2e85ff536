"""What the machine lacks for a run that failed, and how to bring it in, in words.

What a project needs and no commit holds: programs, installed packages, files that a build made.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path, PurePosixPath

from self_coding.adapters import git
from self_coding.adapters.sandbox import hidden_folders
from self_coding.gate.python_env import OURS, choose_python
from self_coding.gate.test_report import RunRecord
from self_coding.values.verdicts import GateSettings

NO_PACKAGES = "node_modules is not there: nothing that the tests import is installed"
_NOT_FOUND = (126, 127)  # a shell's exit statuses: what is hidden at landlock is 126
_ABSENT = ("not found", "command not found", "No such file or directory", "Permission denied")
_NO_MODULE = re.compile(
    r"No module named '?([\w.]+)"
    r"|cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'"
)
# What pytest prints of an exception outside of tests: where each call was, and what was raised.
_INTERNAL = re.compile(r'(?m)^INTERNALERROR> (?:  File "([^"\n]+)"|(\w[\w.]*+: [^\n]{1,120}))')
# What resolvers say without a network: of Node, curl and git, glibc, Go.
_OFFLINE = re.compile(
    r"getaddrinfo E(?:AI_AGAIN|NOTFOUND)|Could not resolve host|dial tcp: lookup "
    r"|Temporary failure in name resolution|Name or service not known"
)
_NO_NETWORK = (
    "it asks the network, which the sandbox has not;"
    " set gate.network = true, or a test_command that leaves that part out"
)
_SAID = 100_000  # characters at the end of an output that are searched


def _installs(kind: str, way: str) -> str:
    return f"the {kind} {{}} is not on this machine; run {way}"


#: What tool chains say of what they lack, and what to do about it; `{}` is what they name.
_LACKS = (
    # Address- and ThreadSanitizer reserve terabytes, of which they use little.
    (
        r"ReserveShadowMemoryRange failed|can ?not mmap the shadow memory",
        "a sanitizer reserves more than gate.memory_bytes;"
        " set gate.memory_bytes = 0, and watch the memory yourself",
    ),
    (
        r"(?:provides package ([\w./-]{1,200}): |\bgo: )go\.mod file not found"
        r"|directory prefix \S{1,200} does not contain main module",
        "there is no go.mod, so Go knows no module; run go mod init {}, and commit it",
    ),
    (r"no matching package named `([\w-]+)`", _installs("crate", "cargo fetch")),
    (r"failed to (?:download|get) `([\w-]+)", _installs("crate", "cargo fetch")),
    (r"no required module provides package ([\w./-]+)", _installs("module", "go mod download")),
    (
        r"(?<![\w./-])([\w./-]{1,200}+@v[\w.+-]{1,100}): (?:module lookup disabled|Get |dial tcp)",
        _installs("module", "go mod download"),
    ),
    (r"\bgo: downloading ([\w./-]{1,200}+) v", _installs("module", "go mod download")),
    (
        r"Cannot find (?:module|package) '(@?[\w-][^'\n]*)'",
        _installs("package", "npm install"),
    ),
    (
        r"artifact ([\w.:-]+) has not been downloaded",
        _installs("artifact", "mvn dependency:go-offline"),
    ),
    (
        r"Could not find (?:gem ')?([\w-]++)[^\n]{0,200} in (?:locally installed gems|any)",
        _installs("gem", "bundle install"),
    ),
    (r"cannot load such file -- ([\w/-]+)", _installs("gem", "bundle install")),
)


def what_is_missing(record: RunRecord, top: Path, settings: GateSettings) -> str:
    """Return what a failed run did not find, and how to bring it in.

    Empty where its output names nothing.
    """
    if not record.exit_status:
        return ""
    if install := node_packages(top, settings.command):
        return f"{NO_PACKAGES}; {install}"
    if record.exit_status in _NOT_FOUND or "Error 127" in record.output:
        for line in reversed(record.output.splitlines()[-200:]):
            place, _, what = line.rpartition(": ")
            tool = place.rpartition(": ")[2].strip("'\"`\u2018\u2019")
            if tool and what in _ABSENT:
                return where_is(tool, top)
    if named := _module(record, top, settings):
        return named
    texts = (*(one.message for one in record.report.results), record.output)
    said = "\n".join(texts)[-_SAID:]
    for pattern, way in _LACKS:
        if found := re.search(pattern, said):
            return way.format(next(filter(None, found.groups()), "NAME"))
    asks = not settings.network and _OFFLINE.search(said)
    return _NO_NETWORK if asks else _plugin_that_ends_pytest(record.output, top, settings)


def _module(record: RunRecord, top: Path, settings: GateSettings) -> str:
    texts = [one.message for one in record.report.results] or [record.output]
    match = next(filter(None, (_NO_MODULE.search(text) for text in texts)), None)
    name = match and (match[1] or f"{match[3]}.{match[2]}")
    if match and (built := _built(str(name), top)):
        names = ", ".join(built)
        return f"{names} is there, but git ignores it; set gate.carry = {json.dumps(built)}"
    if match and match[1]:
        python = choose_python(top, settings)
        ours = python.why.startswith(OURS)
        there = "in an environment of the project (.venv)" if ours else "there"
        return f"no module {name!r} for {python}; install it {there}, or set gate.python"
    return ""


def node_packages(top: Path, command: str) -> str:
    """Return what installs the packages of a node project that has none; empty: nothing lacks."""
    there = any((top / name).exists() for name in ("node_modules", ".pnp.cjs"))
    if there or not needs_node_packages(top, command):
        return ""
    word = command.split(maxsplit=1)[0]
    return f"run {word if word in ('pnpm', 'yarn', 'bun') else 'npm'} install"


def needs_node_packages(top: Path, command: str) -> bool:
    """Return whether a command is of the node family, in a project with dependencies."""
    if command.split()[:1] not in [[one] for one in ("npm", "pnpm", "yarn", "npx", "node", "bun")]:
        return False
    try:
        project = json.loads((top / "package.json").read_text(encoding="utf-8"))
        return any(project.get(name) for name in ("dependencies", "devDependencies", "workspaces"))
    except (OSError, ValueError, AttributeError):
        return False


def _built(module: str, top: Path) -> list[str]:
    """Return the files of a module that a build made in the user's checkout, and git ignores.

    A version that a build backend wrote, an extension that was compiled in place.
    """
    asked = ("ls-files", "-oi", "--exclude-standard", "--directory", "-z")
    parts = tuple(module.split("."))
    found = []
    for name in git.fields(git.run(asked, cwd=top, ok=()).stdout):
        path = PurePosixPath(name)
        place = (*path.parts[:-1], path.name.partition(".")[0])
        if len(parts) > 1 and place[-len(parts) :] == parts and path.suffix != ".pyc":
            found.append(str(path))
    return found


def _plugin_that_ends_pytest(output: str, top: Path, settings: GateSettings) -> str:
    """Return which installed plugin raised before any test, and the way out.

    An environment made for something else has plugins that the project never asked for, and they
    meet its settings: `filterwarnings = error` makes a deprecation of theirs the end of pytest.
    Empty where a file of the project raised: the output says more.
    """
    place = raised = ""
    for file, text in _INTERNAL.findall(output):  # the innermost call, and what follows it
        place, raised = (file, "") if file else (place, raised or text)
    package = place.rpartition("/site-packages/")[2].partition("/")[0].removesuffix(".py")
    if package in ("", "_pytest", "pluggy"):
        return ""
    return (
        f"the plugin {package!r} of {choose_python(top, settings)} ends pytest before any test:"
        f" {raised}; make an environment (.venv) with just what the project's tests need,"
        " or set gate.python"
    )


def where_is(tool: str, top: Path) -> str:
    """Return in words where a program is that the tests did not find."""
    if (top / "node_modules" / ".bin" / tool).exists():
        return f'`{tool}` was not found: it is in node_modules; set gate.carry = ["node_modules"]'
    program = Path(shutil.which(tool) or tool)
    if not program.is_absolute():
        return f"`{tool}` was not found, neither by the tests nor on your own PATH; install it"
    home, folders = str(Path.home()), [program.parent, program.resolve().parent]
    if program.resolve().name == "rustup":  # it only starts the real tool
        crates = Path.home() / ".cargo" / "registry"
        folders += [Path.home() / ".rustup", *([crates] if crates.is_dir() else [])]
    hidden = [one for one in folders if any(one.is_relative_to(h) for h in hidden_folders())]
    names = [*dict.fromkeys(re.sub(f"^{re.escape(home)}(?=/)", "~", str(one)) for one in hidden)]
    if not names:
        return f"`{tool}` could not be run, although {program} is there"
    return (
        f"`{tool}` was not found: it is in {' and '.join(names)}, which the sandbox hides;"
        f" set gate.readable = {json.dumps(names)}"
    )
