#!/usr/bin/env python3

"""From nothing to the first look at a refused cheat: an empty environment, the wheel, the demo.

    python bench/first_look.py [WHEEL]

Without WHEEL one is built of this tree. The home is empty, pip's cache too: what is installed comes
from the registry, as for anybody. Prints the wall seconds of each step; status 1 when the demo does
not show the cheat, the distant break, the landing and the warning.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("refused", "weaken", "landed", "tried before|was tried")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="self-coding-first-look-") as folder:
        place = Path(folder)
        env = {"HOME": folder, "PATH": os.environ["PATH"], "PIP_NO_CACHE_DIR": "1"}
        # where the registry is, if somebody has set it
        env |= {
            name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))
        }
        total = 0.0

        def step(name: str, *words: str) -> str:
            nonlocal total
            began = time.monotonic()
            done = subprocess.run(
                words, cwd=place, env=env, capture_output=True, text=True, check=False
            )
            total += (took := time.monotonic() - began)
            print(f"{name:34} {took:6.1f} s", flush=True)
            if done.returncode:
                sys.exit(f"{' '.join(words)}: {done.stdout[-800:]}{done.stderr[-800:]}")
            return done.stdout + done.stderr

        if len(sys.argv) > 1:
            wheel = Path(sys.argv[1]).resolve()
        else:
            subprocess.run(
                [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)],
                check=True,
            )
            [wheel] = place.glob("*.whl")
        python = place / "env/bin/python"
        step("an empty environment", sys.executable, "-m", "venv", "env")
        step(
            "pip install of the wheel",
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            f"{wheel}[sandbox]",
        )
        said = step("self-coding demo", str(place / "env/bin/self-coding"), "demo")
        print(f"{'together':34} {total:6.1f} s")
        missing = [words for words in SHOWN if not any(one in said for one in words.split("|"))]
        print(
            f"not shown: {', '.join(missing)}"
            if missing
            else "the cheat, the distant break, the landing and the warning were shown"
        )
        return 1 if missing or total > 120 else 0


if __name__ == "__main__":
    sys.exit(main())
