"""What runs the tests: settings of pytest, CI, Makefile, tox, nox, scripts, pipelines, hooks.

Pure, on text: these files have many languages, and what matters in them is a word on a line. No
run shows what they do, so they are only read. An ordinary edit passes; one by which fewer tests
run, a failure counts less, or a pipeline gains a power is a finding. It does not look into the
actions, hooks and installers that a pipeline names: like dependencies, they are the project's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from self_coding.audit.files import File, Files, Kind, Settings, kind_of, read_ini, read_toml
from self_coding.audit.syntax import Breaches, quote
from self_coding.audit.test_modules import Sides
from self_coding.languages import is_source

# options that take tests away, run nothing, or change what a failure means; one that stops at the
# first failure hides none
_NARROWING = re.compile(
    r"-[kmpcoh]|-[kmp].+|--(?:ignore|ignore-glob|deselect|collect-only|co"
    r"|last-failed|lf|stepwise|sw|sw-skip|rootdir|confcutdir|noconftest|override-ini|assert"
    r"|config-file|continue-on-collection-errors|suppress-(?:no-test|tests-failed)-exit-code"
    r"|disable-plugin-autoload|disable-warnings|no-header-exit|runxfail|reruns|force-flaky"
    r"|max-runs|snapshot-update|inline-snapshot|nf|keyword|collect-in-virtualenv"
    r"|(?:re)?generate\S*|update-\S+|setup-plan|setup-only|fixtures|markers|help|version)(?:=.*)?"
)
_HARMLESS = re.compile(  # of the plugins that can be left out, only these never fail a test
    r"-p ?(?:xdist|pytest_cov|randomly|pytester|timeout|asyncio|anyio|benchmark|sugar|"
    r"no:(?!warnings|python|unittest|doctest|main|runner|assertion|skipping|fixtures|unraisable|thread).*)"
    r"|-o ?(?:junit_\w+|log_\w+|console_output_style|cache_dir|faulthandler_\w+)=.*"
)
_STRICT = re.compile(
    r"--strict(?:-markers|-config)?|--doctest-modules|--doctest-glob.*|--cov-fail-under.*|-W.*error.*"
)
_SAME = {  # an option that is as strict, and the setting that is
    "--strict-config": (("--strict",), "strict_config"),
    "--strict-markers": (("--strict",), "strict_markers"),
    "--strict": (("--strict-markers",), "strict_markers"),
}
_TAKES_VALUE = frozenset(
    {
        *("-k", "-m", "-p", "-c", "-o", "-W", "-n", "-r", "--ignore", "--deselect", "--cov"),
        *("--maxfail", "--timeout", "--timeout-method", "--session-timeout", "--dist", "--tb"),
        *("--numprocesses", "--durations", "--color", "--import-mode", "--log-level"),
        *("--cov-report", "--cov-config", "--junitxml", "--randomly-seed"),
    }
)
# filters that take the force out of an `error` above them
_BLANKET = frozenset({"ignore", "ignore::Warning", "default", "ignore::Exception"})

_RUNNER = re.compile(
    r"(?<![\\.])\b(?:py\.?test|unittest|nosetests|tox|nox|trial|stestr|make\s+(?:test|check)|setup\.py\s+test|"
    r"hatch\s+(?:run\s+\S*test\S*|test)|coverage\s+run|uv\s+run\s+\S*test\S*|poetry\s+run\s+\S*test\S*)\b"
)
_NO_COMMAND = re.compile(  # a line that names a runner, but runs none
    r".*\btox\s+-e\s*(?:docs?|mypy|lint\w*|typing|types?|flake8|check\w*|pkg\w*|build|release)\b(?!,)"
    r"|\s*+(?:#|//|\[|@?echo\b|-?\s*+(?:name|if|uses):|.*\b(?:pip|uv|apt|poetry)\s+(?:install|add|sync)\b(?!.*(?:&&|;)))"
    r"|.*(?:[=~]=|[<>]=?)\s*\d|.*::\s*$"
)
_PYTEST = re.compile(r"\b(?:py\.?test|coverage\s+run\s+-m\s+pytest)\b(?P<rest>[^;&|#\n]*)")
# `|| true`, `; echo`, a pipe whose last command decides, and the switches of the tools
_MASKED = re.compile(
    r"\|\|\s*(?:true|:|exit\s+0|echo\b|/bin/true|cd\b)|\bexit\s+0\b|--exit-zero\b|2>&1\s*\||"
    r";\s*(?!then|do|done|fi|exit\s+\$|\w+=|;)[A-Za-z/]|\|\s*(?:tee|cat|tail|head|grep)\b|"
    r"\b(?:ignore_outcome|ignore_errors|warn)\s*=\s*true|\bsuccess_codes\s*=",
    re.IGNORECASE,
)
_PIPED = re.compile(r"^[^|;]*[^|;]\|\s*(?:tee|cat|tail|head|grep)\b[^|;]*$")
# ... and of CI, which stand on a line of their own, for the step or job around them
_SWITCH = re.compile(
    r"(?i)^[\s-]*(?:continue-on-error|allow_failure)\s*:\s*true|^[\s-]*if\s*:\s*(?:false|\$\{\{\s*false)|"
    r"^\s*(?:ignore_outcome|ignore_errors)\s*=\s*true"
)
_OFF = re.compile(r"\s*(?:exit\s+0|set\s+\+e|\.IGNORE\b)")
_VARIABLES = (
    r"(?:PYTEST_ADDOPTS|PYTEST_PLUGINS|PYTEST_DISABLE_PLUGIN_AUTOLOAD|PYTHONOPTIMIZE|PYTHONSTARTUP|"
    r"PYTHONBREAKPOINT|PYTHONINSPECT)"
)
_VARIABLE = re.compile(rf"\b{_VARIABLES}\b")
# in Python only as a string: a name alone sets nothing
_QUOTED = re.compile(rf"[\"']{_VARIABLES}[\"']|[\"'][^\"']*\b{_VARIABLES}=")
_ADDOPTS = re.compile(
    r"PYTEST_ADDOPTS[\"']?\s*(?:\]\s*)?[:=]\s*[\"']?(-[^\"'$;&|#]*)[\"']?$|delenv|\.pop\(|unset\b"
)
_OPTIMISED = re.compile(r"\bpython[\d.]*\s+(?:-[A-Za-z]+\s+){0,20}-O")

_PIPELINE = re.compile(
    r"\.(?:github/(?:workflows|actions)|circleci|gitlab|buildkite|woodpecker|forgejo)/.*|"
    r"\.(?:gitlab-ci|travis|cirrus|drone|woodpecker)\.ya?ml|\.?appveyor\.yml|azure-pipelines\.ya?ml|"
    r"bitbucket-pipelines\.yml|jenkinsfile|\.pre-commit-config\.yaml",
    re.IGNORECASE,
)
_POWERS = (
    (
        "can be triggered by outsiders with access to secrets",
        r"\b(?:pull_request_target|workflow_run|issue_comment|repository_dispatch)\b",
    ),
    (  # a report, a comment or a proof of origin changes nothing of the repository
        "has write permission",
        r"(?<![\w-])(?!(?:attestations|security-events|checks|statuses|pages|issues"
        r"|discussions|pull-requests)\b)[\w\"'-]+\s*:"
        r"\s*[\"']?write\b|\bwrite-all\b",
    ),
    (
        "reads a secret",
        r"\$\{\{(?:(?!\$\{\{)[^}])*\bsecrets\b(?!\s*\.\s*(?i:GITHUB_TOKEN|CODECOV_TOKEN|COVERALLS\w*)\b)[^}]*|"
        r"\bsecrets\s*:\s*inherit|\bcredentials\s*\([^)]*",
    ),
    ("runs on the project's own machines", r"\bself-hosted\b|\bruns-on\s*:\s*\{.*"),
    (
        "runs a new shell command at each commit",
        r"\bentry\s*:(?:(?!\bentry\s*:).)*(?:\bsh\s+-\w{0,20}c|\bcurl|[|;&]).*",
    ),
    ("hides text behind escapes", r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})"),
)
# what proves to others who it is by a token of its own, and does nothing else with it
_IDENTITY = re.compile(
    r"gh-action-pypi-publish|attest|deploy-pages|provenance|codecov|sigstore|scorecard"
)
_ASIDE = re.compile(r"(?i)(?:.*[-_])?(?:release|publish|deploy|docs?|stale|label|announce)")
_EVENTS = re.compile(r"\b(?:push|pull_request|schedule|merge_group)\b")
_FILTERS = re.compile(
    r"^[ \t-]*[\"']?(branches|branches-ignore|paths|paths-ignore|types)[\"']?[ \t]*:"
    r"(.*(?:\n[ \t]*-[^\n:]*)*)|\b(when)[ \t]*:[ \t]*(?:never|manual)\b",
    re.MULTILINE,
)
_USUAL = {  # what filters may say, or (of those that ignore) must not say
    "branches": re.compile(
        r"\b(?:main|master|trunk|devel\w*|release\w*|default|v\d+|v?\d+\.(?:x|\d+))\b|(?<![\w/*])\*{1,2}(?![\w/-])"
    ),
    "types": re.compile(r"\b(?:opened|synchronize|labeled|published|created)\b"),
    "paths": re.compile(r"\*\*?/?\*?\.py\b|\bsrc\b|\btests?\b|[\s\['\"]\*\*(?!/)"),
}
# from `on:` (YAML reads it as `true`, so some quote it) to the next key at the left margin
_TRIGGERS = re.compile(r"^[\"']?on[\"']?[ \t]*:.*(?:\n(?:[ \t].*|[ \t]*))*", re.MULTILINE)
_JOB = re.compile(r"^ {2}\w[\w-]*:[ \t]*$", re.MULTILINE)
_TOP_PERMISSIONS = re.compile(r"^permissions[ \t]*:.*(?:\n(?:[ \t].*|[ \t]*))*", re.MULTILINE)
_WRITES = re.compile(r"(?<![\w-])([\w-]+)[ \t]*:[ \t]*write\b")
_PERMISSIONS = re.compile(r"^[ \t]*permissions[ \t]*:", re.MULTILINE)


def project(file: File, sides: Sides) -> Breaches:
    """Yield a lower bound of coverage, and plugins of pytest that the project gives itself."""
    if file.kind is not Kind.SETTING:
        return
    bounds: list[float] = []
    plugins: list[set[str]] = []
    for text in (file.old or "", file.new or ""):
        bound = re.search(r"(?m)^[^\S\n]*fail_under\s*=\s*[\"']?(\d+(?:\.\d+)?)", text)
        bounds.append(float(bound[1]) if bound else 0)
        if file.name.endswith(".toml"):
            node: object = read_toml(text)
            for key in ("project", "entry-points", "pytest11"):
                node = node.get(key) if isinstance(node, dict) else None
            plugins.append(set(node) if isinstance(node, dict) else set())
        else:
            points = read_ini(text).get("options.entry_points", {})
            plugins.append(set(points.get("pytest11", "").split()))
    if file.new is not None and bounds[1] < bounds[0]:
        message = f"coverage fail_under falls from {bounds[0]:g} to {bounds[1]:g}"
        yield "coverage-lowered", 0, message
    moved = "\n".join(o.old or "" for o in sides.files.of(Kind.SETTING, Kind.SOURCE))
    for name in plugins[1] - plugins[0] if "pytest11" not in moved else ():
        yield "plugin-added", 0, f"adds the pytest11 entry point {name}"


def options(text: str) -> list[str]:
    """Return a command line's options; one that takes a value carries it: `-k slow`."""
    try:
        words = shlex.split(text, comments=False)
    except ValueError:
        words = text.split()
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _TAKES_VALUE and not word.startswith("-"):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def is_narrowing(option: str) -> bool:
    """Return whether an option of pytest takes tests away or changes what a failure means."""
    first = option.split(" ", maxsplit=1)[0]
    return not _HARMLESS.fullmatch(option) and _NARROWING.fullmatch(first) is not None


