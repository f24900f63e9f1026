"""Commands that need a topology file and nothing else: no root, no lab."""

from __future__ import annotations

from pathlib import Path

import click

from testbed.cli.common import json_option, print_json, table, topology_argument, write_pieces
from testbed.errors import ExitCode, InputError


@click.command()
@topology_argument
@json_option
def plan(topology: Path, as_json: bool) -> None:
    """Print what `up` would build, without building it: nodes, links, configurations, flows."""
    from testbed.scenario.planning import compile_file

    _, compiled = compile_file(topology)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(compiled), indent=1).decode())
        return
    from testbed.plan.describe import describe

    click.echo(describe(compiled))


@click.command()
@topology_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it: .svg, .png or .dot; else DOT to stdout."
)
def graph(topology: Path, output: Path | None) -> None:
    """Draw a topology: regions, VNets, NVAs, Route Servers, peerings, tunnels and BGP sessions."""
    from testbed.model.loader import load_topology
    from testbed.plan.picture import dot

    text = dot(load_topology(topology).topology)
    if output is None:
        click.echo(text)
    elif output.suffix == ".dot":
        output.write_text(text)
    else:
        from testbed.report.drawing import draw

        draw(text, output)


@click.command()
@click.argument("kind", type=click.Choice(["topology", "scenario"]), default="topology")
def schema(kind: str) -> None:
    """Print the JSON Schema of topology or scenario files, so that editors complete and check them."""
    from testbed.model import schema as schemas

    print_json(schemas.topology_schema() if kind == "topology" else schemas.scenario_schema())


@click.command()
@topology_argument
@click.option("--nic", multiple=True, help="Only this NIC (vm11, nva1/outside, rs1-0); may be repeated.")
@json_option
def predict(topology: Path, nic: tuple[str, ...], as_json: bool) -> None:
    """Print the converged state on paper: what each Route Server learns and advertises, and every NIC's effective routes."""
    from testbed.azure.control_plane import converge
    from testbed.azure.predict_json import nic_subnets
    from testbed.azure.predict_stream import json_pieces
    from testbed.model.loader import load_topology

    plane = converge(load_topology(topology).topology)
    known = nic_subnets(plane.topology)
    if unknown := [label for label in nic if label not in known]:
        raise InputError(f"no NIC named {unknown[0]}", f"known: {', '.join(known)}")
    if as_json:
        write_pieces(json_pieces(plane, nic or None))
        click.echo()
        return
    from testbed.report.prediction import text

    click.echo(text(plane, nic or tuple(known)))


@click.command()
@topology_argument
@click.argument("source")
@click.argument("destination")
@json_option
def explain(topology: Path, source: str, destination: str, as_json: bool) -> None:
    """Explain hop by hop how a packet travels from SOURCE (a NIC) to DESTINATION (a NIC or an address), both directions."""
    from testbed.model.loader import load_topology
    from testbed.plan.explain import explain_pair

    found = explain_pair(load_topology(topology).topology, source, destination)
    if as_json:
        print_json(found.to_json())
    else:
        click.echo(found.text())


@click.command()
@click.argument("topology", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--explain", "code", metavar="CODE", help="The background of a finding (e.g. RS008) and its source.")
@json_option
def check(topology: Path | None, strict: bool, code: str | None, as_json: bool) -> int:
    """Validate a topology: its references, Azure's limits, and the mistakes that look healthy and fail.

    Ends with 1 on errors (with --strict on warnings too). Findings can be accepted in the file (suppress, with a reason).
    """
    from testbed.cli import checking

    if code is not None:
        checking.explain(code, as_json)
        return ExitCode.OK
    if topology is None:
        raise InputError("no topology named", "testbed check TOPOLOGY, or testbed check --explain CODE")
    report = checking.examine(topology)
    if as_json:
        print_json(checking.to_json(topology, report))
    else:
        click.echo(checking.text(topology, report))
    return ExitCode.EXPECTATION_FAILED if report.fails(strict) else ExitCode.OK


@click.command()
@topology_argument
@click.option(
    "--effective-routes", "effective", nargs=2, multiple=True, metavar="NIC FILE", help="az network nic show-effective-route-table."
)
@click.option(
    "--learned-routes",
    "learned",
    nargs=3,
    multiple=True,
    metavar="RS PEER FILE",
    help="az network routeserver peering list-learned-routes.",
)
@click.option(
    "--advertised-routes", "advertised", nargs=3, multiple=True, metavar="RS PEER FILE", help="az … peering list-advertised-routes."
)
@json_option
def compare(
    topology: Path,
    effective: tuple[tuple[str, str], ...],
    learned: tuple[tuple[str, str, str], ...],
    advertised: tuple[tuple[str, str, str], ...],
    as_json: bool,
) -> int:
    """Compare a prediction with what `az … -o json` printed in a real deployment, row by row; FILE may be - (stdin).

    Ends with 1 when a row differs. Not compared: order, names, weights, origins, IPv6, and None rows beside the documented ones.
    """
    from testbed.cli import comparing

    tables = comparing.compare(topology, effective, learned, advertised)
    if as_json:
        print_json(comparing.to_json(topology, tables))
    else:
        click.echo(comparing.text(tables))
    different = any(row.different for _, rows in tables for row in rows)
    return ExitCode.EXPECTATION_FAILED if different else ExitCode.OK


__all__ = ["check", "compare", "explain", "graph", "plan", "predict", "schema", "table"]
