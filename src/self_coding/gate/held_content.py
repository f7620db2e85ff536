"""What a commit names and git keeps elsewhere: the trees of submodules, the contents of LFS files.

Only what this machine holds already, and exactly what the commit names, whatever the user's
checkout of a submodule is at. Nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from self_coding.adapters import git
from self_coding.adapters.files import remove_tree
from self_coding.adapters.git import Git, fields
from self_coding.adapters.paths import FOLDER, git_directories
from self_coding.errors import GitOperationError

_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
_LONGEST_POINTER = 1024  # bytes, as git-lfs has it


def held_content(tree: Path, top: Path) -> Iterator[tuple[Path, Path]]:
    """Yield where each of them is, and its place in the checkout `tree` of the repository at `top`.

    The trees of submodules are kept by commit, in our folder.
    """
    checkout = git_directories(top)
    if checkout is None:
        return
    if (tree / ".gitmodules").is_file():
        for commit, path in _links(git.run(["ls-files", "-s", "-z"], cwd=tree).stdout):
            own = git_directories(top / path)
            known = own.directory if own and own.top == (top / path).resolve() else None
            place = checkout.common / FOLDER / "submodules" / commit
            if place.is_dir() or _export(
                known or checkout.common / "modules" / path, commit, place
            ):
                yield place, Path(path)
    objects = checkout.common / "lfs" / "objects"
    if objects.is_dir():
        listed = git.run(["ls-files", "-z", "--", ":(attr:filter=lfs)"], cwd=tree).stdout
        for path in fields(listed):
            file = tree / path
            if not file.is_symlink() and file.is_file() and file.stat().st_size < _LONGEST_POINTER:
                match = _POINTER.match(file.read_bytes())
                name = match[1].decode() if match else ""
                if name and (held := objects / name[:2] / name[2:4] / name).is_file():
                    yield held, Path(path)


def _links(listed: bytes) -> Iterator[tuple[str, str]]:
    """Yield commit and path of each submodule in the output of `ls-files -s -z`."""
    for line in fields(listed):
        about, _, path = line.partition("\t")
        if about.startswith("160000 "):
            yield about.split()[1], path


def _export(directory: Path, commit: str, place: Path) -> bool:
    """Write a submodule's tree to `place`, with its own submodules; False: it is not held here."""
    if not (directory / "HEAD").is_file():
        return False
    part = place.with_name(f"{place.name}.part")
    remove_tree(part)
    part.mkdir(parents=True)
    index = part.with_suffix(".index")
    plain = ("filter.lfs.smudge=", "filter.lfs.process=", "filter.lfs.required=false")
    config = ("core.bare=false", *plain)  # a filter may fetch
    inner = Git(directory, directory, part, index=index, config=config)
    try:
        inner.run("read-tree", "--reset", "-u", commit)
        links = list(_links(inner.run("ls-files", "-s", "-z").stdout))
    except GitOperationError:
        remove_tree(part)
        return False
    finally:
        index.unlink(missing_ok=True)
    for link, path in links:
        (part / path).rmdir()
        if not _export(directory / "modules" / path, link, part / path):
            (part / path).mkdir()
    part.rename(place)
    return True