def audit_settings(files: Files) -> Iterator[tuple[str, str]]:
    """Yield a rule and a message for every way in which the settings of pytest run less than
    before, or forgive more."""
    old, new = files.settings, files.new_settings
    for message in _collection(files):
        yield "collection-narrowed", message
    had, has = (options(settings.values.get("addopts", "")) for settings in (old, new))
    for option in has:
        if option not in had and is_narrowing(option):
            yield "addopts-narrowed", f"addopts gains {option!r}"
        elif option not in had and not re.fullmatch(r"-.*|tests?/?|src", option):
            yield "addopts-narrowed", f"addopts names the path {option!r}"
    for option in [one for one in had if _STRICT.fullmatch(one)]:
        # Another option, or a setting, may still do that by which a failure counted.
        same, setting = _SAME.get(option, ((), ""))
        errors = option.startswith("-W") and "error" in new.values.get("filterwarnings", "")
        is_set = errors or bool(setting and new.is_on(setting, "strict"))
        if not is_set and {option, *same}.isdisjoint(has):
            yield "strictness-lowered", f"addopts loses {option!r}"
    # what is not set by itself follows `strict`, since pytest 9
    was, now = (
        s.is_on("xfail_strict" if "xfail_strict" in s.values else "strict") for s in (old, new)
    )
    if was and not now:
        yield "strictness-lowered", "xfail_strict is no longer on"
    before, after = old.lines("filterwarnings"), new.lines("filterwarnings")
    if "error" in before and "error" not in after:
        yield "strictness-lowered", "warnings are no longer errors"
    for line in _BLANKET.intersection(after).difference(before) if "error" in before else ():
        yield "strictness-lowered", f"filterwarnings applies {line!r} to every warning"
    for name in ("usefixtures", "pytest_plugins"):
        gained = sorted(set(new.lines(name)) - set(old.lines(name)))
        if gained:
            yield "plugin-added", f"{name} gains {', '.join(gained)}"


