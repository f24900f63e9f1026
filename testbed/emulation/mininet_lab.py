"""The lab as Mininet objects: hosts, switches and links that know the plan, whose effects are carried out in batches.

Mininet builds one object at a time, with a shell each. Here the objects are descriptions: `LabNet` makes them all real at
once, `attach` finds those of a live lab, and a node's shell is born in its named namespace when the first command needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from testbed.emulation import fabric, netns, openvswitch, readiness
from testbed.emulation.paths import LabPaths
from testbed.plan.types import PeeringLink, Plan, Wire


@contextmanager
def _without_distutils() -> Iterator[None]:
    """Mininet wants distutils.version for a check that `LabSwitch` replaces; it is gone from Python 3.12, and slow to load before."""
    names = ("distutils", "distutils.version")
    if any(name in sys.modules for name in names):
        yield
        return
    stand_ins = {name: ModuleType(name) for name in names}
    stand_ins["distutils.version"].StrictVersion = str  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


with _without_distutils():
    from mininet.link import Intf, Link
    from mininet.net import Mininet
    from mininet.node import Node, OVSSwitch

Mininet.inited = True  # its first network would raise limits of the whole machine: buffers, neighbour tables, open files


class LabIntf(Intf):  # type: ignore[misc]
    """An interface whose name and addresses come from the plan; asking for them runs nothing."""

    def config(self, **params: Any) -> dict[str, Any]:
        """Nothing: the fabric is configured in batches."""
        return {}

    def updateIP(self) -> str | None:  # noqa: N802 - Mininet's name
        """The address of the plan."""
        return str(self.ip) if self.ip else None

    def updateMAC(self) -> str | None:  # noqa: N802 - Mininet's name
        """The MAC of the plan."""
        return str(self.mac) if self.mac else None

    def delete(self) -> None:
        """Nothing: an interface goes with its namespace."""


class LabNode(Node):  # type: ignore[misc]
    """A node of the plan in its named namespace: VM, NVA, Route Server instance, gateway, router or host."""

    isSetup = True  # noqa: N815 - Mininet asks it; what is installed is doctor's business

    def __init__(self, name: str, namespace: str, paths: LabPaths, **params: Any) -> None:
        self.namespace = namespace
        self.paths = paths
        super().__init__(name, **params)

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 - Mininet's name
        """Nothing yet: most nodes never need one."""

    def _ensure_shell(self) -> None:
        if self.shell is None:
            self.inNamespace = False  # Mininet would unshare yet another one; ours is there, see _popen
            try:
                Node.startShell(self)
            finally:
                self.inNamespace = True

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        user = {name: os.environ[name] for name in ("TERM", "HOME", "SHELL") if name in os.environ}
        params["env"] = self.environment() | user
        with netns.inside(self.namespace):
            return super()._popen(cmd, **params)

    def environment(self) -> dict[str, str]:
        """The environment of what runs in the node; it holds the lab's tag."""
        return self.paths.environment()

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        """As Mininet's, but by namespace, not by the shell's pid."""
        return super().popen(*args, **({"mncmd": ["mnexec", "-d"]} | kwargs))

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802 - Mininet's name
        """As Mininet's; starts the shell when there is none."""
        self._ensure_shell()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """As Mininet's; starts the shell when there is none."""
        self._ensure_shell()
        return str(super().cmd(*args, **kwargs))

    def config(self, **params: Any) -> dict[str, Any]:
        """Nothing: nodes are configured in batches."""
        return {}


class LabSwitch(LabNode, OVSSwitch):  # type: ignore[misc]
    """A VNet: a bridge of the lab's own Open vSwitch, in the fabric namespace."""

    OVSVersion = "3.1"  # Mininet only compares it with 1.10; asking would start a process

    def __init__(self, name: str, bridge: str, **params: Any) -> None:
        self.bridge = bridge
        super().__init__(name, **params)

    def __str__(self) -> str:
        return self.bridge

    def environment(self) -> dict[str, str]:
        """Points ovs-vsctl and ovs-ofctl at the lab's own Open vSwitch."""
        return super().environment() | openvswitch.environment(self.paths)

    def defaultIntf(self) -> Intf:  # noqa: N802 - Mininet's name
        """The first port."""
        return Node.defaultIntf(self)

    def dpctl(self, *args: str) -> str:
        """ovs-ofctl on this bridge, in its OpenFlow version."""
        return self.cmd("ovs-ofctl", "-O", "OpenFlow13", args[0], self.bridge, *args[1:])

    def connected(self) -> bool:
        """Whether the bridge is connected to the controller."""
        return self.bridge in readiness.connected_bridges(self.paths)

    def start(self, controllers: list[Any]) -> None:
        """Nothing: all bridges are made in one transaction, with the controller as their only owner."""

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 - Mininet's name
        """End the shell, if there is one; the bridge goes with the lab."""
        self.terminate()


