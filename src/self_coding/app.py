"""App: the services over one repository, wired, each loaded when it is first used.

The only place that knows every service. Nothing is decided here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast

from self_coding.adapters import git
from self_coding.adapters.paths import FOLDER, git_directories
from self_coding.errors import ConfigError, EditError, GitNotRepositoryError

if TYPE_CHECKING:
    import subprocess

    from self_coding.adapters.llm import ChatModel, LanguageModel
    from self_coding.codebase_indexer import CodebaseIndexer
    from self_coding.fleet import Fleet
    from self_coding.git_safety import GitSafety
    from self_coding.modification_journal import ModificationJournal
    from self_coding.reflection import ReflectionService
    from self_coding.self_edit import SelfEdit
    from self_coding.self_edit.editors import Editor
    from self_coding.self_edit.reported import ReportedErrors
    from self_coding.settings import Settings
    from self_coding.values.edits import SelfEditResult


_TRUSTED = f"{FOLDER}/trusted"  # below the common git directory, where no clone or edit writes
_MODEL = ("model.base_url", "model.api_key_env")
TRUST = "look at `self-coding config`, then `self-coding config trust`"
_FOLLOWED = 500  # newest operations that are looked through for landings that were undone


@dataclass(frozen=True)
class App:
    """The services over the repository with the working tree `top`; `edit` is the self-edit.

    `common` is its git common directory, `start` the path that was asked for. `llm_adapter`
    reflects, or the configured model when None; its key is looked up in `environ`, or in the
    process's own variables when None. `arguments` are the settings that were given with the call.
    """

    top: Path
    common: Path
    settings: Settings
    start: Path
    llm_adapter: ChatModel | None = None
    environ: Mapping[str, str] | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder that was asked for, from the top; empty for the top itself."""
        start = self.start.resolve()
        inside = start.is_dir() and start.is_relative_to(self.top)
        return start.relative_to(self.top).as_posix().removeprefix(".") if inside else ""

    @cached_property
    def git(self) -> GitSafety:
        """Snapshots, isolation, landing, rollback."""
        from self_coding.git_safety import GitSafety

        settings, remote = self.settings, self.settings.remote
        build: Callable[..., GitSafety] = GitSafety
        if remote.name:
            self._check_trust("remote.name", "remote.api")
            from self_coding.git_safety.remote import RemoteSafety
            from self_coding.git_safety.remote_landing import Remote

            build = partial(RemoteSafety, remote=Remote(**asdict(remote)))
        return build(
            self.start,
            settings.main_branch,
            settings.test_command,
            branch_prefix=settings.branch_prefix,
            land_as=settings.land_as,
            gate=replace(settings.gate, command=settings.test_command),
            actor=settings.actor,
            carry=settings.carry,
        )

    @cached_property
    def indexer(self) -> CodebaseIndexer:
        """What is known of the code."""
        from self_coding.codebase_indexer import CodebaseIndexer

        return CodebaseIndexer(self.top, src_dirs=self.settings.src_dirs)

    @cached_property
    def journal(self) -> ModificationJournal:
        """The record of all attempts."""
        self._check_trust("database")  # to a server tasks, diffs and outputs go
        return self.journal_at(self.settings.database)

    def journal_at(self, address: str) -> ModificationJournal:
        """Return the journal at an address or in a file; empty: the file beside the repository."""
        from self_coding.modification_journal import ModificationJournal

        if not address.startswith(("postgresql://", "postgres://")):
            return ModificationJournal(address or self.common / FOLDER / "journal.db")
        if "schema=" not in address:
            # One schema a repository: of a task's words, other repositories' attempts blur how
            # rare each is. Every clone has the same first commit, wherever it is.
            done = git.run(("rev-list", "--max-parents=0", "HEAD"), cwd=self.top, ok=())
            roots = git.decode(done.stdout).split()
            if not roots:
                raise ConfigError(
                    "a repository without a commit has no place in a shared journal yet",
                    hint='commit first, or name a schema: database = "...?schema=NAME"',
                )
            address += f"{'&' if '?' in address else '?'}schema=repository_{roots[-1][:24]}"
        return ModificationJournal(address)

    @cached_property
    def reflection(self) -> ReflectionService:
        """The analysis of attempts."""
        from self_coding.reflection import ReflectionService

        model = self.llm_adapter
        if model is None and not self.needs_trust(*_MODEL):  # else without one, as `doctor` says
            model = chat_model(self.settings, self.environ)
        return ReflectionService(model, repo_path=self.top)

    @cached_property
    def edit(self) -> SelfEdit:
        """The self-edit: from a task to a landing."""
        from self_coding.self_edit import SelfEdit, editors
        from self_coding.self_edit.ports import Services
        from self_coding.settings import BasePolicy

        def restore(spec: Mapping[str, object]) -> Editor | None:
            """Build an editor anew from the journal; the model editor from today's settings."""
            try:
                is_model = spec.get("kind") == "model"
                return self.editor(name="model") if is_model else editors.restored(spec)
            except (ConfigError, EditError):
                return None

        return SelfEdit(
            Services(self.git, self.indexer, self.journal, self.reflection, BasePolicy()),
            leases=self.common / FOLDER / "leases",
            limits=self.settings.limits,
            restore=restore,
            start=self._start,
            reported=self.reported,
            notify=self._notices,
        )

    @cached_property
    def distrusted(self) -> dict[str, object]:
        """What the settings files would run or send as the user, which nobody here has trusted.

        The files may have come with a clone, a pull or an edit: whoever writes them would else
        run programs as whoever looks. What variables and arguments say is the user's own word.
        """
        from self_coding.settings import named, outward

        found = outward(self.top)
        with suppress(FileNotFoundError):
            if found and _mark(found) in (self.common / _TRUSTED).read_text().split():
                return {}
        used = dict(named(self.settings)) if found else {}
        return {name: value for name, value in found.items()
                if name == "editors" or used[name] == value}  # fmt: skip

    def trust(self) -> dict[str, object]:
        """Trust what the settings files run and send, as they are now; return it by name."""
        from self_coding.settings import outward

        found = outward(self.top)
        if found:
            place = self.common / _TRUSTED
            place.parent.mkdir(exist_ok=True)
            with place.open("a", encoding="ascii") as file:
                file.write(f"{_mark(found)}\n")
        return found

    def needs_trust(self, *names: str) -> str:
        """Return why settings cannot be used here before somebody trusts them; empty: they can."""
        held = [name for name in names if name in self.distrusted]
        return f"{' and '.join(held)} of the settings file: not trusted here yet" if held else ""

    def _check_trust(self, *names: str) -> None:
        if held := self.needs_trust(*names):
            raise ConfigError(held, hint=TRUST)

    def editor(
        self, *, patch: bytes | None = None, command: str | None = None, name: str | None = None
    ) -> Editor:
        """Return the editor that was asked for, as `choose_editor` does, if it may be used here.

        Raises:
            ConfigError: as `choose_editor`; or the settings file is not trusted.
        """
        asked = patch is None and command is None and (name or self.settings.editor)
        named = cast("Mapping[str, str]", self.distrusted.get("editors", {}))
        used = ("editors",) if asked and asked in named else _MODEL if asked == "model" else ()
        self._check_trust(*used)
        return choose_editor(
            self.settings, patch=patch, command=command, name=name, folder=self.folder
        )

    @property
    def _notices(self) -> Callable[[Mapping[str, object]], str] | None:
        """What tells a person, and returns what went wrong; None where nothing is set."""
        told = self.settings.notice
        if not told.command and not told.url:
            return None
        if held := self.needs_trust("notice.command", "notice.url"):
            return lambda notice: f"{held}; {TRUST}"
        from self_coding.adapters.notices import Notices

        return Notices(told.command, told.url, told.seconds, self.top).send

    @cached_property
    def fleet(self) -> Fleet:
        """The queue of a server, for many machines, and a worker of it."""
        from self_coding.fleet import Fleet

        self._check_trust("database")
        return Fleet(self.settings.database, open_anywhere)

    @cached_property
    def reported(self) -> ReportedErrors:
        """The uncaught errors of the project's own programs."""
        return reported_errors(self.top, self.common)

    def _start(self, attempt: int, *, check: bool, log: Path) -> subprocess.Popen[bytes]:
        """Start a process of the repository's own, which outlives ours."""
        from self_coding.adapters.process import start_detached
        from self_coding.settings import PREFIX

        # -P: a module of the repository never stands in for one of ours.
        words = [sys.executable, "-P", "-m", "self_coding", "--repo", str(self.top), "--quiet"]
        words += ["--settings", json.dumps(self.arguments, default=asdict)]
        words += ["resume", "--attempt", str(attempt), *(["--check"] if check else [])]
        environ = dict(os.environ)
        if self.environ is not None:
            ours = {name: value for name, value in self.environ.items() if name.startswith(PREFIX)}
            environ = {n: v for n, v in environ.items() if not n.startswith(PREFIX)} | ours
        return start_detached(words, cwd=self.top, env=environ, output=log)

    async def follow_undo(self) -> list[int]:
        """Relabel the attempts whose landing was undone, or done again; return their ids."""
        done = [one for one in await self.git.operations(_FOLLOWED) if one.kind == "land"]
        moves = [(one, new) for one in done for ref, _, new in one.refs if ref != "HEAD" and new]
        moves += [(one, new) for one in done for new in one.group]
        undone = {new: one.reason for one, new in moves if one.undone}
        standing = {new for one, new in moves if not one.undone} - undone.keys()
        return await self.journal.follow_undo(undone, standing)

    async def catch_up(self) -> list[int]:
        """Relabel the attempts whose landing was reverted on main; return their ids."""
        from self_coding.adapters.threads import in_thread

        # By git itself: whoever only reads the journal need not load what lands.
        main = f"refs/heads/{self.settings.main_branch}"
        words = ("log", "--max-count=1000", "--format=%x1e%H%x1f%B", main, "--")
        done = await in_thread(git.run, words, cwd=self.top, ok=())
        if done.returncode:
            return []  # without a main branch there is nothing to catch up with
        return await self.journal.scan(git.decode(done.stdout, errors="replace"))


