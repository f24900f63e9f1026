"""Walks of packets through a design in which something is broken: what is silent, cut or stale on the way decides with the routes."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.azure.control_plane import ControlPlane, FibHop
from testbed.azure.effective_routes import Injected
from testbed.azure.impairment import Broken
from testbed.azure.lookup import PrefixMap
from testbed.azure.networks import tunnel_name
from testbed.azure.types import Domain
from testbed.model.topology import Tunnel
from testbed.plan.trace import Packet, Tracer, ended
from testbed.plan.types import Nic, Plan
from testbed.plan.walk import DROPPED, Header, Walk


class BrokenTracer(Tracer):
    """Traces packets while some things are broken; ``control`` is the control plane converged without them."""

    def __init__(self, plan: Plan, control: ControlPlane, before: ControlPlane, broken: Broken) -> None:
        """``before``: the control plane as it was, which stale kernels and frozen switches still go by."""
        super().__init__(plan, control)
        self._before = before
        self._broken = broken

    def _injected(self, domain: Domain, home: int) -> Injected:
        if self._broken.frozen and domain.hub is not None:
            return self._before.injected(domain.hub, home)
        return super()._injected(domain, home)

    def _fib(self, node: str) -> PrefixMap[tuple[FibHop, ...]]:
        if node not in self._fibs:
            table = (self._before if node in self._broken.stale else self.control).fib(node)
            usable = {prefix: tuple(hop for hop in hops if hop.device not in self._broken.vanished) for prefix, hops in table.items()}
            self._fibs[node] = PrefixMap({prefix: hops for prefix, hops in usable.items() if hops})
        return self._fibs[node]

    def _fabric(self, nic: Nic, packet: Packet) -> Iterator[Walk]:
        if nic.node in self._broken.silent:
            yield ended(packet, DROPPED, nic.node, f"{nic.node} is silent")
            return
        yield from super()._fabric(nic, packet)

    def _not_taken(self, nic: Nic, target: Nic, outer: Header) -> tuple[str, str] | None:
        if target.node in self._broken.silent:
            return target.node, f"{target.node} is silent"
        if frozenset((nic.vnet, target.vnet)) in self._broken.peerings:
            return target.vnet, f"the link between {nic.vnet} and {target.vnet} is down"
        return super()._not_taken(nic, target, outer)

    def _encapsulate(self, node: str, packet: Packet, tunnel: Tunnel) -> Iterator[Walk]:
        if tunnel_name(tunnel) in self._broken.devices:
            yield ended(packet, DROPPED, node, f"{tunnel_name(tunnel)} is down")
            return
        yield from super()._encapsulate(node, packet, tunnel)

    def _link(self, node: str, packet: Packet, device: str) -> Iterator[Walk]:
        target = self._links.get((node, device), device)
        if device in self._broken.devices or {node, target} & self._broken.silent:
            yield ended(packet, DROPPED, node, f"{device} is down")
            return
        yield from super()._link(node, packet, device)
