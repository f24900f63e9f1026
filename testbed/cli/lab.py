"""Commands on labs: bring up, tear down, look inside, break and mend."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from testbed.cli.common import (
    choice_options,
    force_option,
    json_option,
    lab_option,
    need_root,
    print_json,
    table,
    topology_argument,
)
from testbed.cli.interrupts import interrupts
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from testbed.emulation.client import LabClient
    from testbed.plan.types import Choice


@click.command()
@topology_argument
@click.option("--name", help="The lab's name; the topology's own when not given.")
@choice_options
@force_option
@json_option
def up(topology: Path, name: str | None, choice: Choice, force: bool, as_json: bool) -> None:
    """Build a lab from TOPOLOGY and wait until it has converged."""
    need_root("up")
    from testbed.emulation.lab import STAGES
    from testbed.report.progress import Progress
    from testbed.scenario.building import build

    with Progress(name or topology.stem, STAGES) as progress:
        lab, warnings = build(topology, progress, name, choice, force=force, when_up=interrupts.ignore)
    stages = progress.done
    if as_json:
        print_json({"lab": lab.plan.lab, "stages": stages, "warnings": warnings})
        return
    for warning in warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)
    seconds = max(stages.values(), default=0.0)
    click.echo(
        f"lab {lab.plan.lab} is up: {len(lab.plan.nodes)} nodes, {len(lab.plan.sessions)} BGP sessions, converged in {seconds:.2f} s"
    )


@click.command()
@click.argument("lab", required=False)
@click.option("--all", "every", is_flag=True, help="Every lab of this machine.")
def down(lab: str | None, every: bool) -> None:
    """Tear a lab down: all and only what is the lab's, also after a crash."""
    need_root("down")
    from testbed.emulation import client

    names = client.labs() if every else (lab or client.the_lab().lab,)
    for name in names:
        seconds = client.down(name)
        click.echo(f"lab {name} is down ({seconds:.2f} s)")
    if not names:
        click.echo("no lab is up")


@click.command()
@click.argument("lab", required=False)
@json_option
def status(lab: str | None, as_json: bool) -> int:
    """Show what runs: labs, their nodes and daemons, and what has died."""
    need_root("status")
    from testbed.emulation import client

    found = [client.LabClient(lab).status()] if lab else [_status_or_why_not(client.LabClient(name)) for name in client.labs()]
    if as_json:
        print_json(found)
        return 0
    if not found:
        click.echo("no lab is up")
    for each in found:
        click.echo(_status_text(each))
    return 0


def _status_or_why_not(lab: LabClient) -> dict[str, Any]:
    """One lab that cannot be asked (of a former boot, half built) does not hide the others."""
    try:
        return lab.status()
    except TestbedError as error:
        return {"lab": lab.lab, "state": "unknown", "error": str(error)}


def _status_text(status: dict[str, Any]) -> str:
    if "error" in status:
        return f"lab {status['lab']}: {status['error']}"
    rows = [
        (node["name"], node["kind"], ", ".join(nic["ip"] for nic in node["nics"]), ", ".join(map(_daemon, node["daemons"])) or "-")
        for node in [*status["nodes"], {"name": "lab", "kind": "testbed", "nics": [], "daemons": status["processes"]}]
    ]
    lines = [f"lab {status['lab']}: {status['state']}, datapath {status['datapath']}, in {status['dir']}"]
    lines += [
        f"  died: {death['node']}.{death['daemon']} ({death['how']}) {death['last_words']}"
        for death in status["deaths"]
        if not death["on_purpose"]
    ]
    lines += [
        f"  started again: {each['node']}.{each['daemon']}" + (f", which failed: {each['error']}" if each["error"] else "")
        for each in status.get("restarts", ())
    ]
    lines += [f"  not emulated: {each}" for each in status["unsupported"]]
    return "\n".join([*lines, table(("node", "kind", "addresses", "daemons"), rows)])


def _daemon(daemon: dict[str, Any]) -> str:
    return daemon["name"] if daemon["state"] == "running" else f"{daemon['name']} ({daemon['state']})"