def open_app(
    repo_path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    llm_adapter: ChatModel | None = None,
    anywhere: bool = False,
    **arguments: object,
) -> App:
    """Return the services over the repository around `repo_path`, with its settings.

    Args:
        repo_path: a path in the repository; the working directory when None.
        environ: the variables to read; the process's own when None.
        llm_adapter: reflects, with `async chat(message=..., context=...)`; the configured model
            when None.
        anywhere: where there is no repository, return what can be had without one.
        arguments: settings by name, which win over all others; None sets nothing.

    Raises:
        GitNotRepositoryError: the path is in no working tree of a repository.
        ConfigError: a setting is unknown or out of range.
    """
    from self_coding.settings import read_settings

    start = Path.cwd() if repo_path is None else Path(repo_path)
    try:
        directories = git_directories(start)
    except OSError as error:
        raise GitNotRepositoryError(
            f"cannot look at {start}: {error.strerror}", hint="give an existing repository"
        ) from error
    if directories is None and anywhere:
        settings = read_settings(start, environ=environ, main_branch_else=str, **arguments)
        return App(start.resolve(), start.resolve(), settings, start, llm_adapter, environ)
    if directories is None:
        from self_coding.git_safety import GitSafety

        GitSafety(start)  # raises with git's own reason, except in a bare repository
        raise GitNotRepositoryError(
            f"{start.resolve()} is a bare repository: it has no working tree",
            hint="work in a clone of it, or in a linked worktree (`git worktree add`)",
        )

    def unusual_branch() -> str:
        """Return the main branch where that is not simply the one called "main"."""
        common, packed = directories.common, b""
        with suppress(OSError):
            packed = (common / "packed-refs").read_bytes()
        if (common / "refs/heads/main").is_file() or b" refs/heads/main\n" in packed:
            return ""  # the usual case costs no process
        return default_branch(directories.top)

    settings = read_settings(
        directories.top, environ=environ, main_branch_else=unusual_branch, **arguments
    )
    given = {name: value for name, value in arguments.items() if value is not None}
    return App(directories.top, directories.common, settings, start, llm_adapter, environ, given)


