"""What an operation is: a function with a name, arguments, an effect and perhaps a question.

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
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

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
    person is asked before it runs where a program calls; `tool`: MCP offers it, too.
    """

    call: Callable[..., Awaitable[Any]]
    section: str
    method: str
    effect: str = "reads"
    old_names: tuple[str, ...] = ()
    tool: bool = True
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
    """Return a text with operations named as a caller of tools (`calls`) or of commands does."""
    if calls:
        for row in OPERATIONS.values():
            text = text.replace(f"self-coding {row.command}", row.name)
            text = text.replace(row.command, row.name)
        return text
    for row in OPERATIONS.values():
        if row.name != row.command:  # of the others, one cannot tell a name from a word
            text = text.replace(row.name, f"self-coding {row.command}")
    text = text.replace("self-coding self-coding ", "self-coding ")
    return re.sub(r"\((\w+)=(\w+)\)", lambda arg: f" --{arg[1].replace('_', '-')} {arg[2]}", text)
