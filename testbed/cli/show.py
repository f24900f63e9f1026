"""`testbed show …`: the live state, and for three of them the predicted one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from testbed.cli.common import json_option, lab_option, need_root, print_json, table

predict_option = click.option(
    "--predict", "topology", type=click.Path(path_type=Path, dir_okay=False), help="Of this topology on paper; no root."
)


@click.group()
def show() -> None:
    """Show the live state of a lab."""


@show.command(name="effective-routes")
@click.argument("nic")
@predict_option
@lab_option
@json_option
def effective_routes(nic: str, topology: Path | None, lab: str | None, as_json: bool) -> None:
    """The effective routes of a NIC, in the shape of `az network nic show-effective-route-table`."""
    from testbed.azure.json_shapes import effective_json

    if topology is not None:
        from testbed.cli.prediction import predicted_rows

        rows = predicted_rows(topology, nic)
    else:
        rows = _live(lab).effective(nic)
    if as_json:
        print_json(effective_json(rows))
        return
    from testbed.report.prediction import effective_table

    click.echo(effective_table(rows))


@show.command(name="learned-routes")
@click.argument("route_server")
@click.argument("peer")
@predict_option
@lab_option
@json_option
def learned_routes(route_server: str, peer: str, topology: Path | None, lab: str | None, as_json: bool) -> None:
    """What a Route Server learned from a peer, in the shape of `az network routeserver peering list-learned-routes`.

    The table also shows what was received and dropped, with the rule; Azure shows that nowhere, and the JSON keeps Azure's shape.
    """
    from testbed.cli import prediction

    rows = prediction.learned(topology, route_server, peer) if topology else prediction.live_learned(_live(lab), route_server, peer)
    _print_paths(rows, as_json)


@show.command(name="advertised-routes")
@click.argument("route_server")
@click.argument("peer")
@predict_option
@lab_option
@json_option
def advertised_routes(route_server: str, peer: str, topology: Path | None, lab: str | None, as_json: bool) -> None:
    """What a Route Server advertises to a peer, in the shape of `az network routeserver peering list-advertised-routes`."""
    from testbed.cli import prediction

    rows = prediction.advertised(topology, route_server, peer) if topology else prediction.live_advertised(_live(lab), route_server, peer)
    _print_paths(rows, as_json)


def _print_paths(found: Any, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
    else:
        click.echo(table(("instance", "network", "AS path", "next hop", "communities", "dropped"), found.rows()))


@show.command()
@lab_option
@json_option
def bgp(lab: str | None, as_json: bool) -> None:
    """All BGP sessions of the lab."""
    from dataclasses import asdict

    rows = _live(lab).sessions()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    click.echo(table(("kind", "between", "", "state"), [(row.kind, *row.nodes, row.reason) for row in rows]))
    for row in rows:
        if row.words:
            click.echo(f"{' - '.join(row.nodes)}: {row.words}")


@show.command()
@lab_option
@json_option
def tunnels(lab: str | None, as_json: bool) -> None:
    """The overlay tunnels: ends, VNI, MTU, and whether the far end answers through them."""
    from testbed.emulation.readiness import tunnel_answers

    found = _live(lab)
    rows = [
        {"name": t.name, "type": t.type, "nodes": t.nodes, "outer": t.outer, "inner": t.inner, "vni": t.vni, "mtu": t.mtu, "answers": up}
        for t, up in tunnel_answers(found.plan)
    ]
    if as_json:
        print_json(rows)
        return
    cells = [[_cell(value) for value in row.values()] for row in rows]
    click.echo(table(("name", "type", "between", "outer", "inner", "VNI", "MTU", "answers"), cells))


def _cell(value: object) -> str:
    return (
        " - ".join(value)
        if isinstance(value, tuple)
        else {True: "yes", False: "no"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value)
    )


@show.command()
@click.argument("vnet", required=False)
@lab_option
@json_option
def flows(vnet: str | None, lab: str | None, as_json: bool) -> None:
    """The flows of every bridge, or of one VNet's, as the controller has programmed them, with what each is for."""
    found = _live(lab).client.controller("GET", "/flows", **({"bridge": vnet} if vnet else {}))
    groups = _live(lab).client.controller("GET", "/groups", **({"bridge": vnet} if vnet else {}))
    if as_json:
        print_json({bridge: {"groups": groups[bridge], "flows": found[bridge]} for bridge in found})
        return
    for bridge, lines in found.items():
        click.echo(click.style(bridge, bold=True))
        _indented(groups[bridge])
        _indented(lines)


def _indented(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"  {line}")


def _live(lab: str | None) -> Any:
    need_root("show")
    from testbed.scenario.building import live

    return live(lab)
