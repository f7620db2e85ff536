"""What one run shows the tested code, and what that code must not have touched.

The candidate appears at the repository's own path where the sandbox can mount it there, with the
interpreter, git's data and what is carried bound back, read-only. Whatever this puts into a
checkout it takes out again.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from self_coding.adapters import git
from self_coding.adapters.files import remove_tree, walk
from self_coding.adapters.paths import FOLDER, git_directories
from self_coding.adapters.sandbox import SandboxSpec, can_layer, hidden_folders
from self_coding.gate.held_content import held_content
from self_coding.gate.python_env import (
    choose_python,
    import_roots,
    interpreter_folders,
)
from self_coding.gate.tool_chains import (
    ToolChains,
    readable_folders,
    tool_chains,
    tool_homes,
)
from self_coding.values.verdicts import GateSettings

_HANDED_ON = ("LANG", "LANGUAGE", "TZ", "PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
_GUARDED = (  # files of a repository that make git run something, or read from elsewhere
    *("config", "config.worktree", "info/attributes", "info/exclude"),
    "objects/info/alternates",
)


@contextmanager
def support_folder(python: Path) -> Iterator[Path]:
    """A read-only folder of ours beside the tree: the test runner's files, and a `python`."""
    folder = Path(tempfile.mkdtemp(prefix="self-coding-kit-"))
    try:
        for name in ("sitecustomize", "usercustomize"):
            # Python imports the first file of this name before anything else: ours hides one in
            # the tested tree, which would run before the report's keys are read.
            (folder / f"{name}.py").write_text("# hides a file of this name\n", encoding="utf-8")
        # The version that package.json names cannot be brought in: the pnpm that is there runs. As
        # a file, for pnpm hands an empty variable on to the scripts that call it again.
        (folder / "npmrc").write_text("manage-package-manager-versions=false\n")
        (folder / "git").mkdir()
        (folder / "bin").mkdir()
        if not (python.parent / "python").exists():
            starter = folder / "bin" / "python"
            starter.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n', encoding="utf-8")
            starter.chmod(0o755)
        yield folder
    finally:
        remove_tree(folder)


