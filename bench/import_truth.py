"""Which files really import which: every module imported once, `__import__` watched.

    python bench/import_truth.py [--statements] ROOT PACKAGE... > edges.tsv

ROOT is put first on sys.path; PACKAGE "." means every module below ROOT. Prints a line
"importer TAB imported" for each direct edge between files below ROOT (parents that an import
runs included), and a line "importer TAB" for each file that ran. Run it with an interpreter that
has what the packages need. With --statements, `importlib.import_module` is not watched: what it is
given is often a setting's value, of which no text of the package tells.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import signal
import sys
import warnings
from pathlib import Path

_LIBRARY = os.path.realpath(os.path.dirname(os.__file__)) + "/"  # a copy of it may be ROOT
_LOADERS = ("importlib/_bootstrap.py", "importlib/_bootstrap_external.py")  # import for others
_LIMIT = 5  # seconds of wall time a module may take


def modules(root: Path, packages: list[str]) -> list[str]:
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if (
            parts[-1:] in (["__main__"], ["antigravity"], ["this"])
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


def main() -> None:
    statements = "--statements" in sys.argv
    sys.argv = [each for each in sys.argv if each != "--statements"]
    root = Path(sys.argv[1]).resolve()
    if not (root / "os.py").exists():
        sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    if "django" in sys.argv[2:]:
        configure_django()
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    watch = Watch(root)
    watch.original = importlib.import_module
    if not statements:
        importlib.import_module = watch.import_module
    builtins.__import__ = watch
    signal.signal(signal.SIGALRM, give_up)
    if "django" in sys.argv[2:]:
        importlib.import_module("django").setup()
    for name in modules(root, sys.argv[2:]):
        signal.alarm(_LIMIT)
        with contextlib.suppress(BaseException):  # what fails has run as far as it ran
            watch.original(name)
        signal.alarm(0)
    whole = {watch.file(name) for name in list(sys.modules)}  # what failed half-way is gone again
    pairs = [pair for pair in watch.seen if pair[0] in whole and pair[0] not in _LOADERS]
    lines = sorted(f"{one}\t{two}\n" for one, two in pairs)
    with open(out, "w") as file:
        file.write("".join(lines))
        file.flush()
        os._exit(0)


def configure_django() -> None:
    from django.conf import settings

    apps = ("admin", "admindocs", "auth", "contenttypes", "flatpages", "humanize", "messages",
            "redirects", "sessions", "sitemaps", "sites", "staticfiles", "syndication")  # fmt: skip
    settings.configure(
        INSTALLED_APPS=[f"django.contrib.{app}" for app in apps],
        SITE_ID=1,
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        ROOT_URLCONF="django.contrib.flatpages.urls",
    )


def give_up(number: int, frame: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main()
