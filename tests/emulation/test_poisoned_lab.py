"""One NVA ends a Route Server instance's bgpd with a message: it is named, started again, and the other NVA comes back by itself."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from bombardment import messages
from conftest import SMALL

from testbed.emulation import client
from testbed.emulation.client import LabClient
from testbed.model.loader import parse_topology
from testbed.netns import run_in
from testbed.plan.compile import compile_plan
from testbed.plan.templates import load_templates
from testbed.wait import wait_until

pytestmark = pytest.mark.root

DESIGN = (
    SMALL.replace("peers: [nva1]", "peers: [nva1, nva2]").replace("vms:\n", "  nva2: {subnet: hub1/nva, ip: 10.1.0.5, asn: 65002}\nvms:\n")
    + "supervision: {restart: always}\n"
)
SERVER, BAD, ASN = "10.1.1.4", "10.1.0.5", 65002


@pytest.fixture
def lab(lab_name: str, down: Callable[[str], float]) -> Iterator[LabClient]:
    plan = compile_plan(parse_topology(DESIGN).topology, lab=lab_name, templates=load_templates())
    yield client.up(plan, lambda stage, seconds: None)
    down(lab_name)


def speak(lab: LabClient, data: bytes) -> str | None:
    """Open a session as the bad NVA and say this; None when it was said."""

    def dial() -> socket.socket:
        return socket.create_connection((SERVER, 179), 2.0, (BAD, 0))

    try:
        with closing(run_in(lab.plan.node("nva2").id, dial)) as stream:
            stream.sendall(messages.open_message(ASN, BAD) + messages.keepalive())
            heard = b""
            while messages.keepalive() not in heard:
                chunk = stream.recv(4096)
                if not chunk:
                    return "hung up on"
                heard += chunk
            stream.sendall(data)
            with suppress(OSError):
                stream.recv(4096)
    except OSError as error:
        return str(error)
    return None


def session(lab: LabClient, peer: str) -> str | None:
    status = lab.controller("GET", "/status")
    found = [each for each in status["sessions"] if (each["instance"], each["peer"]) == (0, peer)]
    return None if status["ready"] and found and found[0]["up"] else f"{status['reasons']} {found}"


def test_a_route_server_instance_that_is_ended_by_a_peer_comes_back(lab: LabClient) -> None:
    other = next(each for each in lab.controller("GET", "/status")["sessions"] if (each["instance"], each["peer"]) == (1, "nva1"))
    lab.stop_daemon("nva2", "bgpd", signal.SIGKILL)
    poison = messages.POISON["MP_UNREACH beside prefixes, no AS_PATH"]
    wait_until(lambda: speak(lab, poison), what="a session of the bad NVA", budget=15.0, interval=0.2)

    def noticed() -> str | None:
        return None if lab.status()["deaths"][1:] else "no death, or not noticed"

    wait_until(noticed, what="the death", budget=5.0)
    (death,) = (each for each in lab.status()["deaths"] if each["node"] == "rs1-0")
    assert (death["daemon"], death["how"], death["on_purpose"]) == ("bgpd", "signal 11", False)
    assert "signal 11" in death["last_words"]
    wait_until(lambda: session(lab, "nva1"), what="the honest session", budget=15.0)
    # bgpd may speak before the one that started it has noted that
    wait_until(lambda: None if lab.status()["restarts"] else "not noted", what="the restart's note", budget=15.0)
    restarts = lab.status()["restarts"]
    assert [(each["node"], each["daemon"]) for each in restarts] == [("rs1-0", "bgpd")]
    now = next(each for each in lab.controller("GET", "/status")["sessions"] if (each["instance"], each["peer"]) == (1, "nva1"))
    assert (now["up"], now["since"]) == (True, other["since"]), "the other instance did not notice"
