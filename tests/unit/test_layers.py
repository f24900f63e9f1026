"""The architecture, held by reading every module: who may import whom, which room owns which package, what nobody does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "testbed"

# From the ground up: a module imports its own layer and those before it. A layer of several rooms: they do not know each other.
GROUND = {"errors", "wait", "rpc", "netns", "vty", "mmsg", "__init__"}
LAYERS: list[set[str]] = [
    GROUND,
    {"model"},
    {"azure"},
    {"plan"},
    {"emulation", "controller", "measure"},
    {"scenario"},
    {"report"},
    {"cli", "pytest_plugin"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# A third-party package and the only place that may import it.
OWNERS = {"yaml": "model/loader", "mininet": "emulation/", "os_ken": "controller/", "scapy": "measure/", "pydantic": "model/"}
# The controller programs what real sessions told it; what a design should lead to is none of its business.
PREDICTORS = ("testbed.azure.control_plane", "testbed.azure.predictor")

FORBIDDEN_PROGRAMS = {"pkill", "killall", "mn"}


def imports(tree: ast.Module, module: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of each import, relative ones resolved; for `from a import b` both `a` and `a.b`."""
    package = ["testbed", *module.parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, source
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def room_of(module: Path) -> str:
    """The room of a path below the package: its first folder, or its name at the top."""
    return module.parts[0] if len(module.parts) > 1 else module.stem


def import_faults(tree: ast.Module, module: Path) -> Iterator[tuple[int, str]]:
    """Imports against the order of the layers, and packages outside their room."""
    room = room_of(module)
    if room not in LEVEL:
        yield 1, f"'{room}' has no place in the layers: give it one in this test"
        return
    for line, name in imports(tree, module):
        first, *rest = name.split(".")
        if first == "testbed" and rest and rest[0] in LEVEL:
            upward = LEVEL[rest[0]] > LEVEL[room]
            sideways = LEVEL[rest[0]] == LEVEL[room] > 0 and rest[0] != room
            if upward or sideways:
                yield line, f"{room} imports {rest[0]}"
        if room == "controller" and name.startswith(PREDICTORS):
            yield line, f"controller imports the predictor ({name})"
        if first in OWNERS and not module.as_posix().startswith(OWNERS[first]):
            yield line, f"{first} belongs to {OWNERS[first]}"


def call_faults(tree: ast.Module, module: Path) -> Iterator[tuple[int, str]]:
    """Sleeps, shells, and programs that end what is not ours."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr="sleep") if module != Path("wait.py"):
                yield node.lineno, "time.sleep outside wait.py: wait for a condition"
            case ast.ImportFrom(module="time") if module != Path("wait.py") and any(alias.name == "sleep" for alias in node.names):
                yield node.lineno, "time.sleep outside wait.py: wait for a condition"
            case ast.keyword(arg="shell", value=ast.Constant(value=value)) if value:
                yield node.value.lineno, "shell=True: give a list of arguments"
            case ast.Attribute(value=ast.Name(id="os"), attr="system" | "popen"):
                yield node.lineno, f"os.{node.attr} is a shell: give a list of arguments"
            case ast.Constant(value=str(text)) if program_ends_others(text):
                yield node.lineno, f"{text!r} would end what is not ours"
            case ast.List(elts=[ast.Constant(value=str(text)), *_]) if Path(text).name in FORBIDDEN_PROGRAMS:
                yield node.lineno, f"{text!r} would end what is not ours"


def program_ends_others(text: str) -> bool:
    """A whole command in one string; prose that only mentions one is no command."""
    return text.split()[:2] == ["mn", "-c"] or (text.split()[:1] or [""])[0] in {"pkill", "killall"}


def faults(package: Path) -> list[str]:
    """All faults of a package as `file:line: what`."""
    found = []
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package)
        tree = ast.parse(path.read_text(), str(path))
        found += [f"{module}:{line}: {what}" for line, what in sorted({*import_faults(tree, module), *call_faults(tree, module)})]
    return found


def test_every_module_keeps_to_its_place() -> None:
    assert faults(PACKAGE) == []


def test_the_package_was_really_read() -> None:
    rooms = {room_of(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")}
    assert {"errors", "model", "azure", "plan", "emulation", "controller", "measure", "cli"} <= rooms


@pytest.mark.parametrize(
    ("where", "code", "what"),
    [
        ("model/topology.py", "from testbed.azure import types", "model imports azure"),
        ("azure/gateway.py", "import testbed.plan.types", "azure imports plan"),
        ("azure/gateway.py", "def later():\n    from ..plan import types", "azure imports plan"),
        ("emulation/lab.py", "from testbed.controller.app import App", "emulation imports controller"),
        ("measure/loops.py", "from testbed import emulation", "measure imports emulation"),
        ("controller/app.py", "from testbed.azure.control_plane import predict", "controller imports the predictor"),
        ("controller/app.py", "from testbed.azure import control_plane", "controller imports the predictor"),
        ("errors.py", "import testbed.model", "errors imports model"),
        ("report/tables.py", "from testbed.cli import main", "report imports cli"),
        ("somewhere/new.py", "x = 1", "has no place"),
        ("model/topology.py", "import yaml", "yaml belongs to"),
        ("plan/compile.py", "from mininet.net import Mininet", "mininet belongs to"),
        ("emulation/lab.py", "import os_ken.base", "os_ken belongs to"),
        ("scenario/runner.py", "from scapy.all import IP", "scapy belongs to"),
        ("plan/types.py", "import pydantic", "pydantic belongs to"),
        ("emulation/lab.py", "import time\ntime.sleep(1)", "time.sleep outside"),
        ("emulation/lab.py", "from time import sleep", "time.sleep outside"),
        ("emulation/lab.py", "run('ls', shell=True)", "shell=True"),
        ("emulation/lab.py", "import os\nos.system('ls')", "is a shell"),
        ("emulation/lab.py", "run(['pkill', 'bgpd'])", "not ours"),
        ("emulation/lab.py", "run(['/usr/bin/killall', 'bgpd'])", "not ours"),
        ("emulation/lab.py", "node.cmd('mn -c')", "not ours"),
        ("emulation/lab.py", "run(['mn', '-c'])", "not ours"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, where: str, code: str, what: str) -> None:
    module = tmp_path / where
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(code)
    found = faults(tmp_path)
    assert found
    assert any(what in fault and fault.startswith(where) for fault in found), found


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("model/loader.py", "import yaml\nfrom testbed.errors import InputError\nfrom .topology import Topology"),
        ("wait.py", "import time\ntime.sleep(0.1)"),
        ("controller/app.py", "from testbed.azure.route_server import step\nfrom testbed.plan.types import Plan"),
        ("cli/lab.py", "from testbed.scenario import runner\nfrom testbed.emulation import lab"),
        ("emulation/lab.py", "'''Never pkill, killall or mn -c.'''\nrun(['ip', 'netns'], shell=False)"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, where: str, code: str) -> None:
    module = tmp_path / where
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(code)
    assert faults(tmp_path) == []
