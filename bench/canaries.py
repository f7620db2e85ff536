"""Secrets found, code wrongly accused, and seconds a megabyte, beside detect-secrets.

    python bench/canaries.py [FOLDER]

The planted keys and the harmless lines are those of the tests. FOLDER (default: `src`) is real
code in which nothing is a secret. detect-secrets runs with all its plugins and its own filters,
where it is installed; each planted key is a file of its own for it, as a person would scan it.
The shapes planted are those that we know: what is measured is what of them is covered.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "unit" / "redaction"))

from test_redaction import CANARIES, HARMLESS  # noqa: E402 - the tests' own corpus

from self_coding.redaction import find_secrets  # noqa: E402

Finder = Callable[[Path], int]


def ours(path: Path) -> int:
    return len(find_secrets(path.read_text(errors="replace")))


def theirs() -> Finder | None:
    """detect-secrets as a function; None where it is not installed."""
    try:
        from detect_secrets import SecretsCollection
        from detect_secrets.settings import default_settings
    except ImportError:
        return None

    def find(path: Path) -> int:
        found = SecretsCollection()
        with default_settings():
            found.scan_file(str(path))
        return sum(1 for _ in found)

    return find


def measure(name: str, find: Finder, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "settings.py"

        def hits(text: str) -> bool:
            file.write_text(text)
            return find(file) > 0

        planted = sum(
            hits(f"first = 1\n{frame.format(canary)}\nlast = 2\n") for _, frame, canary in CANARIES
        )
        accused = sum(hits(f"{text}\n") for text in HARMLESS)
    files = [path for path in folder.rglob("*.py") if path.is_file()]
    begun = time.process_time()
    false = sum(find(path) for path in files)
    spent = time.process_time() - begun
    size = sum(path.stat().st_size for path in files) / 1e6
    print(
        f"{name:15} {planted:3} of {len(CANARIES)} planted  "
        f"{accused:2} of {len(HARMLESS)} harmless accused  "
        f"{false:3} in {size:.2f} MB of code  {spent / size:6.2f} CPU s/MB"
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "src"
    measure("self-coding", ours, folder)
    peer = theirs()
    if peer is None:
        print("detect-secrets is not installed: pip install detect-secrets")
    else:
        measure("detect-secrets", peer, folder)


if __name__ == "__main__":
    main()
