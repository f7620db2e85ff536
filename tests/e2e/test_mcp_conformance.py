"""The protocol's own conformance suite against our server; by hand, since it needs Node 22.

`RUN_CONFORMANCE="/path/to/node /path/to/conformance/dist/index.js"
python -m pytest tests/e2e/test_mcp_conformance.py -m slow -n 0`
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from self_coding.testing import sample_repo

SUITE = shlex.split(os.environ.get("RUN_CONFORMANCE", ""))
#: What applies to this server; docs/explanation/mcp.md says of the rest why it does not.
BOTH = {
    "tools-list", "tools-call-simple-text", "tools-call-error", "tools-call-with-progress",
    "server-sse-multiple-streams", "resources-list", "resources-read-text", "resources-read-binary",
    "resources-templates-read", "prompts-list", "prompts-get-simple", "prompts-get-with-args",
    "dns-rebinding-protection",
}  # fmt: skip
APPLIES = {
    "2025-11-25": BOTH
    | {"server-initialize", "server-session-lifecycle", "ping", "tools-call-elicitation"},
    "2026-07-28": BOTH
    | {
        "sep-2164-resource-not-found", "caching", "http-header-validation",
        "input-required-result-missing-input-response", "input-required-result-result-type",
        "input-required-result-unsupported-methods", "input-required-result-ignore-extra-params",
        "input-required-result-validate-input",
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not SUITE, reason="the conformance suite was not named")
@pytest.mark.parametrize("version", APPLIES)
def test_all_checks_that_apply_pass(tmp_path: Path, version: str) -> None:
    """Each scenario that concerns what this server offers passes whole."""
    repository = sample_repo(tmp_path / "repository")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    program = str(Path(__file__).with_name("mcp_fixtures.py"))
    server = subprocess.Popen([sys.executable, program, str(repository), str(port)])
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        argv = [*SUITE, "server", "--url", f"http://127.0.0.1:{port}/mcp", "--suite", "all"]
        argv += ["--spec-version", version, "--timeout", "60000"]
        done = subprocess.run(
            [*argv, "-o", str(tmp_path / "out")], capture_output=True, text=True, timeout=240
        )
    finally:
        server.terminate()
        server.wait(20)
    passed = set(re.findall(r"^✓ ([\w-]+): \d+ passed, 0 failed", done.stdout, re.MULTILINE))
    assert passed >= APPLIES[version], (APPLIES[version] - passed, done.stdout[-3000:])