@dataclass(frozen=True, kw_only=True)
class SandboxLayout:
    """How one checkout is laid out for a run.

    Attributes:
        top: the user's working tree, at whose path the checkout appears.
        settings: the limits, and what is carried over from the user's tree.
        at: the sandbox level.
        tree: the checkout.
        setup: the folder of what the setup command made, if there is one.
    """

    top: Path
    settings: GateSettings
    at: str
    tree: Path
    setup: Path | None = None

    @property
    def mount(self) -> Path:
        """Where the tested code finds the tree."""
        return self.top if self.at == "bwrap" else self.tree

    @cached_property
    def python(self) -> Path:
        """The interpreter of the tests."""
        return choose_python(self.top, self.settings, self.setup).path

    @cached_property
    def tools(self) -> ToolChains:
        """What the tool chains of the command need outside of the repository."""
        return tool_chains(self.top, f"{self.settings.command} {self.settings.setup_command}")

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The folders of the tree from which its own code is imported."""
        return import_roots(self.tree, self.top, self.python)

    @contextmanager
    def sandbox(self) -> Iterator[tuple[SandboxSpec, Path]]:
        """The sandbox and the folder of the test runner; the checkout is left as it was."""
        top, tree, settings, setup = self.top, self.tree, self.settings, self.setup
        names = [*settings.carry]
        if "node_modules" in names:  # the packages of a workspace have one of their own
            listed = git.run(("ls-files", "-z", "--", "*/package.json"), cwd=top, ok=()).stdout
            names += [str(Path(one).with_name("node_modules")) for one in git.fields(listed)]
        carried = [(top / name, Path(name)) for name in names if (top / name).exists()]
        if setup is not None:
            carried += [(one, one.relative_to(setup)) for one in sorted(setup.iterdir())]
        with support_folder(self.python) as support:
            files, repository = self._repository_binds(support)
            layered = can_layer(self.at, top)
            # What is installed there keeps its caches there as well, and looks whether it can.
            own = [one for one in carried if layered and one[1].name == "node_modules"]
            carried = [one for one in carried if one not in own]
            layers = [(source, top / inside) for source, inside in own]
            layers += [(one, one) for one in self.tools.caches if layered]
            folders = [*readable_folders(top, settings), *self.tools.folders]
            caches = self.tools.caches.items()
            folders += [one for one, name in caches if not (layered or name)]
            shown = [(folder, folder) for folder in folders]
            shown += [(source, top / inside) for source, inside in carried]
            readable = [*shown, (support, support), *self._interpreter_binds(), *repository]
            readable += [one for pair in shown for one in channels(*pair)]
            held = list(held_content(tree, top))
            readable += [(source, top / inside) for source, inside in held]
            bound = [place for _, place in (*readable, *layers)]
            places = [place.relative_to(top) for place in bound if place.is_relative_to(top)]
            added = [tree / name for name in places if not os.path.lexists(tree / name)]
            pushed: list[tuple[Path, bytes | None]] = []
            try:
                if self.at != "bwrap":  # without a mount of its own, what is carried is linked to
                    for place in (tree / inside for _, inside in held):
                        if place.is_dir() and not any(place.iterdir()):
                            pushed.append((place, None))
                            place.rmdir()
                        elif place.is_file():
                            pushed.append((place, place.read_bytes()))
                            place.unlink()
                    for source, inside in [*carried, *held]:
                        place = tree / inside
                        if not os.path.lexists(place):
                            place.parent.mkdir(parents=True, exist_ok=True)
                            place.symlink_to(source)
                yield (
                    SandboxSpec(
                        tree=tree,
                        mount=top,
                        env={
                            **{name: str(one) for one, name in caches if layered and name},
                            **self._environment(support),
                        },
                        readable=tuple(readable),
                        layers=tuple(layers),
                        files=files,
                        network=settings.network,
                        loopback=settings.loopback,
                        rlimits=settings.rlimits,
                    ),
                    support,
                )
            finally:
                for place, content in pushed:
                    remove_tree(place)
                    place.mkdir() if content is None else place.write_bytes(content)
                self._take_out(added)

    def _environment(self, support: Path) -> dict[str, str]:
        """Return the variables with the tests' Python first on PATH, their own code on its path."""
        bin_folder = self.python.parent
        if self.setup is not None and self.python.is_relative_to(self.setup):
            bin_folder = self.mount / bin_folder.relative_to(self.setup)
        env = environment(self.settings)
        homes = tool_homes(readable_folders(self.top, self.settings))
        env = {**homes, **self.tools.env, **env}
        virtual = self.python.parent.parent
        if (virtual / "pyvenv.cfg").exists():  # `uv run`, `poetry run`, ... take the active one
            env |= {"VIRTUAL_ENV": str(virtual), "UV_PROJECT_ENVIRONMENT": str(virtual)}
        search = [support / "bin", bin_folder, env.get("PATH", os.defpath)]
        if (self.tree / "pnpm-lock.yaml").exists():  # npm warns of what it does not know in it
            env.setdefault("npm_config_userconfig", str(support / "npmrc"))
        imports = [support, *(self.mount / root for root in self.roots)]
        env["PATH"] = os.pathsep.join(map(str, search))
        env["PYTHONPATH"] = os.pathsep.join(map(str, imports))
        return env

    def _interpreter_binds(self) -> Iterator[tuple[Path, Path]]:
        """Yield the folders of the interpreter that would be hidden or covered otherwise.

        Neither the checkout itself (an editable install points there) nor what the setup command
        made, which is carried to its place.
        """
        top = self.top
        covered = (*hidden_folders(), top)
        for folder in interpreter_folders(self.python):
            is_code = folder.is_relative_to(top) and not any(
                (one / "pyvenv.cfg").exists() for one in (folder, *folder.parents) if one != top
            )
            is_carried = self.setup is not None and folder.is_relative_to(self.setup)
            if any(folder.is_relative_to(one) for one in covered) and not (
                top.is_relative_to(folder) or is_code or is_carried
            ):
                yield folder, folder

    def _repository_binds(
        self, support: Path
    ) -> tuple[tuple[tuple[Path, bytes], ...], list[tuple[Path | None, Path]]]:
        """Return how git keeps working, read-only, when the checkout covers the repository.

        The pointer of a linked worktree names the repository by its old path: a pointer of ours
        leads to where the repository's data appears instead.
        """
        pointer = self.tree / ".git"
        if pointer.is_dir():
            return (), [(pointer, self.top / ".git")]
        checkout = git_directories(self.tree) if pointer.is_file() else None
        if checkout is None:
            return (), []
        directory, common, data = checkout.directory, checkout.common, support / "git"
        if not directory.is_relative_to(common):  # never where there are mounts
            return (), [(common, common), (directory, directory)]
        inside = data / directory.relative_to(common)
        content = os.fsencode(f"gitdir: {inside}\n")
        # Our own folder holds the records of other runs, and this checkout's git directory.
        own = [(None, data / FOLDER)] if (common / FOLDER).is_dir() else []
        return ((self.top / ".git", content),), [(common, data), *own, (directory, inside)]

    def _take_out(self, places: Iterable[Path]) -> None:
        """Remove empty mount points and links of ours, and the empty folders above them."""
        for place in places:
            with suppress(OSError):
                if place.is_symlink() or (place.is_file() and not place.stat().st_size):
                    place.unlink()
            for folder in (place, *place.parents):
                if self.tree not in folder.parents:
                    break
                # What the tests filled stays: `rmdir` refuses it.
                with suppress(OSError):
                    folder.rmdir()