@click.command()
@click.argument("source")
@click.argument("destination")
@lab_option
@json_option
def trace(source: str, destination: str, lab: str | None, as_json: bool) -> int:
    """Send one marked probe from SOURCE to DESTINATION and show the path it really took, beside the predicted one."""
    need_root("trace")
    from dataclasses import asdict

    from testbed.scenario.building import live

    found = live(lab)
    journey, walks = found.trace(source, destination), found.predicted_walks(source, destination)
    choices = tuple(dict.fromkeys(walk.visible for walk in walks))  # a flow takes one of the ways of equal cost
    predicted = journey.nodes if journey.nodes in choices else choices[0]
    agree = journey.nodes == predicted or (journey.result == "loop" and any(walk.verdict == "loops" for walk in walks))
    if as_json:
        facts = {"result": journey.result, "ttl_down": journey.ttl_down, "predicted": predicted, "choices": choices, "agree": agree}
        print_json(asdict(journey) | facts)
        return 0 if agree else 1
    start = journey.sightings[0].time if journey.sightings else 0.0
    rows = [
        (f"{(seen.time - start) * 1000:.3f} ms", seen.node, seen.device, "out" if seen.outgoing else "in", seen.ttl, " | ".join(seen.outer))
        for seen in journey.sightings
    ]
    click.echo(table(("time", "node", "device", "way", "TTL", "encapsulated in"), rows))
    click.echo(f"observed:  {' → '.join(journey.nodes)}  ({journey.result}, TTL down by {journey.ttl_down})")
    if journey.time_exceeded_by:
        click.echo(f"           TTL exceeded sent by {journey.time_exceeded_by}, cycle {' → '.join(journey.cycle)}")
    among = f"   (one of {len(choices)} equal paths)" if len(choices) > 1 else ""
    click.echo(f"predicted: {' → '.join(predicted)}{among}" + ("" if agree else "   (differs)"))
    return 0 if agree else 1


@click.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@lab_option
def exec_(node: str, command: tuple[str, ...], lab: str | None) -> int:
    """Run COMMAND inside NODE's network namespace (a shell when none is given)."""
    need_root("exec")
    from testbed.emulation import client
    from testbed.emulation.enter import run_in_node

    found = client.the_lab(lab)
    return run_in_node(found.plan, found.paths, node, command or (os.environ.get("SHELL", "/bin/sh"),))


@click.command()
@lab_option
def cli(lab: str | None) -> None:
    """Open Mininet's prompt on the live lab; leaving it tears nothing down."""
    need_root("cli")
    from testbed.emulation import client
    from testbed.emulation.mininet_lab import prompt

    found = client.the_lab(lab)
    with interrupts.every():
        prompt(found.plan, found.paths)


def _fault_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.argument("node", required=False),
        click.option("--daemon", help="Only this process of the node (bgpd, zebra, …)."),
        click.option("--power", is_flag=True, help="The node goes silent, as at a power-off; its processes keep running."),
        click.option("--tunnel", help="A tunnel, by its name."),
        click.option(
            "--mismatch", type=click.Choice(("key", "proposals", "password")), help="Its second end has another one; not the tunnel itself."
        ),
        click.option("--link", nargs=2, metavar="A B", help="The link between two VNets of different regions, or two nodes on a circuit."),
        click.option("--session", help="Only the BGP sessions of NODE with this one, shut down in good order."),
        click.option("--controller", is_flag=True, help="The SDN controller."),
        lab_option,
    ):
        function = option(function)
    return function


def _act(verb: Literal["fail", "heal"], lab: str | None, fault: dict[str, Any]) -> None:
    from testbed.model.scenario import fault_action
    from testbed.scenario.building import live

    action = fault_action(verb, **fault)
    live(lab).act(action)
    named = (fault["tunnel"], *(fault["link"] or ()), fault["node"], fault["daemon"], fault["session"])
    click.echo(f"{verb}ed {' '.join(filter(None, named)) or 'the controller'}")


@click.command()
@_fault_options
def fail(lab: str | None, **fault: Any) -> None:
    """Break something: a NODE's processes, one --daemon or --session of it, its --power, a --tunnel, a --link, the --controller."""
    need_root("fail")
    _act("fail", lab, fault)


@click.command()
@_fault_options
def heal(lab: str | None, **fault: Any) -> None:
    """Mend what `fail` broke, with the same arguments."""
    need_root("heal")
    _act("heal", lab, fault)


exec = exec_  # noqa: A001 - the command's own name
