"""A new Debian in a folder, started with its own systemd, processes and network.

mmdebstrap installs it from this machine's sources. Only root can start it. Its network reaches what
this machine's programs reach, through slirp4netns, and no port of it is one of this machine.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import wait_until

SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")
PACKAGES = "systemd,systemd-sysv,ca-certificates"
PROGRAMS = ("mmdebstrap", "slirp4netns", "unshare", "nsenter")
# Becomes process 1 of the new Debian. `container` tells systemd that the kernel is not its own.
BOOT = """
set -eu
cd "$1"
mount --bind . .
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
cd /
umount -l /mnt
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLEAN = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}


class Debian:
    """A running Debian.

    Attributes:
        root: The folder that is its root folder.
    """

    def __init__(self, root: Path, init: int) -> None:
        self.root = root
        self._init = init

    def run(self, line: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a line of bash as root, in an environment as after a login."""
        return subprocess.run(
            ["nsenter", "--all", "--target", str(self._init), "bash", "-c", f"cd ~; {line}"],
            env=CLEAN,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def output(self, line: str, seconds: float = 300) -> str:
        """Run a line of bash that must succeed, and return what it prints on standard output."""
        done = self.run(line, seconds)
        assert done.returncode == 0, f"$ {line}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def debian(folder: Path) -> Iterator[Debian]:
    """Install Debian 12 into a folder, start it, and delete it at the end."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root, and lacks {missing}")
    root, group = folder / "root", _new_group()
    root.mkdir()
    # In memory: it is made in half the time, and gone at once.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", root], check=True)
    try:
        _install(root)
        start = 'echo $$ >"$1/cgroup.procs"; shift; exec unshare "$@"'
        spaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]
        boot = ["--fork", "--kill-child", "bash", "-c", BOOT, "boot", str(root)]
        with (
            _background(["bash", "-c", start, "start", str(group), *spaces, *boot]) as outer,
            _network(init := _child(outer)),
        ):
            machine = Debian(root, init)
            wait_until(
                lambda: (
                    machine.run("systemctl is-system-running").stdout.strip()
                    in {"running", "degraded"}
                ),
                180,
                "systemd to be ready",
            )
            yield machine
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)
        events = group / "cgroup.events"
        wait_until(lambda: "populated 0" in events.read_text(), what="the end of all processes")
        for inner in sorted(group.rglob("*"), reverse=True):
            if inner.is_dir():
                inner.rmdir()
        group.rmdir()


def _install(root: Path) -> None:
    sources = next(path for path in SOURCES if Path(path).exists())
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
    done = subprocess.run(
        [*command, str(root), sources], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    (root / "etc" / "resolv.conf").write_text("nameserver 10.0.2.3\n")  # slirp4netns answers there
    # It would start programs for this machine's devices.
    (root / "etc" / "systemd" / "system" / "systemd-udevd.service").symlink_to("/dev/null")
    _let_pip_install(root)


def _let_pip_install(root: Path) -> None:
    """Let pip find packages where this machine's does, if that is not on this machine's disk."""
    lines = []
    for name in ("index-url", "trusted-host", "proxy"):
        lines += [f"{name} = {value}" for value in _pip_setting(name)]
    for certificates in _pip_setting("cert"):
        shutil.copy(certificates, root / "etc" / "pip.pem")
        lines.append("cert = /etc/pip.pem")
    (root / "etc" / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))


def _pip_setting(name: str) -> list[str]:
    for place in (":env:", "global"):
        command = [sys.executable, "-m", "pip", "config", "get", f"{place}.{name}"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if found.returncode == 0:
            return [found.stdout.strip()]
    return []


def _new_group() -> Path:
    """Make a group of processes, below which systemd can make its own."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    place = next((Path(words[1]) for words in mounts if words[2] == "cgroup2"), None)
    if place is None:
        pytest.skip("no cgroup2 is mounted")
    group = place / f"micropie-{os.getpid()}"
    group.mkdir()
    return group


@contextlib.contextmanager
def _background(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def _child(process: subprocess.Popen[bytes]) -> int:
    """Return the id of the process that is process 1 of the new Debian."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(wait_until(lambda: children.read_text().split(), what="process 1")[0])


@contextlib.contextmanager
def _network(init: int) -> Iterator[None]:
    command = ["slirp4netns", "--configure", "--disable-host-loopback", str(init), "tap0"]
    with _background(command):
        # The route to everywhere is the last thing that it adds.
        routes = Path(f"/proc/{init}/net/route")
        wait_until(lambda: "tap0\t00000000" in routes.read_text(), what="the network")
        yield