def environment(settings: GateSettings) -> dict[str, str]:
    """Return what the tested code gets of our environment: harmless names, and those allowed."""
    names = {*_HANDED_ON, *settings.environment}
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number without a name, as in many containers
        user = "self-coding"
    given = {
        name: value for name, value in os.environ.items() if name in names or name[:3] == "LC_"
    }
    # The same for everybody: a verdict must not depend on the terminal it was asked for in.
    same = {"USER": user, "LOGNAME": user, "SHELL": "/bin/sh", "TERM": "dumb"}
    if not settings.network:  # cargo takes what it has, instead of failing at its index
        same["CARGO_NET_OFFLINE"] = "true"
    return {**same, **given}


class TreeGuard:
    """A checkout as it was before a run: git's own files, and every file of its commit."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._pointer = checkout / ".git"
        is_linked = self._pointer.is_file() and not self._pointer.is_symlink()
        self._content = self._pointer.read_bytes() if is_linked else None
        self._before = self._fingerprint()
        # What earlier runs in this checkout left beside the commit: caches, which may change.
        listed = git.run(("ls-files", "-z"), cwd=checkout, ok=()).stdout if is_linked else b""
        names: Iterable[str] = git.fields(listed)
        if not listed:
            found = walk(checkout, into=lambda entry: entry.name != ".git")
            files = (one.path for one in found if not one.is_dir(follow_symlinks=False))
            names = (name.removeprefix(f"{checkout}/") for name in files)
        # git's pointer is ours to put back, and `planted` looks at it
        self._stamps = self._source_stamps(name for name in names if name != ".git")

    def planted(self, *, trusted: bool) -> tuple[str, ...]:
        """Return the files of git that changed; the checkout's pointer is put back at once.

        Args:
            trusted: the sandbox kept all but the pointer out of reach, so that only another
                process can have changed it, which is no reason to refuse.
        """
        changed = []
        if self._content is not None and _hash(self._pointer) != self._before[".git"]:
            changed.append(".git")
            if self._pointer.is_dir() and not self._pointer.is_symlink():
                self._pointer.rename(self._pointer.with_name(".git.planted"))
            self._pointer.unlink(missing_ok=True)
            self._pointer.write_bytes(self._content)
        if trusted:
            return tuple(changed)
        after = self._fingerprint()
        names = sorted((self._before.keys() | after.keys()) - {*changed})
        return (*changed, *(name for name in names if self._before.get(name) != after.get(name)))

    def rewritten(self) -> tuple[str, ...]:
        """Return the files that were written, replaced or removed, also if they were put back."""
        after = self._source_stamps(self._stamps)
        return tuple(sorted(path for path, was in self._stamps.items() if after.get(path) != was))

    def _fingerprint(self) -> dict[str, str]:
        is_linked = self._pointer.is_file() and not self._pointer.is_symlink()
        prints = {".git": _hash(self._pointer)} if is_linked else {}
        checkout = git_directories(self._checkout)
        if checkout is None or checkout.top != self._checkout.resolve():
            return prints
        guarded = [checkout.common / name for name in _GUARDED]
        guarded += sorted((checkout.common / "hooks").glob("*"))
        if is_linked:
            guarded += [checkout.directory / n for n in ("config.worktree", "commondir", "gitdir")]
        return prints | {str(path): found for path in guarded if (found := _hash(path))}

    def _source_stamps(self, paths: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return inode and ctime of each file: nobody can set a ctime back."""
        stamps: dict[str, tuple[int, int]] = {}
        for path in paths:
            with suppress(OSError):
                status = os.lstat(self._checkout / path)
                stamps[path] = (status.st_ino, status.st_ctime_ns)
        return stamps


def channels(source: Path, place: Path) -> Iterator[tuple[Path, Path]]:
    """Yield what covers the pipes and sockets of a folder: read-only, they still lead outside."""
    for entry in walk(source):
        known = entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
        if not known and not entry.is_symlink():
            yield Path("/dev/null"), place / Path(entry.path).relative_to(source)


def _hash(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
        target = str(path.readlink()).encode() if path.is_symlink() else b""
        content = path.read_bytes() if path.is_file() else b""  # a pipe would be waited for
        return f"{mode:o} {hashlib.sha256(target + content).hexdigest()}"
    except OSError:
        return ""
