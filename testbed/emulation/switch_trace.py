"""Asks the real switch what it does with a packet (``ofproto/trace``), bridge after bridge until a NIC has it or it is dropped."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

from msgspec import Struct

from testbed.azure.types import Address
from testbed.emulation import openvswitch
from testbed.emulation.paths import LabPaths
from testbed.errors import LabError
from testbed.plan.pipeline import FABRIC_MAC
from testbed.plan.types import Nic, PeeringEnd, Plan

MAX_BRIDGES = 16

_PORT = re.compile(r"^\s+(\S+) \d+/(\d+):", re.MULTILINE)
_BRIDGE = re.compile(r'bridge\("([^"]+)"\)')
_TABLE = re.compile(r"^\s*(\d+)\. ", re.MULTILINE)
_ACTIONS = re.compile(r"^Datapath actions: (.*)$", re.MULTILINE)
_STEP = re.compile(r"set\((eth|ipv4)\(([^)]*)\)\)|(\d+)")
_FIELDS = {("eth", "src"): "dl_src", ("eth", "dst"): "dl_dst", ("ipv4", "src"): "nw_src", ("ipv4", "dst"): "nw_dst"}


class Followed(Struct, frozen=True):
    """Where the switch took a packet: the label of the NIC that gets it, or empty; ``vnet`` and ``table`` are where it went last."""

    nic: str
    vnet: str
    table: int
    nw_src: Address
    nw_dst: Address


class SwitchTracer:
    """A connection to the control socket of a lab's ovs-vswitchd; use it as a context manager."""

    def __init__(self, plan: Plan, paths: LabPaths, timeout: float = 10.0) -> None:
        """Raises LabError when the switch does not answer."""
        self._vnet = {bridge.id: bridge.vnet for bridge in plan.bridges}
        self._nics = {nic.id: nic for nic in plan.nics()}
        self._far: dict[str, PeeringEnd] = {a.id: b for link in plan.peerings for a, b in (link.ends, link.ends[::-1])}
        self._decoder = json.JSONDecoder()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(openvswitch.switch_control(paths)))
            self._ports = {number: name for name, number in _PORT.findall(self._ask("dpif/show"))}
        except OSError as error:
            self._socket.close()
            raise LabError(f"ovs-vswitchd of lab {plan.lab} does not answer: {error}") from error

    def __enter__(self) -> SwitchTracer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def follow(self, nic: Nic, destination: Address) -> Followed:
        """What becomes of a UDP packet that a NIC sends from its own address. Raises LabError for an answer that makes no sense."""
        fields = {"dl_src": nic.mac, "dl_dst": FABRIC_MAC, "nw_src": nic.ip, "nw_dst": destination}
        bridge, port = nic.bridge, nic.port
        for _ in range(MAX_BRIDGES):
            match = ",".join(f"{name}={value}" for name, value in fields.items())
            text = self._ask("ofproto/trace", bridge, f"udp,in_port={port},{match},nw_ttl=64,udp_src=1024,udp_dst=9")
            out = self._carried_out(text, fields)
            vnet, table = self._vnet[_BRIDGE.findall(text)[-1]], int(_TABLE.findall(text)[-1])
            if out not in self._far:
                return Followed(self._nics[out].label if out else "", vnet, table, fields["nw_src"], fields["nw_dst"])
            bridge, port = self._far[out].bridge, self._far[out].port
        raise LabError(f"the fabric itself loops from {nic.label} to {destination}")

    def _carried_out(self, text: str, fields: dict[str, str]) -> str:
        """The name of the port out of which the datapath sends, empty for none; ``fields`` are brought up to date."""
        found = _ACTIONS.search(text)
        if found is None:
            raise LabError(f"ovs-vswitchd traced without a result: {text[-400:]}")
        out = ""
        for layer, changes, number in _STEP.findall(found[1]):
            if number:
                if out:
                    raise LabError(f"a packet is duplicated: {found[1]}")
                out = self._ports[number]
            for change in filter(None, changes.split(",")):
                name, _, value = change.partition("=")
                if (layer, name) in _FIELDS:
                    fields[_FIELDS[layer, name]] = value
        return out

    def _ask(self, method: str, *parameters: str) -> str:
        """One call of Open vSwitch's JSON-RPC."""
        self._socket.sendall(json.dumps({"id": 0, "method": method, "params": parameters}).encode())
        text = ""
        while True:
            data = self._socket.recv(1 << 16)
            if not data:
                raise LabError("ovs-vswitchd closed the connection")
            text += data.decode()
            try:
                reply: dict[str, Any] = self._decoder.raw_decode(text)[0]
            except json.JSONDecodeError:
                continue
            if reply.get("error"):
                raise LabError(f"ovs-vswitchd refused {method} {' '.join(parameters)}: {reply['error']}")
            return str(reply["result"])