def _collection(files: Files) -> Iterator[str]:
    """Yield what tests are no longer looked for in."""
    old, new = files.settings, files.new_settings
    old_roots, roots = (
        {root.strip("./") or "." for root in settings.words("testpaths")} for settings in (old, new)
    )
    tests = [file for file in files.of(Kind.TEST) if file.old is not None]
    moved = {  # what of its tests stayed behind, the run misses
        root
        for root in old_roots
        if any(file.path.startswith(f"{root}/") for file in tests)
        and all(file.new is None for file in tests if file.path.startswith(f"{root}/"))
    }
    lost = sorted(old_roots - roots - moved)
    if roots and not all(any(r == "." or root.startswith(f"{r}/") for r in roots) for root in lost):
        yield f"testpaths no longer contains {', '.join(lost)}"
    # testpaths that are new take nothing away where they are what pytest would find anyway
    usual = any(re.search(r"test|^\.?$|^src$", root) for root in roots)
    if roots and not old_roots and not usual:
        yield f"testpaths is set to {' '.join(sorted(roots))}"
    for name in ("python_files", "python_classes", "python_functions"):
        lost = sorted(set(old.patterns(name)) - set(new.patterns(name)))
        # As good as what pytest has by itself: what else was collected, the run misses.
        if lost and not {"*", "*.py", "test_*", "test_", "Test*"} & set(new.patterns(name)):
            yield f"{name} no longer contains {', '.join(lost)}"
    gained = sorted(set(new.words("norecursedirs")) - set(old.words("norecursedirs")))
    if any(re.fullmatch(r"(?i)(?:unit|src|\*)?/?(?:tests?)?\*?", folder) for folder in gained):
        yield f"norecursedirs gains {', '.join(gained)}"