def _mark(settings: Mapping[str, object]) -> str:
    """Return a digest of settings: whoever trusts some has not trusted others."""
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def open_anywhere(address: str, cache: Path | None = None, **arguments: object) -> App:
    """Return the services over a path's repository, or over a clone of the remote at an address.

    Args:
        address: a path, or what git knows as the address of a remote; what is changed in a clone
            of it lands there.
        cache: the folder of all clones; the user's own cache where none is given.
        arguments: as for `open_app`.

    Raises:
        RemoteUnreachableError: the remote did not answer, or let nobody in.
    """
    from self_coding.adapters.remote_git import is_remote

    if not is_remote(address):
        return open_app(address, **arguments)  # type: ignore[arg-type]
    from self_coding.git_safety.remote import clone

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = clone(address, cache or home / "self-coding" / "clones")
    given = {"remote": {"name": "origin"}} | arguments
    return open_app(place, **given)  # type: ignore[arg-type]


def reported_errors(top: Path, common: Path) -> ReportedErrors:
    """Return the errors that were reported of a repository, without its other services."""
    from self_coding.self_edit.reported import ReportedErrors

    return ReportedErrors(common / FOLDER / "errors", top)


def default_branch(top: Path) -> str:
    """Return the remote's own branch, else main or master, else the one checked out.

    The remote is `origin`, or whichever comes first; its branch must be here, too.
    """

    def ask(*args: str) -> str:
        done = git.run(args, cwd=top, ok=())
        return git.decode(done.stdout, errors="replace").strip() if done.returncode == 0 else ""

    heads = ask("for-each-ref", "--format=%(symref:lstrip=2)", "refs/remotes/*/HEAD").split()
    heads.sort(key=lambda one: not one.startswith("origin/"))
    branches = ask("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split()
    names = [*(one.partition("/")[2] for one in heads), "main", "master", "trunk"]
    usual = [name for name in names if name in branches]
    return usual[0] if usual else ask("symbolic-ref", "--short", "HEAD") or "main"


class SelfEditTool:
    """Makes a language model's edit of a repository, and lands it when it is proved good.

    Args:
        repo_path: a path in the repository; the working directory when None.
        llm_adapter: has `async chat(message=..., context=...)`; None takes the configured model.
    """

    def __init__(
        self, repo_path: Path | str | None = None, llm_adapter: ChatModel | None = None
    ) -> None:
        app = open_app(repo_path, llm_adapter=llm_adapter)
        self._edit = app.edit
        self._editor = model_editor(app.settings, llm_adapter)

    async def execute(
        self, task: str, context: Mapping[str, object] | str | None = None
    ) -> SelfEditResult:
        """Attempt a task; the model is shown `context` beside what is known anyway."""
        more = context or ""
        if not isinstance(more, str):
            more = "\n".join(f"{name}: {value}" for name, value in more.items())
        # What is not a task stays as it is, for the self-edit to refuse.
        words: object = task
        if more and isinstance(words, str) and words.strip():
            task = f"{words}\n\n{more}"
        return await self._edit.self_edit(task, editor=self._editor)


def choose_editor(
    settings: Settings,
    *,
    patch: bytes | None = None,
    command: str | None = None,
    name: str | None = None,
    folder: str = "",
) -> Editor:
    """Return the editor that was asked for: a patch, a shell command, or one by name.

    The command runs in `folder` of the worktree.

    A name is one of the `editors` table, a preset, or "model"; without any of the three it is
    the setting `editor`.

    Raises:
        ConfigError: none or more than one was asked for, or there is none of that name.
        EditError: the patch is empty, or the command is not installed.
    """
    from self_coding.self_edit.editors import PRESETS, CommandEditor, PatchEditor, preset

    if sum(one is not None for one in (patch, command, name)) > 1:
        raise ConfigError("more than one editor was given", hint="give only one of them")
    if patch is not None:
        return PatchEditor(patch)
    if command is not None:
        return CommandEditor(command, shell=True, folder=folder)  # noqa: S604 - what the user typed
    name = name or settings.editor
    if not name:
        raise ConfigError(
            "no editor is configured",
            hint="give a patch or the name of an editor, or set `editor`",
        )
    line = settings.editors.get(name)
    if line is not None:
        return CommandEditor(line, name=name, shell=True)  # noqa: S604 - the user's own setting
    if name in PRESETS:
        return preset(name)
    if name == "model":
        return model_editor(settings)
    names = ", ".join(sorted({*settings.editors, *PRESETS, "model"}))
    raise ConfigError(f"there is no editor {name!r}", hint=f"one of {names}")


def model_editor(settings: Settings, llm_adapter: ChatModel | None = None) -> Editor:
    """Return the editor that is a language model: `llm_adapter`, or the configured one.

    Raises:
        ConfigError: no model is configured.
    """
    from self_coding.adapters.llm import TypedModel
    from self_coding.self_edit.editors.model import JsonChatModel, ModelEditor

    if llm_adapter is not None and not isinstance(llm_adapter, TypedModel):
        return ModelEditor(JsonChatModel(llm_adapter))
    model = llm_adapter or chat_model(settings)
    if model is None:
        raise ConfigError(
            "no language model is configured", hint='set model.name, e.g. "openai:gpt-5"'
        )
    return ModelEditor(model)


def chat_model(
    settings: Settings, environ: Mapping[str, str] | None = None
) -> LanguageModel | None:
    """Return the configured language model, or None."""
    model = settings.model
    if not model.name:
        return None
    from self_coding.adapters.llm import open_model

    variables = os.environ if environ is None else environ
    key = variables.get(model.api_key_env) if model.api_key_env else None
    return open_model(
        model.name,
        base_url=model.base_url,
        api_key=key,
        timeout=model.timeout,
        max_tokens=model.max_tokens,
    )
