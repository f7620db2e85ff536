"""Which files really import which: every module imported in a forked child, `__import__` watched.

    python bench/import_truth.py ROOT PACKAGE... > edges.tsv

ROOT is put first on sys.path; PACKAGE "." means every module below ROOT. Prints a line
"importer TAB imported" for each direct edge between files below ROOT (parents that an import
runs included), and a line "importer TAB" for each file that ran. Run it with an interpreter that
has what the packages need.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import sys
import warnings
from pathlib import Path

_LIBRARY = os.path.realpath(os.path.dirname(os.__file__)) + "/"  # a copy of it may be ROOT
_LIMIT = 5  # seconds of wall time a module may take


def modules(root: Path, packages: list[str]) -> list[str]:
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if (
            parts[-1:] == ["__main__"]
            or not all(part.isidentifier() for part in parts)
            or not parts
        ):
            continue
        if "." in packages or parts[0] in packages:
            found.append(".".join(parts))
    return found


class Watch:
    def __init__(self, root: Path) -> None:
        self.top = str(root) + "/"
        self.seen: set[tuple[str, str]] = set()
        self.real = builtins.__import__

    def inside(self, path: str) -> str | None:
        path = os.path.realpath(path) if path else ""
        if not path.endswith(".py"):
            return None
        for top in (self.top, _LIBRARY):
            if path.startswith(top) and os.path.exists(self.top + path[len(top) :]):
                return path[len(top) :]
        return None

    def file(self, name: str) -> str | None:
        return self.inside(getattr(sys.modules.get(name), "__file__", None) or "")

    def note(self, importer: str, name: str) -> None:
        while name:
            target = self.file(name)
            if target and target != importer:
                self.seen.add((importer, target))
            name = name.rpartition(".")[0]

    def __call__(self, name, globals=None, locals=None, fromlist=(), level=0):
        result = self.real(name, globals, locals, fromlist, level)
        importer = self.inside((globals or {}).get("__file__") or "")
        if importer is None:
            return result
        self.seen.add((importer, ""))
        if level:
            package = globals.get("__package__") or globals["__name__"].rpartition(".")[0]
            base = package.rsplit(".", level - 1)[0] if level > 1 else package
            name = f"{base}.{name}" if name else base
        self.note(importer, name)
        for item in fromlist or ():
            self.note(importer, f"{name}.{item}") if f"{name}.{item}" in sys.modules else None
        return result

    def import_module(self, name: str, package: str | None = None):
        result = self.original(name, package)
        importer = self.inside(sys._getframe(1).f_globals.get("__file__") or "")
        if importer is not None:
            self.note(importer, result.__name__)
        return result


def child(watch: Watch, name: str, out: int) -> None:
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    watch.original = importlib.import_module
    importlib.import_module = watch.import_module
    builtins.__import__ = watch
    with contextlib.suppress(BaseException):  # what cannot be imported has run as far as it ran
        watch.original(name)
    text = "".join(f"{one}\t{two}\n" for one, two in watch.seen)
    os.write(out, text.encode()) if text else None
    os._exit(0)


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    if not (root / "os.py").exists():
        sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True
    if "django" in sys.argv[2:]:
        from django.conf import settings

        settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"])
    seen: set[str] = set()
    for name in modules(root, sys.argv[2:]):
        path = f"/tmp/import-truth-{os.getpid()}"
        out = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        pid = os.fork()
        if not pid:
            import signal

            signal.alarm(_LIMIT)
            child(Watch(root), name, out)
        os.waitpid(pid, 0)
        os.close(out)
        seen.update(Path(path).read_text().splitlines())
        os.unlink(path)
    print("\n".join(sorted(seen)))


if __name__ == "__main__":
    main()