def removed_command(file: File, sides: Sides) -> Breaches:
    """Yield the test command of a file, where no changed file has one any longer."""
    runners = sides.files.of(Kind.COMMAND, Kind.SETTING)
    # One that goes as a whole is missed loudly by whatever called it, but for a pipeline.
    gone = file.new is None and not _PIPELINE.fullmatch(file.path)
    if gone or file.name == ".pre-commit-config.yaml":
        return
    if file in runners and not any(_test_lines(other.new) for other in runners):
        for number, line in _test_lines(file.old)[:1]:
            yield "test-command-removed", number, f"no test command is left of {quote(line)}"


def commands(file: File, _: Sides) -> Breaches:
    """Yield new lines that change the environment of test runs, hide a failure, or run less."""
    if file.kind in {Kind.PROSE, Kind.DATA}:
        return
    variable = _QUOTED if file.is_python else _VARIABLE
    recipe = file.name.lower() in {"makefile", "gnumakefile"} or file.name.endswith(".mk")
    tox = file.name == "tox.ini"
    dash = re.compile(r"\t[@+]*-" if recipe else r"\s*(?:commands\s*=\s*)?-\s*\S")
    lines = (file.new or "").splitlines()
    had = set(re.split(r"[\s\"',\[\]]+", file.old or ""))
    old_runs, new_runs = (_test_lines(text) for text in (file.old, file.new))
    ran_all, runs_all = (
        any(not _is_restricted(line) for _, line in runs) for runs in (old_runs, new_runs)
    )
    runs_less = ran_all and not runs_all
    for number, written in file.added_lines:
        if written.lstrip().startswith(("#", "//")):
            continue
        line = re.sub(r"\$\([^()]*\)", "$()", written)  # what is only asked decides nothing
        runs = _RUNNER.search(line)
        optimised = runs and runs_less and _OPTIMISED.search(line) and not file.is_python
        given = _ADDOPTS.search(line)
        harmless = given and not any(map(is_narrowing, options(given[1] or "")))
        if (variable.search(line) or optimised) and not harmless:
            yield "test-environment", number, f"changes the environment of tests: {quote(line)}"
        if file.kind is not Kind.COMMAND and not tox:
            continue
        continued = number > 1 and re.match(r"[^#;]*\\$", lines[number - 2])
        nearby = lines[max(number - 5, 0) : number + 5]
        # of what is only piped on, the shell may be told that its failure counts
        safe = _PIPED.search(line) and any("pipefail" in one for one in nearby)
        if (
            (
                runs
                and (
                    (_MASKED.search(line) and not safe)
                    or ((recipe or tox) and not continued and dash.match(line))
                )
            )
            or (
                _SWITCH.match(line) and _forgiven(lines, number - 1) > len(new_runs) - len(old_runs)
            )
            or (_OFF.match(line) and any(map(_RUNNER.search, nearby)))
        ):
            yield "exit-masked", number, f"hides a failure: {quote(line)}"
        for option in _pytest_options(line) if runs_less else ():
            name = option.split(" ")[0]
            if is_narrowing(option) and not {name, name.split("=")[0]} & had:
                yield "command-narrowed", number, f"gains {option!r}"
            elif _names_tests(option) and option not in had:
                yield "command-narrowed", number, f"runs only {option!r}"


