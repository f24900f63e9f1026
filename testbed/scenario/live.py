"""A lab that is up, as scenarios and tests see it: what it shows, what can be done to it, and what was predicted for it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from functools import cached_property

from testbed.azure.control_plane import ControlPlane, converge
from testbed.azure.effective_routes import effective_routes
from testbed.azure.types import Row
from testbed.emulation import readiness
from testbed.emulation.client import LabClient
from testbed.errors import InputError, LabError
from testbed.measure.journey import Journey
from testbed.measure.packets import Header, headers
from testbed.measure.reachability import Delivery, Endpoint, probe_pairs
from testbed.measure.recorder import Recorder
from testbed.measure.tracing import trace
from testbed.model.scenario import Action, Fault
from testbed.model.topology import Topology
from testbed.plan.types import Nic, Node, Plan
from testbed.scenario import observed
from testbed.scenario.changes import changed
from testbed.scenario.lab_view import LearnedRow, SessionRow

_TOPOLOGY = "topology.json"
Compile = Callable[[Topology, Plan], Plan]


class LiveLab:
    """The lab behind a `LabClient`, with the topology as it stands after all actions so far. A `LabView`."""

    def __init__(self, client: LabClient, topology: Topology, recompile: Compile) -> None:
        """``recompile`` makes the plan of a changed topology for the lab that runs by the given plan."""
        self.client = client
        self.topology = topology
        self.plan = client.plan
        self._recompile = recompile
        self._stopped: dict[Fault, list[tuple[str, str]]] = {}

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
        """The labels of all NICs in the fabric."""
        return tuple(self._nics)

    def sessions(self) -> tuple[SessionRow, ...]:
        """All BGP sessions that the plan has, as they are now."""
        states = readiness.session_states(self.plan, self.client.paths)
        return tuple(SessionRow(state.peering.kind, state.peering.nodes, state.up, state.state) for state in states)

    def learned(self, route_server: str, peer: str) -> tuple[LearnedRow, ...]:
        """What both instances received from a peer."""
        return observed.learned(self.client, route_server, peer)

    def effective(self, nic: str) -> tuple[Row, ...]:
        """The effective routes of a NIC, as the controller has programmed them."""
        return observed.effective(self.client, nic)

    def predicted_effective(self, nic: str) -> tuple[Row, ...]:
        """The effective routes of a NIC on paper, for the topology as it stands."""
        found = self._nic(nic)
        domain = next(domain for domain in self.plan.domains if domain.id == found.domain)
        injected = self.predicted.injected(domain.hub, found.home) if domain.hub else {}
        return effective_routes(domain, injected)

    def probe(self, pairs: Iterable[tuple[str, str]]) -> tuple[Delivery, ...]:
        """One datagram a pair of nodes."""
        wanted = tuple(pairs)
        names = {name for pair in wanted for name in pair}
        return probe_pairs({name: self._endpoint(name) for name in names}, wanted)

    def trace(self, source: str, target: str) -> Journey:
        """The path of one marked probe, seen at every device of every node."""
        return trace(self._endpoint(source), self._endpoint(target), {node.name: node.id for node in self.plan.nodes})

    def predicted_path(self, source: str, target: str) -> tuple[str, ...]:
        """The nodes of the walk over the plan, ends included."""
        from testbed.plan.trace import walk_nodes

        return walk_nodes(self.plan, self.predicted, source, self._endpoint(target).address)

    def on_link(self, link: tuple[str, str], meanwhile: Callable[[], object]) -> tuple[tuple[Header, ...], ...]:
        """The packets seen on the link between two VNets while a function runs. Raises InputError when there is no link of its own."""
        device = self._link_device(link)
        with Recorder({"fabric": (self.plan.fabric, device)}) as recorder:
            meanwhile()
        return tuple(found for frame in recorder.frames if (found := headers(frame)))

    # --- what can be done to it ---

    def act(self, action: Action) -> None:
        """Do one thing to the lab. Raises InputError for names that do not exist, LabError when it cannot be done."""
        if action.verb in ("fail", "heal"):
            (self._fail if action.verb == "fail" else self._heal)(action.detail)
            return
        topology = changed(self.topology, action)
        plan = self._recompile(topology, self.plan)
        self.client.change_plan(plan)
        self.topology, self.plan = topology, plan
        self.save()
        self.__dict__.pop("predicted", None)
        self.__dict__.pop("_nics", None)

    def _fail(self, fault: Fault) -> None:
        if fault.tunnel is not None:
            self.client.set_link(up=False, tunnel=fault.tunnel)
            return
        stopped = [("lab", "controller")] if fault.controller else self._daemons(fault)
        for node, daemon in stopped:
            self.client.stop_daemon(node, daemon, signal.SIGKILL)
        if fault.power and fault.node:
            self._power(fault.node, up=False)
        self._stopped[fault] = stopped

    def _heal(self, fault: Fault) -> None:
        if fault.tunnel is not None:
            self.client.set_link(up=True, tunnel=fault.tunnel)
            return
        if fault.power and fault.node:
            self._power(fault.node, up=True)
        for node, daemon in self._stopped.pop(fault, None) or ([("lab", "controller")] if fault.controller else self._daemons(fault)):
            self.client.start_daemon(node, daemon)

    def _daemons(self, fault: Fault) -> list[tuple[str, str]]:
        """Which processes a fault ends: the one it names; none at a power-off, where the silence is the point."""
        if fault.node is None or fault.power:
            return []
        node = self._node(fault.node)
        names = [daemon.name for daemon in node.daemons]
        if fault.daemon is not None and fault.daemon not in names:
            raise InputError(f"{node.name} has no daemon {fault.daemon}", f"it has {', '.join(names) or 'none'}")
        return [(node.name, name) for name in names if fault.daemon in (None, name)]

    def _power(self, name: str, *, up: bool) -> None:
        for nic in self._node(name).nics:
            self.client.set_link(up=up, nic=nic.label)

    # --- names ---

    @cached_property
    def predicted(self) -> ControlPlane:
        """The control plane on paper, for the topology as it stands."""
        return converge(self.topology)

    @cached_property
    def _nics(self) -> dict[str, Nic]:
        return {nic.label: nic for nic in self.plan.nics()}

    def _nic(self, label: str) -> Nic:
        if label not in self._nics:
            raise InputError(f"no NIC {label}", f"known: {', '.join(self._nics)}")
        return self._nics[label]

    def _node(self, name: str) -> Node:
        known = {node.name: node for node in self.plan.nodes}
        if name not in known:
            raise InputError(f"no node {name}", f"known: {', '.join(known)}")
        return known[name]

    def _endpoint(self, label: str) -> Endpoint:
        if label in self._nics:
            nic = self._nics[label]
            return Endpoint(label, self._node(nic.node).id, nic.ip)
        node = self._node(label)
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

    def _link_device(self, link: tuple[str, str]) -> str:
        for peering in self.plan.peerings:
            if {end.peer_vnet for end in peering.ends} == set(link) and peering.kind == "veth":
                return peering.ends[0].id
        raise InputError(f"between {link[0]} and {link[1]} there is no link of its own", "only peerings across regions have one")
