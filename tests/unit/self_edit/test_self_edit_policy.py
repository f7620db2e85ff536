"""The rules for a change: each says no where it should, and nowhere else."""

from typing import Any

import pytest

from self_coding.errors import ConfigError
from self_coding.self_edit.policy import Policy, fold, matches, resolve
from self_coding.values.repository import Change, FileChange

SOURCE = b"def f():\n    return 1\n"


def change(
    *paths: str, status: str = "M", old_mode: str = "100644", mode: str = "100644"
) -> Change:
    files = tuple(
        FileChange(path=path, status=status, added=1, removed=1, old_mode=old_mode, mode=mode)
        for path in paths
    )
    return Change(base="0" * 40, head="1" * 40, files=files)


def rules(
    made: Change,
    policy: Policy | None = None,
    *,
    before: bytes | None = SOURCE,
    after: bytes | None = SOURCE,
    **more: object,
) -> list[str]:
    verdict = (policy or Policy()).judge(
        made,
        before=dict.fromkeys(made.paths, before), after=dict.fromkeys(made.paths, after),
        **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return [finding.rule for finding in verdict.findings]


def test_an_ordinary_change_is_allowed() -> None:
    """Nothing is broken: the verdict is empty and allows."""
    made = change("src/a.py")
    sides = {"src/a.py": SOURCE}
    verdict = Policy().judge(made, before=sides, after=sides)
    assert verdict.allowed
    assert verdict.reasons == ()


@pytest.mark.parametrize(("files", "broken"), [(2, []), (3, ["too-many-files"])])
def test_the_number_of_files_is_bound(files: int, broken: list[str]) -> None:
    """The limit itself is allowed, one more is not."""
    made = change(*(f"src/{n}.py" for n in range(files)))
    assert rules(made, Policy(max_files=2)) == broken


@pytest.mark.parametrize(("limit", "broken"), [(2, []), (1, ["too-many-lines"])])
def test_the_number_of_lines_is_bound(limit: int, broken: list[str]) -> None:
    """Added and removed lines count together."""
    assert rules(change("src/a.py"), Policy(max_lines=limit)) == broken


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "vendor/.git/hooks/pre-commit",
        ".GIT/config",
        "sub/.Git",
        ".git./config",
        ".git /config",
        "git~1/config",
        ".g\u200cit/config",
        ".git::$INDEX_ALLOCATION/config",
        "./.githooks/pre-push",
        "src/../.githooks/pre-push",
        ".githooks//pre-push",
        ".GitHooks/Pre-Push",
        ".husky/pre-commit",
        "CODEOWNERS",
        "docs/CODEOWNERS",
        ".gitmodules",
        "sub/.gitattributes",
        ".self-coding.toml",
        ".self-coding/worktrees/w1/src/a.py",
        "\uff0egithooks/pre-push",
        ".githooks\\pre-push",
    ],
)
def test_protected_paths_are_known_in_every_spelling(path: str) -> None:
    """Case, dots, other slashes, invisible and full-width characters change nothing."""
    assert "protected-path" in rules(change(path))


@pytest.mark.parametrize(
    "path",
    ["src/git.py", ".gitignore", "docs/github.md", "src/hooks/api.py", "gitlab/ci.py", "x.git/a"],
)
def test_names_that_only_look_alike_are_free(path: str) -> None:
    """What merely resembles a protected path may change."""
    assert "protected-path" not in rules(change(path))


def test_a_project_may_open_a_path() -> None:
    """`allow` takes a path out of `protected`, the others stay."""
    policy = Policy(allow=(".husky/pre-push",))
    assert rules(change(".husky/pre-push"), policy) == []
    assert "protected-path" in rules(change(".husky/pre-commit"), policy)


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("on: push\npermissions:\n  contents: read\n", "on: push\n", "pipeline-power"),
        ("x: ${{ secrets.A }}\n", "x: ${{ secrets.A }}${{ secrets.B }}\n", "pipeline-power"),
        ("test:\n  script: make\n", "test:\n  when: never\n  script: make\n", "pipeline-off"),
    ],
)  # fmt: skip
def test_a_pipeline_may_not_gain_power_or_be_switched_off(before, after, rule) -> None:
    """Bounds that go, a second secret on a line, and a job that never runs are named."""
    path = ".gitlab-ci.yml" if "script" in before else ".github/workflows/ci.yml"
    verdict = Policy().judge(
        change(path), before={path: before.encode()}, after={path: after.encode()}
    )
    assert [finding.rule for finding in verdict.findings] == [rule]


def test_links_of_test_data_are_tests_too() -> None:
    """Where no test may change, no link beside the tests may either."""
    file = FileChange(path="tests/exp.json", status="M", old_mode="120000", mode="120000")
    held = Policy(tests_may_change="no")
    both = {"before": {file.path: b"../a.json"}, "after": {file.path: b"../b.json"}}
    found = held.judge(Change(base="a", head="b", files=(file,)), **both).findings
    assert [finding.rule for finding in found] == ["test-changed"]