def _forgiven(lines: list[str], at: int) -> int:
    """Return how many test commands are in the step, job or section that a line of YAML or of an
    ini is part of."""

    def margin(line: str) -> int:
        return len(line) - len(line.lstrip(" \t-")) if line.strip() else 1_000

    depth, first, last = margin(lines[at]), at, at + 1
    while first > 0 and margin(lines[first - 1]) >= depth and not lines[first].startswith("["):
        if lines[first].lstrip().startswith("- ") and margin(lines[first]) == depth:
            break  # the dash opens the step
        first -= 1
    while last < len(lines) and margin(lines[last]) >= depth and not lines[last].startswith("["):
        if lines[last].lstrip().startswith("- ") and margin(lines[last]) == depth:
            break
        last += 1
    return len(_test_lines("\n".join(lines[first:last])))


def _is_restricted(line: str) -> bool:
    """Return whether a test command leaves tests out, or their assertions."""
    for option in _pytest_options(line):
        name, _, path = option.replace(" ", "=").partition("=")
        ignores_source = (
            name in {"--ignore", "--ignore-glob"}
            and is_source(path)
            and kind_of(path, Settings()) is Kind.SOURCE
        )
        if _names_tests(option) or (is_narrowing(option) and not ignores_source):
            return True
    return _OPTIMISED.search(line) is not None


def _pytest_options(line: str) -> list[str]:
    match = _PYTEST.search(line)
    return options(re.sub(r"[\"',\[\]]", " ", match["rest"])) if match else []


