"""What a scenario can ask of a lab, and do to it: the seam between expectations and the live lab (or a test's own)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from testbed.azure.types import Row
from testbed.measure.journey import Journey
from testbed.measure.packets import Header
from testbed.measure.reachability import Delivery
from testbed.measure.sizes import Fit, Transfer
from testbed.measure.spread import FlowPath
from testbed.model.measurement import Measurement
from testbed.model.scenario import Action
from testbed.plan.explain import Explanation
from testbed.plan.walk import Walk
from testbed.scenario.measured import Measured


@dataclass(frozen=True)
class SessionRow:
    """A BGP session as seen now: its kind (as in the plan), its two nodes, and whether it is established.

    If not: the ``reason`` in one word, and the last ``words`` of the daemons concerned.
    """

    kind: str
    nodes: tuple[str, str]
    up: bool
    reason: str = ""
    words: str = ""

    def __str__(self) -> str:
        why = "; ".join(filter(None, (self.reason or "down", self.words)))
        return f"{self.nodes[0]} ↔ {self.nodes[1]} ({self.kind}): {'up' if self.up else why}"


@dataclass(frozen=True)
class LearnedRow:
    """A path that an instance of a Route Server received from a peer; ``dropped`` names the rule by which it was not accepted."""

    instance: int
    prefix: str
    as_path: tuple[int, ...]
    next_hop: str
    dropped: str = ""

    def __str__(self) -> str:
        text = f"instance {self.instance}: {self.prefix} via {self.next_hop}, AS path {'-'.join(map(str, self.as_path)) or 'empty'}"
        return f"{text}, dropped ({self.dropped})" if self.dropped else text


@dataclass(frozen=True)
class TableRow:
    """A path in a router's own BGP table: the best one, and those used beside it (ECMP); ``for_show`` is taken for BMP alone."""

    prefix: str
    as_path: tuple[int, ...]
    next_hop: str
    best: bool
    used: bool
    for_show: bool = False

    def __str__(self) -> str:
        state = "best" if self.best else "used" if self.used else "not used"
        return f"{self.prefix} via {self.next_hop}, AS path {'-'.join(map(str, self.as_path)) or 'empty'} ({state})"


class LabView(Protocol):
    """A lab that is up."""

    def vms(self) -> tuple[str, ...]:
        """The names of all VMs."""

    def nics(self) -> tuple[str, ...]:
        """The labels of all NICs in VNets."""

    def sessions(self) -> tuple[SessionRow, ...]:
        """All BGP sessions that the plan has, as they are now."""

    def learned(self, route_server: str, peer: str) -> tuple[LearnedRow, ...]:
        """What both instances received from a peer."""

    def advertised(self, route_server: str, peer: str) -> tuple[LearnedRow, ...]:
        """What both instances send to a peer; ``next_hop`` is the instance's own address."""

    def bgp_table(self, node: str) -> tuple[TableRow, ...]:
        """The BGP table of a router."""

    def refuses(self, route_server: str, nva: str) -> tuple[str, ...]:
        """The instances of a Route Server that did speak BGP with an NVA, in words; nothing when all refused."""

    def effective(self, nic: str) -> tuple[Row, ...]:
        """The effective routes of a NIC, as the controller has programmed them."""

    def predicted_effective(self, nic: str) -> tuple[Row, ...]:
        """The effective routes of a NIC on paper, for the topology as it stands after all actions."""

    def unpredictable(self) -> str:
        """Why there is no prediction for the lab as it stands (an NVA's own configuration), or nothing."""

    def controlled(self) -> bool:
        """Whether the controller runs, so that effective routes can be asked for."""

    def switch_differences(self) -> tuple[str, ...]:
        """How the flows and groups of the real switches differ from what the prediction says."""

    def table_differences(self) -> tuple[str, ...]:
        """How BGP sessions, and the tables of the routers, differ from what the prediction says."""

    def predicted_walks(self, source: str, target: str) -> tuple[Walk, ...]:
        """The walks of a packet over the plan, one for each choice of equal paths."""

    def explained(self, source: str, target: str) -> Explanation:
        """Why a packet goes where it goes, on paper."""

    def probe(self, pairs: Iterable[tuple[str, str]]) -> tuple[Delivery, ...]:
        """One datagram a pair of VMs."""

    def trace(self, source: str, target: str) -> Journey:
        """The path of one marked probe."""

    def hops(self, source: str, target: str) -> tuple[str | None, ...]:
        """The addresses that a traceroute shows."""

    def round_trip(self, source: str, target: str) -> tuple[float, ...]:
        """The seconds that echoes took, there and back; none for those that were lost."""

    def spread(self, source: str, target: str, flows: int) -> tuple[FlowPath, ...]:
        """The NVAs that each of several flows passes, there and back."""

    def seen_at(self, nodes: Sequence[str], meanwhile: Callable[[], object]) -> dict[str, int]:
        """How many frames of `probe` touched each node while a function ran."""

    def on_link(self, link: tuple[str, str], meanwhile: Callable[[], object]) -> tuple[tuple[Header, ...], ...]:
        """The packets seen on a link while a function runs: the headers of each, outermost first."""

    def readable_on_link(self, link: tuple[str, str], pairs: Sequence[tuple[str, str]], meanwhile: Callable[[], object]) -> tuple[int, int]:
        """How many frames on a link show a packet of these pairs or of an IPsec tunnel's inside while a function runs; and of how many."""

    def coming_back(self, node: str, kinds: Sequence[str]) -> tuple[Header, ...]:
        """The packets that come in at a node's NICs with its own address as source, within a second or until all kinds were seen."""

    def fit(self, source: str, target: str, size: int) -> Fit:
        """What becomes of a packet of that many bytes that must not be fragmented."""

    def transfer(self, source: str, target: str, amount: int) -> Transfer:
        """What a new TCP connection carries."""

    def act(self, action: Action) -> None:
        """Do one thing to the lab."""

    def measure(self, wanted: Measurement, act: Callable[[], Iterable[str]], healing: bool) -> Measured:
        """Measure one thing; ``act`` does the step's actions and says what they are, ``healing`` whether they mend something."""

    def end_captures(self) -> tuple[Path, ...]:
        """Stop what `capture` actions began; the files written."""