class LabLink(Link):  # type: ignore[misc]
    """A NIC's cable, a peering or a wire: two interfaces that the fabric makes."""

    @classmethod
    def makeIntfPair(cls, *args: Any, **params: Any) -> tuple[None, None]:  # noqa: N802 - Mininet's name
        """Nothing: all links are made in one batch."""
        return None, None

    def status(self) -> str:
        """Mininet's words for a link that is there."""
        return "(OK OK)"


class LabNet(Mininet):  # type: ignore[misc]
    """A plan as a Mininet network; `create_namespaces`, `create_links` and `configure_hosts` make it real."""

    def __init__(self, plan: Plan, paths: LabPaths) -> None:
        self.plan = plan
        self.paths = paths
        super().__init__(topo=None, switch=LabSwitch, host=LabNode, controller=None, link=LabLink, intf=LabIntf, build=False)
        self.bridges: dict[str, LabSwitch] = {}
        self._add_nodes()
        self._add_links()
        self.built = True

    def _add_nodes(self) -> None:
        for node in self.plan.nodes:
            self.addHost(node.name, namespace=node.id, paths=self.paths, ip=None)
        for bridge in self.plan.bridges:
            self.bridges[bridge.id] = self.addSwitch(
                bridge.id if bridge.vnet in self.nameToNode else bridge.vnet,
                bridge=bridge.id,
                dpid=f"{bridge.dpid:016x}",
                namespace=self.plan.fabric,
                paths=self.paths,
                datapath="user" if self.plan.capabilities.datapath == "netdev" else "kernel",
                failMode="secure",
                protocols="OpenFlow13",
                inNamespace=True,
            )

    def _add_links(self) -> None:
        for nic in self.plan.nics():
            names = {"intfName1": nic.name, "intfName2": nic.id, "addr1": nic.mac, "addr2": None}
            link = self.addLink(self[nic.node], self.bridges[nic.bridge], port2=nic.port, **names)
            link.intf1.ip, link.intf1.prefixLen = nic.ip, nic.prefix_len
        for peering in self.plan.peerings:
            self._add_peering(peering)
        for wire in self.plan.wires:
            self._add_wire(wire)

    def _add_peering(self, peering: PeeringLink) -> None:
        first, second = peering.ends
        ports = {"intfName1": first.id, "intfName2": second.id, "port1": first.port, "port2": second.port}
        self.addLink(self.bridges[first.bridge], self.bridges[second.bridge], addr1=None, addr2=None, **ports)

    def _add_wire(self, wire: Wire) -> None:
        first, second = (self[name] for name in wire.nodes)
        link = self.addLink(first, second, intfName1=wire.names[0], intfName2=wire.names[1], addr1=wire.macs[0], addr2=wire.macs[1])
        for interface, address in zip((link.intf1, link.intf2), wire.addresses, strict=True):
            if address:
                interface.ip, interface.prefixLen = address.split("/")

    def create_namespaces(self) -> None:
        """Make the namespaces of all hosts; the fabric's is there before."""
        fabric.create_namespaces(self.plan, [node.id for node in self.plan.nodes])

    def create_links(self) -> None:
        """Make all links, each end in its host or in the fabric."""
        fabric.create_links(self.plan)

    def configure_hosts(self) -> None:
        """Addresses, routes, settings and packet filters of all hosts."""
        fabric.configure_nodes(self.plan)

    def detach(self) -> None:
        """End the shells that commands have started. The lab goes on."""
        for node in (*self.hosts, *self.switches):
            node.terminate()

    def stop(self) -> None:
        """As `detach`: a lab is torn down by its ledger (``testbed down``), not by whoever looks at it."""
        self.detach()


def attach(plan: Plan, paths: LabPaths) -> LabNet:
    """The Mininet objects of a lab that is up."""
    return LabNet(plan, paths)


def prompt(plan: Plan, paths: LabPaths, script: str | None = None) -> None:
    """Open Mininet's prompt on a lab that is up, or run the commands of the file ``script``; leaving it tears nothing down."""
    from mininet.cli import CLI
    from mininet.log import setLogLevel

    setLogLevel("info")
    network = attach(plan, paths)
    try:
        CLI(network, stdin=sys.stdin, script=script)  # its own default is whatever stdin was when it was imported
    finally:
        network.detach()