def _names_tests(option: str) -> bool:
    """Return whether an argument is a test, or a folder among the tests."""
    return re.search(r"test\w{0,200}\.py|::|^(?:[\w.-]+/)*tests?/\w", option) is not None


def _test_lines(text: str | None) -> list[tuple[int, str]]:
    """Return the lines that run tests, with their numbers."""
    return [
        (number, line)
        for number, line in enumerate((text or "").splitlines(), 1)
        if _RUNNER.search(re.split(r"\s#", line, maxsplit=1)[0])
        and not _NO_COMMAND.match(line)
        and (line.startswith("\t") or re.search(r"\s", line.strip().lstrip("-")))
    ]


def pipelines(file: File, sides: Sides) -> Breaches:
    """Yield every power that a pipeline or commit hook gains, and what triggers it no more."""
    if not _PIPELINE.fullmatch(file.path):
        return
    # all old texts together: a job that moves to another file gains nothing
    changed = [other for other in sides.files.changed if _PIPELINE.fullmatch(other.path)]
    old_texts = "\n".join(_live(other.old) for other in changed)
    new_text = _live(file.new)
    for power, pattern in _POWERS:
        had = {_plainly(match[0]) for match in re.finditer(pattern, old_texts)}
        for number, line in enumerate(new_text.split("\n"), 1):
            for match in re.finditer(pattern, line):
                granted = "write" in power and (
                    re.search(r"\bwrite-all\b", old_texts)
                    or (match[0].startswith("id-") and _IDENTITY.search(new_text))
                )
                if _plainly(match[0]) not in had and not granted:
                    yield "pipeline-power", number, f"{power}: {quote(match[0])}"
    called = re.compile(rf"uses:[ \t]*\./{re.escape(file.path)}")
    if file.old is None or file.new is None:
        return
    # without `permissions` a pipeline has what the project's settings give, which may be all; a
    # job's own may go with the job, or where the whole pipeline may write nothing, then as now
    (bounds, jobs, top), (now_bounds, now_jobs, now_top) = (
        (len(_PERMISSIONS.findall(text)), len(_JOB.findall(text)), _TOP_PERMISSIONS.search(text))
        for text in map(_live, (file.old, file.new))
    )
    # what its jobs had before, too, is all that the pipeline may write
    jobs_wrote = {*_WRITES.findall(_TOP_PERMISSIONS.sub("", file.old))}
    bounded = top and now_top and {*_WRITES.findall(now_top[0])} <= jobs_wrote
    if bounds - now_bounds > max(jobs - now_jobs, 0) and not bounded:
        yield "pipeline-power", 0, "no longer limits itself by `permissions`"
    if (
        not re.search(r"\bmake\b|(?<!la)test|tox|nox", file.old)
        or file.name == ".pre-commit-config.yaml"
        or _ASIDE.match(file.name)
        or any(called.search(_live(other.new)) for other in changed)
    ):
        return  # it runs no tests, or another one runs it
    # what triggers it: the part under `on`, or all of it in the formats without one
    codes = (re.sub(r"(?m)(?:^|[^\S\n])#.*", "", text) for text in (file.old, file.new))
    was, now = ((_TRIGGERS.search(code) or [code])[0] for code in codes)
    if _EVENTS.search(was) and not _EVENTS.search(now):
        yield "pipeline-off", 0, "is no longer triggered by a push or a pull request"
    elif _filters(now) > _filters(was):
        yield "pipeline-off", 0, "is triggered by less than before"


def _plainly(text: str) -> str:
    """Return what a pipeline names as one spelling: case, spaces, dashes make no other secret."""
    return " ".join(text.casefold().replace("-", "_").split())


def _filters(triggers: str) -> int:
    """Return how many filters take away what usually triggers a pipeline."""
    biting = 0
    for key, value, never in _FILTERS.findall(triggers):
        name, _, ignores = key.partition("-")
        usual = bool(never) or _USUAL[name].search(value) is not None
        biting += bool(never) or usual is bool(ignores)
    return biting


def _live(text: str | None) -> str:
    """Return the text without its comment lines: a `#` within a line may be live text."""
    return re.sub(r"(?m)^[^\S\n]*#.*", "", text or "")