def test_a_path_out_of_the_repository_is_refused() -> None:
    """`..` beyond the root is named, and what it may hide is judged too."""
    assert "outside-repository" in rules(change("../other/a.py"))
    assert "protected-path" in rules(change("../.git/config"))


def test_a_path_under_a_link_is_judged_where_it_leads() -> None:
    """A folder of the base that is a link to a protected one protects what lies under it."""
    assert rules(change("ci/a"), links={"ci": ".githooks"}) == ["protected-path"]
    assert rules(change("ci/a"), links={"ci": "/etc"}) == ["outside-repository"]


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/etc/passwd", "link-outside"),
        ("../../x", "link-outside"),
        ("C:/x", "link-outside"),
        (".git", "link-to-protected"),
        (".githooks", "link-to-protected"),
        (".", "link-to-protected"),
        (".GitHooks/pre-push", "link-to-protected"),
        ("link", "link-outside"),
    ],
)
def test_a_link_is_judged_by_its_target(target: str, rule: str) -> None:
    """A link to a protected place, its parent, the outside or itself is refused."""
    made = change("link", status="A", old_mode="000000", mode="120000")
    assert rules(made, before=None, after=target.encode()) == [rule]


def test_a_link_inside_is_free_unless_links_are_not() -> None:
    """A link to another file of the repository is ordinary."""
    made = change("docs/link", status="A", old_mode="000000", mode="120000")
    assert rules(made, before=None, after=b"../README.md") == []
    assert rules(made, Policy(may_link=False), before=None, after=b"../README.md") == ["link"]


def test_a_chain_of_links_is_followed() -> None:
    """A link to a link to a protected place is one to the protected place."""
    files = tuple(FileChange(path=path, status="A", mode="120000") for path in ("one", "two"))
    made = Change(base="0", head="1", files=files)
    after = {"one": b"two", "two": b".githooks"}
    found = Policy().judge(made, before={}, after=after).findings
    assert [(f.rule, f.path) for f in found] == [
        ("link-to-protected", "one"),
        ("link-to-protected", "two"),
    ]


def test_submodules_and_executables_need_a_yes() -> None:
    """Neither a submodule nor an executable bit comes in by default, but for a plain script."""
    module = change("vendor", old_mode="000000", mode="160000", status="A")
    bit = change("src/a.py", old_mode="100644", mode="100755")
    assert rules(module, before=None, after=None) == ["submodule"]
    assert rules(bit) == rules(bit, after=b"#!/bin/sh\n") == []
    assert rules(bit, after=b"\x7fELF") == ["made-executable"]
    new, hook = (change(p, old_mode="000000", mode="100755", status="A") for p in ("run", ".h/run"))
    assert rules(new, before=None, after=b"#!/bin/sh\n") == []
    assert rules(new, before=None, after=b"\x7fELF") == ["made-executable"]
    assert rules(hook, before=None, after=b"#!/bin/sh\n") == ["made-executable"]
    policy = Policy(may_submodule=True, may_make_executable=True)
    assert rules(module, policy, before=None, after=None) == []
    assert rules(bit, policy, after=b"\x7fELF") == []


def test_creating_and_deleting_can_be_forbidden() -> None:
    """Both are allowed by default and refused where the project says so."""
    new = change("src/a.py", status="A", old_mode="000000")
    gone = change("src/a.py", status="D", mode="000000")
    assert rules(new, before=None) == rules(gone, after=None) == []
    assert rules(new, Policy(may_create=False), before=None) == ["file-created"]
    assert rules(gone, Policy(may_delete=False), after=None) == ["file-deleted"]


def test_only_covered_files_may_change_where_asked() -> None:
    """`require_coverage` refuses a modified source file that no test reaches."""
    policy = Policy(require_coverage=True)
    made = change("src/a.py")
    assert rules(made, policy, covered=frozenset({"src/a.py"})) == []
    assert rules(made, policy, covered=frozenset()) == ["not-covered"]
    assert rules(made, policy) == ["not-covered"]
    assert rules(change("docs/a.md"), policy, covered=frozenset()) == []
    assert rules(change("src/a.py", status="A"), policy, before=None, covered=frozenset()) == []


def test_the_guard_and_the_tests_do_not_change_together() -> None:
    """Either alone may change; both in one landing may not."""
    policy = Policy(guard=("src/gate.py", "src/guard/**"))
    assert rules(change("src/gate.py"), policy) == []
    assert rules(change("tests/test_gate.py"), policy) == []
    assert rules(change("src/gate.py", "tests/test_gate.py"), policy) == ["guard-and-tests"]
    assert rules(change("src/guard/a.py", "tests/conftest.py"), policy) == ["guard-and-tests"]
    assert rules(change("src/other.py", "tests/test_gate.py"), policy) == []


