"""What the sandbox's command line promises."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from self_coding.adapters import sandbox
from self_coding.adapters.sandbox import RunLimits, SandboxSpec
from self_coding.values.verdicts import LIMITS, GateSettings


def test_a_box_is_read_only_but_for_its_tree():
    """The system is bound read-only, the network is off, the limits stand before the command."""
    rlimits = GateSettings(memory_bytes=4096, processes=7, file_bytes=1024).rlimits
    spec = SandboxSpec(tree=Path("/t"), mount=Path("/m"), env={}, rlimits=rlimits)
    argv, fds = sandbox.bwrap_arguments(spec, "/bwrap", "run me")
    line = " ".join(argv)
    no_mounts, identity = fds
    assert b"name = self-coding" in os.read(identity, 100)
    assert f"--seccomp {no_mounts} " in line
    os.close(identity)
    os.close(no_mounts)
    assert {"--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent"} <= {*argv}
    assert "--ro-bind / /" in line and "--bind /t /m" in line
    assert line.index("--ro-bind / /") < line.index("--tmpfs /tmp") < line.index("--bind /t /m")
    assert "ulimit -u 7" in line, "counted inside, where only its own processes count"
    assert argv[-2:] == ["sh", "run me"]


@pytest.mark.parametrize("level", ["bwrap", "landlock", "limits"])
def test_every_limit_of_the_table_reaches_the_command(level, tmp_path):
    """A row of the table is enough: whatever it sets, the command finds set, for good."""
    if level == "bwrap" and sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    settings = GateSettings(cpu_seconds=77, memory_bytes=1 << 30, processes=99, file_bytes=1 << 21)
    spec = SandboxSpec(
        tree=tmp_path, mount=tmp_path, env={"PATH": os.defpath}, rlimits=settings.rlimits
    )
    done = sandbox.run(spec, "cat /proc/self/limits", RunLimits(), at=level)
    rows = {line[:26].strip(): line.split() for line in done.stdout.decode().splitlines()}
    assert rows["Max cpu time"][-3:-1] == ["77", "77"]
    assert rows["Max data size"][-3:-1] == [str(1 << 30)] * 2
    # What is reserved is not bounded: tool chains reserve terabytes, of which they use little.
    assert rows["Max address space"][-3:-1] == ["unlimited", "unlimited"]
    assert rows["Max file size"][-3:-1] == [str(1 << 21)] * 2
    assert rows["Max core file size"][-3:-1] == ["0", "0"]
    assert int(rows["Max processes"][-2]) >= 99
    assert len(settings.rlimits) == sum(len(row.rlimits) for row in LIMITS.values())


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
    assert "--unshare-net" not in sandbox.bwrap_arguments(spec, "/bwrap", "x")[0]


def test_a_socket_in_a_closed_folder_is_nobodys_matter(tmp_path, monkeypatch):
    """A daemon's socket in a folder that we may not enter is left out, and no error."""
    place = Path(f"/var/tmp/{os.getpid()}.{tmp_path.name}"[:100])
    as_it_is = Path.stat

    def stat(path, **how):
        if path == place:
            raise PermissionError(13, "Permission denied", str(path))
        return as_it_is(path, **how)

    spec = SandboxSpec(tree=tmp_path, mount=tmp_path, env={})
    monkeypatch.setattr(sandbox, "hidden_folders", tuple)
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(place))
        try:
            assert place in sandbox._socket_places(spec)
            monkeypatch.setattr(Path, "stat", stat)
            assert place not in sandbox._socket_places(spec)
        finally:
            place.unlink()


def test_cgroups_are_where_their_mounts_say(tmp_path):
    """A contained process finds its cgroups where one outside does: Java fails where it cannot."""
    if sandbox.bubblewrap() is None:
        pytest.skip("no bubblewrap works here")
    spec = SandboxSpec(tree=tmp_path, mount=tmp_path, env={"PATH": os.defpath})
    done = sandbox.run(spec, "cat /proc/self/cgroup", RunLimits(), at="bwrap")
    assert done.stdout == Path("/proc/self/cgroup").read_bytes()


def test_homes_are_hidden_and_the_system_is_not(monkeypatch):
    """Homes and temporary folders are hidden; a service's odd home hides no system folder."""
    monkeypatch.setenv("HOME", "/var/lib")
    assert {Path("/tmp"), Path("/var/lib")} <= set(sandbox.hidden_folders())
    monkeypatch.setenv("HOME", "/usr/sbin")
    hidden = sandbox.hidden_folders()
    assert not any(path.parts[1] in ("usr", "etc", "bin") for path in hidden)
