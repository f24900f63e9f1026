"""A lab that is up, as scenarios and tests see it: what it shows, what can be done to it, and what was predicted for it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.effective_routes import effective_routes
from testbed.azure.impairment import INTACT, Broken
from testbed.azure.types import Row
from testbed.emulation import readiness, switch_state
from testbed.emulation.client import LabClient
from testbed.errors import InputError, LabError
from testbed.measure.capture import write_pcap
from testbed.measure.hops import hops
from testbed.measure.journey import Journey
from testbed.measure.packets import Header, headers
from testbed.measure.reachability import MAGIC, Delivery, Endpoint, probe_pairs
from testbed.measure.recorder import Recorder
from testbed.measure.round_trip import round_trip
from testbed.measure.sizes import Fit, Transfer, fit, transfer
from testbed.measure.spread import FlowPath, spread
from testbed.measure.tracing import trace
from testbed.model.measurement import Measurement
from testbed.model.scenario import Action, Capture, Fault
from testbed.model.topology import Topology
from testbed.netns import run_in
from testbed.plan.broken_trace import BrokenTracer
from testbed.plan.explain import Explanation, explain_pair
from testbed.plan.mismatch import mismatched
from testbed.plan.trace import Tracer
from testbed.plan.types import INTERNET, Nic, Plan
from testbed.plan.walk import Walk
from testbed.scenario import inflicting, observed, routers
from testbed.scenario.breakage import broken_by
from testbed.scenario.changes import changed
from testbed.scenario.lab_view import LearnedRow, SessionRow, TableRow
from testbed.scenario.last_words import words
from testbed.scenario.measured import Measured
from testbed.scenario.places import Places, node_called, places_of
from testbed.scenario.standing import Standing, standing
from testbed.scenario.switch_agreement import expected_tables, switch_differences
from testbed.scenario.table_agreement import session_differences, table_differences
from testbed.scenario.tunnels import rekey
from testbed.wait import poll

_TOPOLOGY = "topology.json"
Compile = Callable[[Topology, Plan], Plan]


class LiveLab:
    """The lab behind a `LabClient`, with the topology as it stands after all actions so far. A `LabView`."""

    def __init__(self, client: LabClient, topology: Topology, recompile: Compile) -> None:
        """``recompile`` makes the plan of a changed topology for the lab that runs by the given plan."""
        self.client = client
        self.topology = topology
        self.plan = client.plan
        self.captures = Path("captures")
        self._recompile = recompile
        self._stopped: dict[Fault, list[tuple[str, str]]] = {}
        self._faults: list[Fault] = []
        self._frozen: tuple[ControlPlane, tuple[Fault, ...]] | None = None
        self._recorders: dict[str, Recorder] = {}

    @classmethod
    def of(cls, client: LabClient, recompile: Compile) -> LiveLab:
        """A lab that is up, with the topology as it was saved last. Raises LabError when that cannot be read."""
        file = client.paths.dir / _TOPOLOGY
        try:
            return cls(client, Topology.model_validate_json(file.read_bytes()), recompile)
        except (OSError, ValueError) as error:
            raise LabError(f"lab {client.lab}: cannot read {file}: {error}", f"`testbed down {client.lab}` removes the lab") from error

    def save(self) -> None:
        """Keep the topology as it stands in the lab's folder, for commands to come."""
        (self.client.paths.dir / _TOPOLOGY).write_text(self.topology.model_dump_json(by_alias=True, exclude_defaults=True))

    # --- what it shows ---

    def vms(self) -> tuple[str, ...]:
        """The names of all VMs."""
        return tuple(self.topology.vms)

    def nics(self) -> tuple[str, ...]:
        """The labels of all NICs in VNets."""
        return tuple(label for label, nic in self._nics.items() if nic.vnet != INTERNET)

    def sessions(self) -> tuple[SessionRow, ...]:
        """All BGP sessions that the plan has, as they are now."""
        states = readiness.session_states(self.plan, self.client.paths)
        if all(state.up for state in states):
            return tuple(SessionRow(state.peering.kind, state.peering.nodes, True, state.state) for state in states)
        why, status = observed.ends(self.client) if self.controlled() else {}, self.client.status()
        return tuple(
            SessionRow(
                state.peering.kind,
                state.peering.nodes,
                state.up,
                why.get(frozenset(state.peering.nodes), "") or state.state,
                "" if state.up else words(self.client, self.plan, status, state.peering),
            )
            for state in states
        )

    def learned(self, route_server: str, peer: str) -> tuple[LearnedRow, ...]:
        """What both instances received from a peer."""
        return observed.learned(self.client, route_server, peer)

    def advertised(self, route_server: str, peer: str) -> tuple[LearnedRow, ...]:
        """What both instances send to a peer."""
        return routers.advertised(self.client, self.plan, route_server, peer)

    def bgp_table(self, node: str) -> tuple[TableRow, ...]:
        """The BGP table of a router."""
        return routers.bgp_table(self.client, self.plan, node)

    def refuses(self, route_server: str, nva: str) -> tuple[str, ...]:
        """The instances of a Route Server that did speak BGP with an NVA, in words; nothing when all refused."""
        source = self._endpoint(nva)
        instances = [self._endpoint(f"{route_server}-{number}") for number in (0, 1)]
        return tuple(f"{each.label} speaks BGP with {nva}" for each in instances if run_in(source.namespace, lambda e=each: _speaks_bgp(e)))  # type: ignore[misc]

    def effective(self, nic: str) -> tuple[Row, ...]:
        """The effective routes of a NIC, as the controller has programmed them."""
        return observed.effective(self.client, nic)

    def predicted_effective(self, nic: str) -> tuple[Row, ...]:
        """The effective routes of a NIC on paper, for the topology as it stands."""
        found = self._nic(nic)
        domain = next(domain for domain in self.plan.domains if domain.id == found.domain)
        injected = self.predicted.injected(domain.hub, found.home) if domain.hub else {}
        return effective_routes(domain, injected)

    def unpredictable(self) -> str:
        """Why there is no prediction for the lab as it stands, or nothing."""
        own = [name for name, nva in self.topology.nvas.items() if nva.frr_config is not None]
        return f"the configuration of {', '.join(own)} is the user's own" if own else ""

    def controlled(self) -> bool:
        """Whether the controller runs, so that effective routes can be asked for."""
        return not self._broken.frozen

    def switch_differences(self) -> tuple[str, ...]:
        """How flows and groups of the real switches differ from what the prediction says; without a controller they stay as they are."""
        found = switch_state.dump(self.client.paths, self.plan.bridges)
        control, faults = self._frozen or (self.predicted, tuple(self._faults))
        return switch_differences(self.plan, expected_tables(self.plan, control, faults), found)

    def table_differences(self) -> tuple[str, ...]:
        """How BGP sessions, and the tables of the routers, differ from what the prediction says."""
        silent = {*self.predicted.unmodelled, *self._broken.mute, *self._broken.stale}
        states = readiness.session_states(self.plan, self.client.paths)
        tables = {node: self.bgp_table(node) for node in self.predicted.nodes if node not in silent}
        return (*session_differences(self.predicted, states), *table_differences(self.predicted, tables))

    def predicted_walks(self, source: str, target: str) -> tuple[Walk, ...]:
        """The walks of a packet over the plan, one for each choice of equal paths."""
        return self._tracer.traces(source, self._endpoint(target).address)

    def explained(self, source: str, target: str) -> Explanation:
        """Why a packet goes where it goes, on paper, for the topology as it stands."""
        return explain_pair(self.topology, source, target)

    def probe(self, pairs: Iterable[tuple[str, str]]) -> tuple[Delivery, ...]:
        """One datagram a pair of nodes."""
        wanted = tuple(pairs)
        names = {name for pair in wanted for name in pair}
        return probe_pairs({name: self._endpoint(name) for name in names}, wanted)

    def trace(self, source: str, target: str) -> Journey:
        """The path of one marked probe, seen at every device of every node."""
        return trace(self._endpoint(source), self._endpoint(target), {node.name: node.id for node in self.plan.nodes})

    def hops(self, source: str, target: str) -> tuple[str | None, ...]:
        """The addresses that a traceroute shows."""
        known = target in self._nics or any(node.name == target for node in self.plan.nodes)
        return hops(self._endpoint(source), self._endpoint(target) if known else Endpoint(target, "", target))

    def round_trip(self, source: str, target: str) -> tuple[float, ...]:
        """The seconds that echoes took."""
        return round_trip(self._endpoint(source), self._endpoint(target))

    def spread(self, source: str, target: str, flows: int) -> tuple[FlowPath, ...]:
        """The NVAs that each of several flows passes, there and back."""
        nvas = {node.name: node.id for node in self.plan.nodes if node.kind == "nva"}
        return spread(self._endpoint(source), self._endpoint(target), nvas, flows)

    def seen_at(self, nodes: Sequence[str], meanwhile: Callable[[], object]) -> dict[str, int]:
        """How many frames of `probe` touched each node while a function ran."""
        with Recorder({name: (node_called(self.plan, name).id, None) for name in nodes}, needle=MAGIC) as recorder:
            meanwhile()
        return {name: sum(frame.node == name for frame in recorder.frames) for name in nodes}

    def on_link(self, link: tuple[str, str], meanwhile: Callable[[], object]) -> tuple[tuple[Header, ...], ...]:
        """The packets seen on a link while a function runs. Raises InputError when there is no link of its own."""
        with Recorder(places_of(self.plan, link)) as recorder:
            meanwhile()
        return tuple(found for frame in recorder.frames if (found := headers(frame)))

    def readable_on_link(self, link: tuple[str, str], pairs: Sequence[tuple[str, str]], meanwhile: Callable[[], object]) -> tuple[int, int]:
        """How many frames on a link show a packet of these pairs or of an IPsec tunnel's inside while a function runs; and of how many."""
        inside = [each for tunnel in self.plan.tunnels if tunnel.type == "ipsec" for each in (tunnel.inner, tunnel.vtep)]
        addresses = [(self._endpoint(source).address, self._endpoint(target).address) for source, target in pairs]
        addresses += [*inside, *((target, source) for source, target in inside)]
        marks = [socket.inet_aton(source) + socket.inet_aton(target) for source, target in addresses]  # as in an IP header, at any depth
        with Recorder(places_of(self.plan, link)) as recorder:
            meanwhile()
        return sum(any(mark in frame.data for mark in marks) for frame in recorder.frames), len(recorder.frames)

    def coming_back(self, node: str, kinds: Sequence[str]) -> tuple[Header, ...]:
        """The packets that come in at a node's NICs with its own address as source, within a second or until all kinds were seen."""
        found = node_called(self.plan, node)
        own = {nic.ip for nic in found.nics}

        def seen() -> list[Header]:
            layers = [headers(frame)[:1] for frame in tuple(recorder.frames) if not frame.outgoing]
            return [outer for (outer,) in filter(None, layers) if outer.source in own]

        with Recorder({nic.label: (found.id, nic.name) for nic in found.nics}) as recorder:
            poll(lambda: None if {each.carries for each in seen()} >= set(kinds) else "not yet", budget=1.0, interval=0.05)
        return tuple(seen())

    def fit(self, source: str, target: str, size: int) -> Fit:
        """What becomes of a packet of that many bytes that must not be fragmented."""
        return fit(self._endpoint(source), self._endpoint(target), size)

    def transfer(self, source: str, target: str, amount: int) -> Transfer:
        """What a new TCP connection carries."""
        return transfer(self._endpoint(source), self._endpoint(target), amount)

    # --- what can be done to it ---

    def act(self, action: Action) -> None:
        """Do one thing to the lab. Raises InputError for names that do not exist, LabError when it cannot be done."""
        if action.verb == "capture":
            self._capture(action.detail)
            return
        if action.rekey is not None:
            rekey(self.client, self.plan, action.rekey.tunnel)
            return
        if action.verb in ("fail", "heal"):
            (self._fail if action.verb == "fail" else self._heal)(action.detail)
            self._forget()
            return
        topology = changed(self.topology, action)
        self._change(topology, self._faults)
        self.save()
        self._forget()

    def measure(self, wanted: Measurement, act: Callable[[], Iterable[str]], healing: bool) -> Measured:
        """Measure one thing; ``act`` does the step's actions and says what they are, ``healing`` whether they mend something."""
        from testbed.scenario.measuring import measure

        return measure(self.client, wanted, self.vms(), self.predicted, act, healing, self.standing)

    def standing(self) -> Standing:
        """Which BGP sessions should be up, for the topology as it stands and the faults that last."""
        return standing(self.predicted)

    def end_captures(self) -> tuple[Path, ...]:
        """Stop what `capture` actions began; the files written, below ``captures``."""
        files = []
        for name, recorder in self._recorders.items():
            recorder.__exit__(None, None, None)
            files.append(self.captures / f"{name}.pcap")
            write_pcap(recorder.frames, files[-1])
        self._recorders.clear()
        return tuple(files)

    def _capture(self, wanted: Capture) -> None:
        if wanted.file in self._recorders:
            raise InputError(f"{wanted.file} is being captured already")
        places: Places = (
            {wanted.file: (node_called(self.plan, str(wanted.node)).id, None)} if wanted.link is None else places_of(self.plan, wanted.link)
        )
        self._recorders[wanted.file] = Recorder(places, snap=65535).__enter__()

    def _forget(self) -> None:
        """What was worked out for the lab as it was."""
        for name in ("predicted", "_nics", "_tracer"):
            self.__dict__.pop(name, None)

    def _change(self, topology: Topology, faults: Iterable[Fault]) -> None:
        """Go over to the plan of a topology, in which the ends of some tunnels may not agree."""
        plan = self._recompile(topology, self.plan)
        for fault in faults:
            if fault.mismatch is not None:
                plan = mismatched(plan, str(fault.tunnel), fault.mismatch)
        self.client.change_plan(plan)
        self.topology, self.plan = topology, plan

    def _misconfigure(self, fault: Fault, faults: Iterable[Fault]) -> None:
        """Have the second end of a tunnel take its configuration anew. bgpd has it by its plan; charon learns it when it starts."""
        self._change(self.topology, faults)
        end = next(each.nodes[1] for each in self.plan.tunnels if each.name == fault.tunnel)
        if fault.mismatch != "password":
            self.client.stop_daemon(end, "charon")
            self.client.start_daemon(end, "charon")

    def _fail(self, fault: Fault) -> None:
        if fault.mismatch is not None:
            self._misconfigure(fault, [*self._faults, fault])
        elif fault.tunnel is not None or fault.link is not None:
            inflicting.set_links(self.client, self.plan, fault, up=False)
        elif fault.session is not None:
            inflicting.set_session(self.client, self.plan, fault, up=False)
        else:
            if fault.controller:
                self._frozen = self.predicted, tuple(self._faults)
            stopped = [("lab", "controller")] if fault.controller else inflicting.daemons_of(self.plan, fault)
            for node, daemon in stopped:
                self.client.stop_daemon(node, daemon, signal.SIGKILL)
            if fault.power and fault.node:
                inflicting.set_power(self.client, self.plan, fault.node, up=False)
            self._stopped[fault] = stopped
        self._faults.append(fault)

    def _heal(self, fault: Fault) -> None:
        if fault.mismatch is not None:
            self._misconfigure(fault, [each for each in self._faults if each != fault])
        elif fault.tunnel is not None or fault.link is not None:
            inflicting.set_links(self.client, self.plan, fault, up=True)
        if fault.session is not None:
            inflicting.set_session(self.client, self.plan, fault, up=True)
        if fault.power and fault.node:
            inflicting.set_power(self.client, self.plan, fault.node, up=True)
        for node, daemon in self._stopped.pop(fault, None) or (
            [("lab", "controller")] if fault.controller else inflicting.daemons_of(self.plan, fault)
        ):
            self.client.start_daemon(node, daemon)
        self._faults = [each for each in self._faults if each != fault]
        self._frozen = self._frozen if self._broken.frozen else None

    # --- names ---

    @cached_property
    def predicted(self) -> ControlPlane:
        """The control plane on paper, for the topology as it stands and the faults that last."""
        return converge(self.topology, broken=self._broken)

    @property
    def _broken(self) -> Broken:
        return broken_by(self.plan, self._faults)

    @cached_property
    def _tracer(self) -> Tracer:
        if self._broken == INTACT:
            return Tracer(self.plan, self.predicted)
        return BrokenTracer(self.plan, self.predicted, self._frozen[0] if self._frozen else converge(self.topology), self._broken)

    @cached_property
    def _nics(self) -> dict[str, Nic]:
        return {nic.label: nic for nic in self.plan.nics()}

    def _nic(self, label: str) -> Nic:
        if label not in self._nics:
            raise InputError(f"no NIC {label}", f"known: {', '.join(self._nics)}")
        return self._nics[label]

    def _endpoint(self, label: str) -> Endpoint:
        if label in self._nics:
            nic = self._nics[label]
            return Endpoint(label, node_called(self.plan, nic.node).id, nic.ip)
        node = node_called(self.plan, label)
        address = next(
            (
                own.partition("/")[0]
                for wire in self.plan.wires
                for name, own in zip(wire.nodes, wire.addresses, strict=True)
                if name == label
            ),
            "",
        )
        if not address:
            raise InputError(f"{label} has no address to send from")
        return Endpoint(label, node.id, address)


def _speaks_bgp(server: Endpoint) -> bool:
    """Whether a speaker answers a new connection with BGP, instead of refusing or closing it at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(0.5)
        try:
            connection.connect((server.address, 179))
            return bool(connection.recv(19))
        except OSError:
            return False