@pytest.mark.parametrize("table", ["self-coding", "self_coding"])
def test_the_settings_of_the_guard_stay(table: str) -> None:
    """A project file may change, but not the guard's table in it."""
    made = change("pyproject.toml")
    old = f'[project]\nversion = "1"\n[tool.{table}]\nmax_files = 5\n'.encode()
    assert rules(made, before=old, after=old.replace(b'"1"', b'"2"')) == []
    assert rules(made, before=old, after=old.replace(b"5", b"50")) == ["guard-settings"]
    assert rules(made, before=old, after=b"[project]\n") == ["guard-settings"]
    assert rules(made, before=old, after=b"no toml [[[") == ["guard-settings"]


def test_new_secrets_are_refused_and_old_ones_are_not_ours() -> None:
    """A secret that the change brings in is a finding with its line; one that was there is not."""
    key = b"KEY = 'ghp_" + b"a1B2c3D4e5F6g7H8i9" * 2 + b"'\n"
    made = change("src/a.py")
    assert rules(made, after=SOURCE + key) == ["secret"]
    assert rules(made, before=key, after=SOURCE + key) == []
    assert rules(made, Policy(allow_secrets=True), after=SOURCE + key) == []
    found = (
        Policy().judge(made, before={"src/a.py": SOURCE}, after={"src/a.py": SOURCE + key}).findings
    )
    assert found[0].line == 3
    assert "a1B2" not in str(found[0])


def test_secret_files_are_refused_by_name() -> None:
    """A file that holds secrets by custom does not land, a template of it does."""
    assert rules(change(".env"), after=b"A=1\n", before=None) == ["secret-file"]
    assert rules(change(".env.example"), after=b"A=1\n", before=None) == []
    policy = Policy(allow_secret_paths=("tests/data/**",))
    assert rules(change("tests/data/server.pem"), policy, before=None, after=b"x") == []


def test_tests_may_be_closed() -> None:
    """With "no" any test, helper or data file of the tests is refused, code is not."""
    policy = Policy(tests_may_change="no")
    for path in ("tests/test_a.py", "tests/conftest.py", "tests/data/a.json", "src/x_test.py"):
        assert rules(change(path), policy) == ["test-changed"]
    assert rules(change("src/a.py"), policy) == []


def test_tests_may_be_open_for_growth_only() -> None:
    """With "added" an expectation may not follow the code."""
    made = change("src/a.py", "tests/test_a.py")
    before = {"src/a.py": SOURCE, "tests/test_a.py": b"def test():\n    assert f() == 1\n"}
    after = {
        "src/a.py": SOURCE.replace(b"1", b"2"),
        "tests/test_a.py": b"def test():\n    assert f() == 2\n",
    }
    assert Policy().judge(made, before=before, after=after).allowed
    strict = Policy(tests_may_change="added").judge(made, before=before, after=after)
    assert [f.rule for f in strict.findings] == ["expectation-changed"]


def test_the_mode_says_who_decides() -> None:
    """A policy refuses unless it asks."""
    assert not Policy().asks
    assert Policy(mode="ask").asks


@pytest.mark.parametrize(
    "wrong", [{"mode": "maybe"}, {"tests_may_change": "yes"}, {"max_files": -1}, {"max_lines": -1}]
)
def test_a_policy_that_cannot_be_meant_is_an_error(wrong: dict[str, Any]) -> None:
    """A misspelt word or a negative limit is refused, and never read as "anything goes"."""
    with pytest.raises(ConfigError):
        Policy(**wrong)


def test_bytes_that_are_no_text_are_judged_too() -> None:
    """Binary content never stops the judge."""
    assert rules(change("src/a.py"), before=b"\xff\x00", after=b"\xfe\x00\n" * 3) == []
    assert rules(change("tests/test_a.py"), after=b"\xff\x00") == ["test-unparsable"]


@pytest.mark.parametrize(
    ("glob", "path", "hit"),
    [
        ("a/*.py", "a/b.py", True),
        ("a/*.py", "a/b/c.py", False),
        ("a/**", "a/b/c.py", True),
        ("a/**", "a", False),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("a", "a/b", True),
        ("a?c", "abc", True),
        ("a.c", "abc", False),
        ("A/B", "a/b", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
    ],
)
def test_globs(glob: str, path: str, hit: bool) -> None:
    """`*` stays in a folder, `**` does not, a folder's name covers what it holds."""
    assert matches(path, (glob,)) is hit


@pytest.mark.parametrize(
    ("path", "links", "where"),
    [
        ("a/./b//c", {}, "a/b/c"),
        ("a/../b", {}, "b"),
        ("../a", {}, None),
        ("/a", {}, None),
        ("l/x", {"l": "d"}, "d/x"),
        ("d/l/x", {"d/l": "../e"}, "e/x"),
        ("l/x", {"l": "../.."}, None),
        ("l", {"l": "m", "m": "l"}, None),
        ("l/../x", {"l": "a/b"}, "a/x"),
    ],
)
def test_paths_resolve(path: str, links: dict[str, str], where: str | None) -> None:
    """Links and dots are followed as the file system would."""
    assert resolve(path, links) == where


def test_folding_is_idempotent() -> None:
    """A folded path folds to itself."""
    for path in (".GIT./Config ", "\uff0egit", "a\\B"):
        assert fold(fold(path)) == fold(path)
