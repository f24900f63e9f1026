"""pytest with a lab: a fixture that brings a topology up, verbs to act on it, assertions in network words (docs/pytest-plugin.md)."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testbed.scenario.live import LiveLab

_KEY = pytest.StashKey[dict[str, "Lab"]]()
_PATIENCE = 10.0
Names = str | Sequence[str]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of tests with labs."""
    group = parser.getgroup("testbed", "labs of the Azure Route Server testbed")
    group.addoption("--keep-lab", action="store_true", help="leave labs up after their tests")
    group.addoption("--cli-on-error", action="store_true", help="open Mininet's prompt on the live lab when a test of it fails")
    group.addoption("--lab-artefacts", default="results/tests", metavar="DIR", help="where the state of the lab goes when a test fails")


def pytest_configure(config: pytest.Config) -> None:
    """The marker that names a module's topology."""
    config.addinivalue_line("markers", "topology(file): the topology file of the `lab` fixture, beside the test file or below the root")
    config.stash[_KEY] = {}


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab of the module's topology, up and converged; gone after the module's last test, whatever happens.

    The file is named by ``pytestmark = pytest.mark.topology("x.yaml")``, or by indirect parametrization of ``lab``.
    """
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    from testbed.emulation import client
    from testbed.scenario.building import build

    file = _topology_file(request)
    evidence = Path(request.config.getoption("--lab-artefacts")) / f"{_word(request.node.nodeid)}-{file.stem}"
    live, warnings = build(file, lambda stage, seconds: None, _lab_name(file), evidence=evidence)
    made = request.config.stash[_KEY][live.plan.lab] = Lab(live, warnings)
    try:
        yield made
    finally:
        live.end_captures()
        if not request.config.getoption("--keep-lab"):
            del request.config.stash[_KEY][live.plan.lab]
            client.down(live.plan.lab)


def _topology_file(request: pytest.FixtureRequest) -> Path:
    """The file by parameter or marker, looked for beside the test file, then below pytest's root."""
    marker = request.node.get_closest_marker("topology")
    name = getattr(request, "param", None) or (marker.args[0] if marker and marker.args else None)
    if name is None:
        raise pytest.UsageError('the lab fixture needs a topology: pytestmark = pytest.mark.topology("FILE")')
    for folder in (request.path.parent, request.config.rootpath):
        if (folder / name).is_file():
            return Path(folder / name)
    raise pytest.UsageError(f"no topology file {name} in {request.path.parent} or {request.config.rootpath}")


def _lab_name(file: Path) -> str:
    """A name that no other run of pytest on this machine uses."""
    return f"{re.sub('[^a-z0-9-]', '-', file.stem.lower())[:28]}-{os.getpid()}"


def _word(text: str) -> str:
    """A text as the name of a file."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", text).strip("-")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """When a test with a lab failed, what the lab looked like is kept."""
    report = yield
    made = getattr(item, "funcargs", {}).get("lab")
    if report.when == "call" and report.failed and isinstance(made, Lab):
        folder = Path(item.config.getoption("--lab-artefacts")) / _word(item.nodeid)
        report.sections.append(("lab", f"configurations, BGP tables, flows and logs: {made.keep(folder)}"))
    return report


def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """The prompt on the lab of the test that failed, if it is wanted."""
    made = getattr(node, "funcargs", {}).get("lab")
    if not isinstance(made, Lab) or not node.config.getoption("--cli-on-error"):
        return
    from testbed.emulation.mininet_lab import prompt

    capture = node.config.pluginmanager.getplugin("capturemanager")
    capture.suspend(in_=True)  # the keyboard, too
    try:
        print(f"\n{node.nodeid} failed: Mininet's prompt on the live lab; leave it with `exit`")
        prompt(made.live.plan, made.live.client.paths)
    finally:
        capture.resume()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Names the labs that were left up."""
    for name in config.stash.get(_KEY, {}):
        terminalreporter.write_line(f"lab {name} stays up; `testbed down {name}` removes it")


