"""What an operation is: a function with a name, arguments, an effect, perhaps a question.

`operations` is the table of all; the command line and the MCP server are made from it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_type_hints

if TYPE_CHECKING:
    from self_coding.app import App
    from self_coding.values.edits import Ask, OnProgress


@dataclass(frozen=True, eq=False)
class Arg:
    """What is said of an argument beside its name, type and default.

    `option` is the command line's spelling where that is not `--name`; `positional` makes an
    optional argument one without dashes; `file`: the command line takes a path whose text is the
    value; `path`: a path from the top, which the command line reads from the current folder;
    `only` is "cli" or "mcp" for an argument that the other does not offer.
    """

    about: str
    _: KW_ONLY
    least: int | None = None
    most: int | None = None
    option: str = ""
    positional: bool = False
    file: bool = False
    path: bool = False
    only: str = ""


@dataclass(frozen=True, eq=False)
class Caller:
    """Who called: where progress goes, what can be asked, where a remark goes.

    `patience` is the seconds that it waits for what goes on without it.
    """

    on_progress: OnProgress | None = None
    ask: Ask | None = None
    say: Callable[[str], None] = lambda line: None
    patience: float = math.inf


@dataclass(frozen=True, eq=False)
class Parameter:
    """One argument of an operation. `type` is without `Annotated` and without None."""

    name: str
    type: Any
    default: object
    arg: Arg

    @property
    def required(self) -> bool:
        """Return whether there is no default."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One row of the table.

    `method` is the service method behind it; `old_names` are accepted for one release; `effect`
    is "reads", "adds" (leaves all that is there), "lands" or "restores"; `question` is what a
    person is asked before it runs where a program calls; `tool`: MCP offers it, too, or does where
    `database` names a "server"; `anywhere`: it needs no repository.
    """

    call: Callable[..., Awaitable[Any]]
    section: str
    method: str
    effect: str = "reads"
    old_names: tuple[str, ...] = ()
    tool: bool | Literal["server"] = True
    anywhere: bool = False
    question: Callable[..., Awaitable[str]] | None = None

    @property
    def name(self) -> str:
        """The name in Python and MCP."""
        return self.call.__name__

    @property
    def command(self) -> str:
        """The name on the command line."""
        return self.name.replace("_", "-")

    @property
    def description(self) -> str:
        """The help: one sentence of promise, and what else is to be known."""
        return inspect.getdoc(self.call) or ""

    @property
    def result(self) -> Any:
        """The type of the answer; the values that it names are imported only now."""
        from self_coding.values import attempts, code, edits, repository, results, verdicts

        names: dict[str, Any] = {"RepositoryOperation": repository.Operation}
        for module in (attempts, code, edits, repository, results, verdicts):
            names |= vars(module)
        return self._evaluated({"return": self.call.__annotations__["return"]}, names)["return"]

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The arguments, in their order."""
        annotations = dict(self.call.__annotations__)
        for name in ("app", "caller", "return"):
            annotations.pop(name, None)
        parameters = inspect.signature(self.call).parameters
        found = []
        for name, hint in self._evaluated(annotations, {}).items():
            form, arg = get_args(hint)
            kinds = [kind for kind in get_args(form) if kind is not type(None)]
            optional = type(None) in get_args(form)
            kind = kinds[0] if optional else form
            found.append(Parameter(name, kind, parameters[name].default, arg))
        return found

    def _evaluated(self, annotations: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
        """Evaluate some annotations, so that the imports of the others need not be paid for."""
        scope = names | self.call.__globals__
        holder = SimpleNamespace(__annotations__=annotations)
        return get_type_hints(holder, scope, include_extras=True)

    async def __call__(self, app: App, caller: Caller | None = None, **arguments: object) -> Any:
        """Run it; arguments by name. Where none is given, `wait` is the caller's patience."""
        caller, takes = caller or Caller(), inspect.signature(self.call).parameters
        if "caller" in takes:
            arguments["caller"] = caller
        if "wait" in takes and arguments.get("wait") is None:
            arguments["wait"] = caller.patience
        return await self.call(app, **arguments)


GO_BACK = "Go back"  # a section of the help
F = TypeVar("F", bound=Callable[..., Awaitable[object]])
OPERATIONS: dict[str, Operation] = {}


def operation(section: str, method: str, *old_names: str, **row: Any) -> Callable[[F], F]:
    """Enter a function into the table."""

    def enter(call: F) -> F:
        OPERATIONS[call.__name__] = Operation(
            call=call, section=section, method=method, old_names=old_names, **row
        )
        return call

    return enter


def spoken(text: str, *, calls: bool) -> str:
    """Return a text with operations named as a caller of tools (`calls`) or of commands does.

    Texts name an operation as Python does, in backticks; what no tool does is named as a command.
    """
    for row in OPERATIONS.values():
        command = f"self-coding {row.command}"
        if not calls:
            text = text.replace(f"`{row.name}`", f"`{command}`")
            if row.name != row.command:  # of the others, one cannot tell a name from a word
                # No part of a path or of a branch's name.
                text = re.sub(rf"(?<![\w./-]){row.name}(?![\w/-]|\.\w)", command, text)
        elif row.tool:
            text = re.sub(rf"\b{command}(?![\w-])", row.name, text)
        else:
            text = text.replace(f"`{row.name}`", f"the command `{command}`")
    if calls:
        return text
    text = text.replace("self-coding self-coding ", "self-coding ")
    text = re.sub(r"\((?:attempt=)?(\d+)\)", r" \1", text)
    return re.sub(
        r"\((\w+)=([\w.]+)\)", lambda arg: f" --{arg[1].replace('_', '-')} {arg[2]}", text
    )


# -- the arguments that operations share -----------------------------------------------------

Task = Annotated[str, Arg("What is to be done, in words: `Round totals to cents`.")]
Patch = Annotated[str | None, Arg("Apply this unified diff (`git diff`).", file=True)]
Command = Annotated[
    str | None,
    Arg("The edit is made by this command; {task} is replaced.", option="--with", only="cli"),
]
EditorName = Annotated[
    str | None, Arg("Who makes the edit: `aider`, `claude`, `codex`, `model`, ...")
]
Tries = Annotated[
    int | None, Arg("How often to try, each time with what was learnt.", least=1, most=50)
]
BestOf = Annotated[
    int | None, Arg("How many to make side by side; the smallest lands.", least=1, most=16)
]
AskFirst = Annotated[bool, Arg("Show the change and ask before it lands.", only="cli")]
Propose = Annotated[bool, Arg("Stop green before landing, for a person's approval.")]
DryRun = Annotated[bool, Arg("Judge and test, but do not land.")]
Branch = Annotated[str, Arg("Name the edit's branch; it stays then.", only="cli")]
AttemptId = Annotated[int, Arg("Its number, from the answer that named it: 12.", least=1)]
From = Annotated[
    int | None, Arg("Begin with the change of this attempt, applied to main as it is.", least=1)
]
MeasureMutants = Annotated[
    bool,
    Arg("Measure how many small changes of its lines its tests notice.", only="cli"),
]
OfAttempt = Annotated[int | None, Arg("Only operations of this attempt.", least=1)]
OnlyAttempt = Annotated[int | None, Arg("Only this attempt.", least=1)]
Check = Annotated[bool, Arg("Check its edit instead of going on with it.")]
Wait = Annotated[
    int | None,
    Arg("Seconds to wait (45 unless given); after them it goes on alone.", least=0, most=3600),
]
Summary = Annotated[str, Arg("What you did, for the journal: `rounds halves up`.")]
Reason = Annotated[str, Arg("Why, for the journal: `done elsewhere`.")]
Limit = Annotated[int, Arg("How many at the most.", least=1, most=100_000, option="-n")]
Outcomes = Annotated[
    list[Literal["success", "failure", "rollback"]] | None, Arg("Only those that ended so.")
]
By = Annotated[
    Literal["area", "editor", "model", "period"] | None,
    Arg("A row for each of these; without it, overall."),
]
About = Annotated[str, Arg("A sentence, a bug report or a traceback.")]
Paths = Annotated[
    list[str] | None, Arg("Files or folders: `src/shop/prices.py`.", positional=True, path=True)
]
DiffOf = Annotated[str | None, Arg("Take the paths from this unified diff.", file=True)]
Symbol = Annotated[str, Arg("A name: `parse_date`, `Invoice`, `Invoice.total`.")]
DefinedIn = Annotated[
    str | None, Arg("The file that defines it: `src/shop/dates.py`.", option="--in", path=True)
]
Tokens = Annotated[
    int, Arg("The most tokens it may count.", least=1, most=1_000_000, option="--tokens")
]
Spans = Annotated[bool, Arg("Show the functions and lines of them that matter most.")]
RankBy = Annotated[str | None, Arg("Put first what this task concerns.")]
RunTests = Annotated[
    bool, Arg("Run the tests on it, too; the answer has the result.", option="--tests")
]
Target = Annotated[str, Arg("The ref that `snapshot` returned, or a commit: `HEAD~2`.")]
Steps = Annotated[int, Arg("How many operations.", least=1, most=1_000, option="-n")]
Revision = Annotated[str, Arg("A commit, or a reflog entry such as HEAD@{1}.")]
Base = Annotated[str, Arg("The branch that it begins from and lands on (the main one).")]
