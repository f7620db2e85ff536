"""What the sandbox's command line promises."""

from __future__ import annotations

import os
from pathlib import Path

from self_coding.adapters import sandbox
from self_coding.adapters.sandbox import SandboxSpec
from self_coding.values.verdicts import LIMITS, GateSettings


def test_a_box_is_read_only_but_for_its_tree():
    """The system is bound read-only, the network is off, the limits stand before the command."""
    rlimits = GateSettings(memory_bytes=4096, processes=7, file_bytes=1024).rlimits
    spec = SandboxSpec(tree=Path("/t"), mount=Path("/m"), env={}, rlimits=rlimits)
    argv, fds = sandbox.bwrap_arguments(spec, "/bwrap", "run me")
    line = " ".join(argv)
    [identity] = fds
    assert b"name = self-coding" in os.read(identity, 100)
    os.close(identity)
    assert "--unshare-all" in argv and "--die-with-parent" in argv and "--share-net" not in argv
    assert "--ro-bind / /" in line and "--bind /t /m" in line
    assert line.index("--ro-bind / /") < line.index("--tmpfs /tmp") < line.index("--bind /t /m")
    assert "ulimit -d 4;" in line and "ulimit -u 7" in line and "ulimit -f 2;" in line
    assert argv[-2:] == ["sh", "run me"]


def test_every_limit_of_the_table_reaches_the_command():
    """A row of the table is enough: whatever it sets has a flag in the sandbox's shell."""
    settings = GateSettings(**{name: row.least for name, row in LIMITS.items()})
    assert len(settings.rlimits) == sum(len(row.rlimits) for row in LIMITS.values())
    spec = SandboxSpec(tree=Path("/t"), mount=Path("/m"), env={}, rlimits=settings.rlimits)
    line = sandbox.bwrap_arguments(spec, "/bwrap", "x")[0][-3]
    assert line.count("{ ulimit") == len(settings.rlimits) + 1, "and no core dumps"


def test_kernel_settings_are_read_only():
    """`/proc/sys` is bound read-only after `/proc` is mounted, so that root cannot write it."""
    argv = sandbox.bwrap_arguments(
        SandboxSpec(tree=Path("/t"), mount=Path("/m"), env={}), "/bwrap", "x"
    )[0]
    line = " ".join(argv)
    assert line.index("--proc /proc") < line.index("--ro-bind /proc/sys /proc/sys")


def test_the_network_is_a_setting():
    """Only when it is asked for is the network shared."""
    spec = SandboxSpec(tree=Path("/t"), mount=Path("/t"), env={}, network=True)
    assert "--share-net" in sandbox.bwrap_arguments(spec, "/bwrap", "x")[0]


def test_homes_are_hidden_and_the_system_is_not(monkeypatch):
    """Homes and temporary folders are hidden; a service's odd home hides no system folder."""
    monkeypatch.setenv("HOME", "/var/lib")
    assert {Path("/tmp"), Path("/var/lib")} <= set(sandbox.hidden_folders())
    monkeypatch.setenv("HOME", "/usr/sbin")
    hidden = sandbox.hidden_folders()
    assert not any(path.parts[1] in ("usr", "etc", "bin") for path in hidden)