class Lab:
    """A lab that is up. Verbs return at once; assertions look until they hold, at most ``within`` seconds, and explain a failure."""

    def __init__(self, live: LiveLab, warnings: Sequence[str] = ()) -> None:
        """``warnings`` say what could not be emulated or came out other than predicted."""
        self.live = live
        self.warnings = tuple(warnings)

    @property
    def name(self) -> str:
        """The lab's name, for `testbed` commands."""
        return self.live.plan.lab

    def keep(self, folder: Path) -> Path:
        """Write configurations, BGP tables, flows and logs below a folder; gives it back."""
        from testbed.emulation.evidence import collect

        collect(self.live.plan, self.live.client.paths, folder)
        return folder

    # --- to act ---

    def do(self, verb: str, **detail: Any) -> None:
        """Any action of docs/scenarios.md: ``lab.do("announce", nva="nva2", prefix="192.0.2.0/24")``. Raises InputError when it is none."""
        from testbed.model.scenario import action_of

        self.live.act(action_of(verb, detail))

    def fail(self, node: str | None = None, **what: Any) -> None:
        """Break a node, or its ``daemon=``, its ``power=True``; or a ``tunnel=``, a ``link=``, the ``controller=True``."""
        self.do("fail", **_fault(node, what))

    def heal(self, node: str | None = None, **what: Any) -> None:
        """Mend what `fail` broke, with the same arguments."""
        self.do("heal", **_fault(node, what))

    def announce(self, nva: str, prefix: str, count: int = 1) -> None:
        """An NVA announces a prefix, or so many of its length."""
        self.do("announce", nva=nva, prefix=prefix, count=count)

    def withdraw(self, nva: str, prefix: str, count: int = 1) -> None:
        """An NVA withdraws what it announced."""
        self.do("withdraw", nva=nva, prefix=prefix, count=count)

    def prepend(self, nva: str, count: int) -> None:
        """An NVA prepends its AS number so many times."""
        self.do("prepend", nva=nva, count=count)

    def set_route(self, table: str, route: str, prefix: str, next_hop_type: str, next_hop_ip: str | None = None) -> None:
        """Set a user-defined route."""
        self.do("route", table=table, route=route, prefix=prefix, next_hop_type=next_hop_type, next_hop_ip=next_hop_ip)

    def remove_route(self, table: str, route: str) -> None:
        """Remove a user-defined route."""
        self.do("route", table=table, route=route)

    def add_peering(self, *sides: dict[str, Any]) -> None:
        """Peer two VNets: both sides, as in a topology file."""
        self.do("add_peering", sides=sides)

    def remove_peering(self, one: str, other: str) -> None:
        """Remove the peering of two VNets."""
        self.do("remove_peering", sides=[{"from": one, "to": other}, {"from": other, "to": one}])

    # --- to ask ---

    def path(self, source: str, target: str) -> tuple[str, ...]:
        """The nodes that one marked probe really passes, ends included."""
        return self.live.trace(source, target).nodes

    def explain(self, source: str, target: str) -> str:
        """Why packets go where they go, on paper."""
        return self.live.explained(source, target).text()

    # --- to assert ---

    def expect(self, verb: str, *, within: float = _PATIENCE, **detail: Any) -> None:
        """Any expectation of docs/scenarios.md: ``lab.expect("learned", route_server="rs1", peer="nva1", prefix="10.2.0.0/16")``."""
        __tracebackhide__ = True
        self._expect(verb, within, detail)

    def assert_delivered(self, source: Names, target: Names, *, ttl_down: int | None = None, within: float = _PATIENCE) -> None:
        """Packets get through, both ways, with the TTL down by so much."""
        __tracebackhide__ = True
        self._expect("delivered", within, {"from": source, "to": target, "ttl_down": ttl_down}, (source, target))

    def assert_loops(self, source: Names, target: Names, *, at: str | None = None, within: float = _PATIENCE) -> None:
        """Packets loop until their TTL is used up; ``at`` is the address that says so."""
        __tracebackhide__ = True
        self._expect("looping", within, {"from": source, "to": target, "at": at}, (source, target))

    def assert_dropped(self, source: Names, target: Names, *, within: float = _PATIENCE) -> None:
        """Packets vanish."""
        __tracebackhide__ = True
        self._expect("dropped", within, {"from": source, "to": target}, (source, target))

    def assert_route(
        self, nic: Names, prefix: str, *, via: Names | None = None, kind: str | None = None, within: float = _PATIENCE
    ) -> None:
        """NICs have an active effective route: ``via`` these next hops, of this next-hop type."""
        __tracebackhide__ = True
        hops = None if via is None else [via] if isinstance(via, str) else list(via)
        self._expect("effective_route", within, {"nic": nic, "prefix": prefix, "next_hops": hops, "next_hop_type": kind})

    def assert_no_route(self, nic: Names, prefix: str, *, within: float = _PATIENCE) -> None:
        """NICs have no active effective route of exactly this prefix."""
        __tracebackhide__ = True
        self._expect("effective_route", within, {"nic": nic, "prefix": prefix, "absent": True})

    def assert_path(self, source: str, *through_and_target: str, within: float = _PATIENCE) -> None:
        """A marked probe passes exactly these nodes: ``lab.assert_path("vm11", "nva1", "nva2", "vm21")``."""
        __tracebackhide__ = True
        *through, target = through_and_target
        self._expect("path", within, {"from": source, "to": target, "through": through}, (source, target))

    def assert_no_bypass(self, source: str, target: str, nva: Names, *, within: float = _PATIENCE) -> None:
        """Packets pass one of these NVAs in each direction: nothing goes around the inspection."""
        __tracebackhide__ = True
        from testbed.wait import poll

        guards = {nva} if isinstance(nva, str) else set(nva)

        def look() -> str | None:
            ways = [self.path(*pair) for pair in ((source, target), (target, source))]
            around = [" → ".join(way) for way in ways if not guards & set(way)]
            return f"expected every way through {' or '.join(sorted(guards))}, observed {'; '.join(around)}" if around else None

        if (reason := poll(look, budget=within, interval=0.05)) is not None:
            pytest.fail(self._text(reason, source, target), pytrace=False)

    def assert_converged(self, *, within: float = _PATIENCE) -> None:
        """Prediction, controller and real switches agree, down to every flow."""
        __tracebackhide__ = True
        self._expect("agreement", within, {})

    def _expect(self, verb: str, within: float, detail: dict[str, Any], pair: tuple[Names, Names] | None = None) -> None:
        __tracebackhide__ = True
        from testbed.model.scenario import expectation_of
        from testbed.scenario.expectations import check, describe
        from testbed.wait import poll

        wanted = expectation_of(verb, {key: value for key, value in detail.items() if value is not None})
        if (reason := poll(lambda: check(self.live, wanted), budget=within, interval=0.05)) is not None:
            ends = [each for each in pair or () if isinstance(each, str)]
            pytest.fail(self._text(f"{describe(wanted)}\n{reason}", *ends), pytrace=False)

    def _text(self, reason: str, *pair: str) -> str:
        """A failure with what the explanation on paper says about the pair."""
        from testbed.errors import TestbedError

        if len(pair) != 2 or "all" in pair:
            return reason
        try:
            return f"{reason}\n\non paper:\n{self.explain(*pair)}"
        except TestbedError as error:
            return f"{reason}\n\n{error}"


def _fault(node: str | None, what: dict[str, Any]) -> dict[str, Any]:
    return what if node is None else what | {"node": node}
