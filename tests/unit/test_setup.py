"""testbed.sh: what it installs and when, what it leaves alone, and what it says when the machine will not have it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed.cli import COMMANDS

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "testbed.sh"
ROOTLESS = {"fuzz", "doctor", "check", "predict", "explain", "compare", "plan", "graph", "schema", "report"}


class Machine:
    """A made-up Debian: stubs of its package tools, a folder for what they say and do, and testbed.sh sourced among them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.installed = root / "installed"
        self.calls = root / "calls"
        self.policy = root / "policy-rc.d"
        self.pending = root / "state/new-units"
        for folder in ("bin", "units"):
            (root / folder).mkdir()
        self.installed.write_text("procps\n")
        self.calls.touch()
        self.stub("dpkg-query", f'while [ "$1" ]; do grep -qx -- "$1" {self.installed} && printf "installed:%s " "$1"; shift; done; true')
        self.stub("systemctl", "")
        self.apt('for p; do echo "$p" >> {installed}; touch {units}/$p.service; done')

    def stub(self, name: str, script: str) -> None:
        """A program that notes its call and does what the script says."""
        path = self.root / "bin" / name
        log = f'echo "{name} $*" >> {self.calls}\n' if name != "dpkg-query" else ""
        path.write_text(f"#!/bin/sh\n{log}{script}\n")
        path.chmod(0o755)

    def apt(self, install: str) -> None:
        """Apt whose `install` does what is given; `update` always works."""
        script = install.format(installed=self.installed, units=self.root / "units", policy=self.policy)
        self.stub("apt-get", f'case "$*" in *" update") exit 0;; esac\nwhile [ "$1" != install ]; do shift; done; shift\n{script}')

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Runs shell code with testbed.sh sourced and its paths inside the made-up machine."""
        paths = f"policy={self.policy} pending={self.pending} unit_files={self.root}/units lock={self.root} UNITS=(frr.service ssh.service)"
        return subprocess.run(
            ["bash", "-c", f'source "{SCRIPT}"; {paths}; {code}'],
            env={"PATH": f"{self.root}/bin:/usr/bin:/bin", "TMPDIR": str(self.root)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )

    def called(self, program: str) -> list[str]:
        """The calls of a program so far."""
        return [line for line in self.calls.read_text().splitlines() if line.startswith(program)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_installs_only_what_is_missing(machine: Machine) -> None:
    result = machine.run("install_packages procps frr faketime")
    assert result.returncode == 0, result.stderr
    (update, install) = machine.called("apt-get")
    assert update.endswith(" update")
    assert install.endswith(" install frr faketime")
    assert "--no-install-recommends" in install
    assert "frr faketime" in result.stderr


def test_nothing_missing_nothing_done(machine: Machine) -> None:
    result = machine.run("ensure_packages procps")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.calls.read_text() == ""


def test_no_daemon_starts_while_installing(machine: Machine) -> None:
    machine.apt("{policy} frr start; echo policy says $? >> {installed}")
    result = machine.run("install_packages frr")
    assert result.returncode == 0, result.stderr
    assert "policy says 101" in machine.installed.read_text()
    assert not machine.policy.exists()


def test_a_policy_of_the_machine_stays(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 104\n")
    assert machine.run("install_packages frr").returncode == 0
    assert machine.policy.read_text() == "#!/bin/sh\nexit 104\n"


def test_only_daemons_we_brought_are_disabled(machine: Machine) -> None:
    (machine.root / "units/ssh.service").touch()  # was here before: the user's
    assert machine.run("install_packages frr").returncode == 0
    (call,) = machine.called("systemctl")
    assert call.startswith("systemctl disable")
    assert call.endswith("frr.service")
    assert not machine.pending.exists()


def test_an_interrupted_installation_is_completed_by_the_next(machine: Machine) -> None:
    machine.apt("touch {units}/frr.service; kill -TERM $PPID; sleep 0.2; echo frr >> {installed}")
    result = machine.run("install_packages frr")
    assert result.returncode in {143, -15}, result
    assert not machine.policy.exists(), "no foreign machine keeps our policy"
    assert machine.called("systemctl") == []

    result = machine.run("(need_root() { :; }; self=/dev/null; sudo=(echo again); ensure_packages frr)")
    assert "again" in result.stdout, "the packages are there, the daemons are not disabled yet"
    assert machine.run("install_packages frr").returncode == 0
    assert [call.split()[-1] for call in machine.called("systemctl")] == ["frr.service"]
    assert not machine.pending.exists()


def test_a_policy_left_by_a_killed_installation_is_removed(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\n# written by testbed.sh while it installs\nexit 101\n")
    assert machine.run("install_packages frr").returncode == 0
    assert not machine.policy.exists()


def test_an_interrupted_dpkg_is_mended(machine: Machine) -> None:
    machine.stub("dpkg", f"touch {machine.root}/mended")
    machine.apt(
        f'[ -e {machine.root}/mended ] || {{{{ echo "E: dpkg was interrupted, you must manually run dpkg --configure -a"; exit 100; }}}}\n'
        "echo frr >> {installed}"
    )
    result = machine.run("install_packages frr")
    assert result.returncode == 0, result.stderr
    assert machine.called("dpkg") == ["dpkg --configure -a"]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Err:1 Temporary failure resolving 'some.host'", "check the network"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "the disk is full"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", "another apt or dpkg is busy"),
        ("E: Unable to locate package frr", "Debian 12"),
        ("something new", "see the last lines above"),
    ],
)
def test_a_failure_says_what_to_do(machine: Machine, said: str, advice: str) -> None:
    machine.apt(f'echo "{said}"; exit 100')
    result = machine.run("install_packages frr")
    assert result.returncode == 3
    assert said in result.stderr
    assert result.stderr.splitlines()[-1].startswith("testbed: Installing Debian packages failed: ")
    assert advice in result.stderr.splitlines()[-1]
    assert not machine.policy.exists()


def test_not_a_debian(machine: Machine) -> None:
    result = machine.run("PATH=; ensure_packages frr")
    assert result.returncode == 3
    assert "no Debian" in result.stderr
    assert "frr" in result.stderr


def test_no_root_and_no_sudo(machine: Machine) -> None:
    code = "command() { return 1; }; need_root \"'up'\""
    result = machine.run(f"{code}; echo went on")
    if os.geteuid() == 0:
        assert result.stdout == "went on\n", "root needs no sudo"
    else:
        assert result.returncode == 3
        assert "'up' needs root" in result.stderr


def test_two_at_once_install_once(machine: Machine) -> None:
    machine.apt("sleep 0.3; echo frr >> {installed}")
    result = machine.run("(install_packages frr) & (install_packages frr) & wait")
    assert result.returncode == 0, result.stderr
    assert len([call for call in machine.called("apt-get") if "install frr" in call]) == 1


@pytest.mark.parametrize(
    ("arguments", "root"),
    [
        ("up topologies/x.yaml", True),
        ("--debug run scenarios/x.yaml", True),
        ("show effective-routes vm11", True),
        ("show effective-routes vm11 --predict x.yaml", False),
        ("exec nva1 -- ping --help", True),
        ("exec --help", False),
        ("up -h", False),
        ("check up", False),
        ("fuzz --count 3", False),
        ("fuzz --count 3 --live", True),
        ("check --live", False),
        ("--help", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_who_needs_root(machine: Machine, arguments: str, root: bool) -> None:
    assert machine.run(f"needs_root {arguments} && echo yes || echo no").stdout.strip() == ("yes" if root else "no")


def test_every_command_is_known_to_the_launcher() -> None:
    found = re.search(r"^ROOT_COMMANDS='(.*)'$", SCRIPT.read_text(), re.MULTILINE)
    assert found
    assert set(found[1].split()) == set(COMMANDS) - ROOTLESS


def test_completion_never_asks_for_a_password(machine: Machine) -> None:
    assert machine.run("_TESTBED_COMPLETE=bash_complete; needs_root up && echo yes || echo no").stdout == "no\n"


def test_runs_from_anywhere_through_links_and_spaces(tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    (clone / ".venv/bin").mkdir(parents=True)
    for name in ("testbed.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, clone)
    (clone / ".venv/bin/python").symlink_to("/usr/bin/python3")
    cli = clone / ".venv/bin/testbed"
    cli.write_text('#!/bin/sh\nfor a; do echo "<$a>"; done\nexit 7\n')
    cli.chmod(0o755)
    stamp = subprocess.run(["bash", "-c", f'source "{clone}/testbed.sh"; stamp'], capture_output=True, text=True, check=True).stdout
    (clone / ".venv/.testbed-run").write_text(stamp)
    link = tmp_path / "testbed"
    link.symlink_to(clone / "testbed.sh")
    result = subprocess.run([link, "check", "a  b.yaml", "$(x)"], cwd="/", capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7, "<check>\n<a  b.yaml>\n<$(x)>\n", "")


@pytest.mark.parametrize("change", ["pyproject", "moved", "broken"])
def test_the_environment_is_renewed_when_it_no_longer_fits(tmp_path: Path, change: str) -> None:
    clone = tmp_path / "clone"
    (clone / ".venv/bin").mkdir(parents=True)
    for name in ("testbed.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, clone)
    for name in ("python", "testbed"):
        (clone / ".venv/bin" / name).symlink_to("/bin/true")

    def fits(where: Path) -> bool:
        return subprocess.run(["bash", "-c", f'source "{where}/testbed.sh"; venv_has run'], check=False).returncode == 0

    stamp = subprocess.run(["bash", "-c", f'source "{clone}/testbed.sh"; stamp'], capture_output=True, text=True, check=True).stdout
    assert not fits(clone), "an interrupted installation has no stamp"
    (clone / ".venv/.testbed-run").write_text(stamp)
    assert fits(clone)
    match change:
        case "pyproject":
            (clone / "pyproject.toml").write_text("# other dependencies\n")
        case "moved":
            clone = clone.rename(tmp_path / "elsewhere")
        case "broken":
            (clone / ".venv/bin/python").unlink()
    assert not fits(clone)


@pytest.mark.parametrize("script", [SCRIPT, ROOT / ".ci/run", *sorted((ROOT / "tests/vm").glob("*.sh"))], ids=lambda path: path.name)
def test_shell_scripts_are_clean(script: Path) -> None:
    result = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def vagrant(*arguments: str, home: Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    settings = {"VAGRANT_HOME": str(home), "VAGRANT_CHECKPOINT_DISABLE": "1", "HOME": str(home), "VAGRANT_DOTFILE_PATH": str(home / "dot")}
    return subprocess.run(["vagrant", *arguments], cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=False)


def test_vagrantfile_is_valid(tmp_path: Path) -> None:
    result = vagrant("validate", "--ignore-provider", home=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_vagrant_finds_a_wrong_setting(tmp_path: Path) -> None:
    text = (ROOT / "Vagrantfile").read_text().replace("config.vm.hostname", "config.vm.hostnaem")
    (tmp_path / "Vagrantfile").write_text(text)
    result = vagrant("validate", "--ignore-provider", home=tmp_path / "home", folder=tmp_path)
    assert result.returncode == 1
    assert "hostnaem" in result.stdout + result.stderr


def obstacle(kvm: bool, **settings: str) -> str:
    """What the Vagrantfile says of a machine with 2 GB left, before it starts anything."""
    machine = f"""
        module Vagrant; def self.configure(version); end; end
        def File.exist?(path) = path == "/proc/meminfo" || {str(kvm).lower()}
        def File.read(path) = "MemTotal: 9 kB\\nMemAvailable:   2097152 kB\\n"
        eval(ARGF.read)
        puts obstacle(:libvirt)
    """
    text = (ROOT / "Vagrantfile").read_text()
    return subprocess.run(
        ["ruby", "-e", machine], input=text, env=os.environ | settings, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"TESTBED_MEMORY": "1500"}, ""),
        ({"TESTBED_MEMORY": "500"}, "1024 MiB or more"),
        ({}, "the VM takes 4096 MiB and this machine has 2048 MiB left"),
    ],
)
def test_too_little_memory_for_a_vm_is_told_before_it_starts(settings: dict[str, str], reason: str) -> None:
    found = obstacle(True, **settings)
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_machine_without_virtualisation_is_told_and_may_emulate() -> None:
    found = obstacle(False, TESTBED_MEMORY="1500")
    assert "no hardware virtualisation" in found
    assert "TESTBED_EMULATE=yes vagrant up" in found
    assert obstacle(False, TESTBED_MEMORY="1500", TESTBED_EMULATE="yes") == ""
