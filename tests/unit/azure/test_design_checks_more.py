"""Limits at their edge, accepted findings, the command's exit codes, and designs of odd shapes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from testbed import cli
from testbed.azure.control_plane import converge
from testbed.azure.design_checks import examine as examine_tables
from testbed.azure.design_checks.finding import Case, Finding
from testbed.model.loader import parse_topology
from testbed.plan.design_checks import Report, check_design

from .paper_designs import ONPREM, OVERLAY, joined, region, spoke

GOLDEN = Path(__file__).parents[2] / "golden" / "checks"


def checked(design: dict[str, Any], **changes: Any) -> Report:
    return check_design(parse_topology(json.dumps({**copy.deepcopy(design), **changes})))


def codes(report: Report) -> list[str]:
    return [each.finding.code for each in report.findings]


def of(report: Report, code: str) -> list[Finding]:
    return [each.finding for each in report.findings if each.finding.code == code]


def advertising(count: int) -> dict[str, Any]:
    design = copy.deepcopy(OVERLAY)
    prefixes = [f"172.{16 + number // 256}.{number % 256}.0/24" for number in range(count)]
    design["nvas"]["nva1"] |= {"advertise": prefixes, "loopbacks": prefixes}
    return design


class TestLimits:
    @pytest.mark.parametrize(("count", "risk"), [(1998, False), (1999, True)])
    def test_a_refresh_counts_twice(self, count: int, risk: bool) -> None:
        """rs1 also gets hub2 and s21 from nva1: 2,000 routes are half of the limit, 2,001 are a risk (RS6)."""
        found = [each for each in of(checked(advertising(count)), "RS106") if each.path == "nvas.nva1"]
        assert [each.message for each in found] == ["nva1 sends rs1 2001 routes; a refresh counts 4002, 4000 are allowed"] * risk

    def test_beyond_the_limit_the_session_is_down(self) -> None:
        found = of(checked(advertising(30), limits={"routes_per_peer": 20}), "RS006")
        assert {each.path for each in found} >= {"nvas.nva1"}
        assert "32 routes from nva1, 20 are allowed" in found[0].message

    def test_routes_in_all_and_vnets(self) -> None:
        assert [each.path for each in of(checked(OVERLAY, limits={"routes_total": 1}), "RS006")] == [
            "route_servers.rs1",
            "route_servers.rs2",
        ]
        assert [each.path for each in of(checked(OVERLAY, limits={"vnets": 1}), "RS006")] == ["route_servers.rs1", "route_servers.rs2"]

    def test_routes_to_expressroute(self) -> None:
        found = of(checked(ONPREM, limits={"routes_to_expressroute": 1}), "RS006")
        assert [(each.path, each.message) for each in found] == [("gateways.er1", "er1 advertises 2 routes to london-msee0, 1 are allowed")]


class TestOwnConfiguration:
    """NVAs with an FRR configuration of the user's own: its static routes are looked at."""

    def case(self, text: str) -> list[Finding]:
        design = copy.deepcopy(OVERLAY)
        design["nvas"]["nva1"]["frr_config"] = "mine.conf"
        topology = parse_topology(json.dumps(design)).topology
        return [each for each in examine_tables(Case(converge(topology), {"nva1": text})) if each.code in ("RS007", "OV001")]

    def test_without_static_routes(self) -> None:
        assert [(each.code, each.remedy) for each in self.case("router bgp 65001\n")] == [
            ("RS007", "ip route 10.1.1.0/26 10.1.0.1"),
            ("OV001", "ip route 10.2.0.4/32 10.1.0.1"),
        ]

    def test_with_them(self) -> None:
        assert self.case("ip route 10.1.1.0/24 10.1.0.1\nip route 10.2.0.4/32 10.1.0.1\n") == []

    def test_a_default_route_is_too_short(self) -> None:
        assert [each.code for each in self.case("ip route 0.0.0.0/0 10.1.0.1\n")] == ["RS007", "OV001"]


class TestSuppress:
    BAD: ClassVar[dict[str, Any]] = {**OVERLAY, "nvas": {name: {**nva, "as_override": False} for name, nva in OVERLAY["nvas"].items()}}

    def test_all_of_a_code(self) -> None:
        report = checked(self.BAD, suppress=[{"code": "RS008", "reason": "shown on purpose"}])
        assert "RS008" not in codes(report)
        assert [(each.finding.path, reason) for each, reason in report.suppressed] == [
            ("nvas.nva1", "shown on purpose"),
            ("nvas.nva2", "shown on purpose"),
        ]
        assert not report.fails(strict=True)

    @pytest.mark.parametrize("at", ["nvas.nva2", "nva2"])
    def test_at_one_place(self, at: str) -> None:
        report = checked(self.BAD, suppress=[{"code": "RS008", "at": at, "reason": "shown on purpose"}])
        assert [each.path for each in of(report, "RS008")] == ["nvas.nva1"]
        assert report.fails(strict=False)

    def test_what_matches_nothing_is_a_warning(self) -> None:
        report = checked(OVERLAY, suppress=[{"code": "RS008", "at": "nva", "reason": "shown on purpose"}])
        assert [(each.code, each.path) for each in of(report, "SU001")] == [("SU001", "suppress[0]")]
        assert (report.fails(strict=False), report.fails(strict=True)) == (False, True)


class TestCommand:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["RS008.bad.yaml"], 1),
            (["RS008.good.yaml"], 0),
            (["RS010.bad.yaml"], 0),
            (["RS010.bad.yaml", "--strict"], 1),
            (["PA004.bad.yaml", "--strict"], 0),
            (["nowhere.yaml"], 2),
            ([], 2),
            (["--explain", "RS008"], 0),
            (["--explain", "RS999"], 2),
        ],
    )
    def test_exit_codes(self, arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(GOLDEN)
        assert cli.execute(["check", *arguments]) == code
        assert "".join(capfd.readouterr())

    def test_text_names_the_place_the_hop_and_the_remedy(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(GOLDEN)
        cli.execute(["check", "RS008.bad.yaml"])
        out = capfd.readouterr().out
        assert "RS008.bad.yaml:31: error RS008: nvas.nva1: " in out
        assert "10.21.0.0/16 (AS path 65001 65002 65515)" in out
        assert "AS 65002 (nva2)" in out
        assert "as_override: true" in out
        assert "2 errors, 0 warnings" in out

    def test_json(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(GOLDEN)
        cli.execute(["check", "SU001.good.yaml", "--json"])
        found = json.loads(capfd.readouterr().out)
        assert found["findings"] == []
        assert [(each["code"], each["line"], each["reason"]) for each in found["suppressed"]] == [
            ("RS001", 8, "an old deployment that nobody will resize")
        ]
        cli.execute(["check", "--explain", "rs008", "--json"])
        assert json.loads(capfd.readouterr().out)["source"].startswith("RS8. Microsoft:")


class TestShapes:
    """Designs of every size and kind are checked to the end."""

    def test_no_route_server_at_all(self) -> None:
        design = {key: value for key, value in OVERLAY.items() if key in ("name", "regions", "vms")}
        sides = [*joined("hub1", "s11"), *joined("hub2", "s21")]
        vms = {"vm11": {"subnet": "s11/w"}, "vm21": {"subnet": "s21/w"}}
        assert codes(checked({**design, "vms": vms}, peerings=sides)) == ["PA004"]

    def test_one_region_without_anything(self) -> None:
        report = checked({"name": "empty", "regions": {"r": {}}})
        assert codes(report) == []
        assert "0 pairs" in report.proved

    def test_ten_regions(self) -> None:
        regions = {f"r{number}": region(number) for number in range(1, 11)}
        hubs = [(one, other) for one in range(1, 11) for other in range(one + 1, 11)]
        report = checked(
            {
                "name": "ten",
                "regions": regions,
                "peerings": [
                    *(side for number in range(1, 11) for side in spoke(f"hub{number}", f"s{number}1")),
                    *(side for one, other in hubs for side in joined(f"hub{one}", f"hub{other}")),
                ],
                "route_servers": {f"rs{number}": {"vnet": f"hub{number}", "peers": [f"nva{number}"]} for number in range(1, 11)},
                "nvas": {
                    f"nva{number}": {"subnet": f"hub{number}/nva", "asn": 65000 + number, "as_override": True} for number in range(1, 11)
                },
                "tunnels": [{"type": "vxlan", "between": [f"nva{one}", f"nva{other}"]} for one, other in hubs],
            }
        )
        assert not report.fails(strict=True)

    def test_prefixes_that_overlap_every_way(self) -> None:
        """VNets that lie in one another, advertised prefixes and UDRs of every length around them."""
        lengths = [f"10.{0 if length < 16 else 64}.0.0/{length}" for length in range(8, 10)] + [
            f"10.64.0.0/{length}" for length in range(10, 31)
        ]
        design = copy.deepcopy(OVERLAY)
        design["nvas"]["nva1"] |= {"advertise": lengths, "loopbacks": ["10.64.0.1/32"]}
        design["regions"]["r1"]["vnets"]["inner"] = {"address_space": ["10.11.0.0/24"], "subnets": {"w": "10.11.0.0/25"}}
        design["regions"]["r1"]["vnets"]["around"] = {"address_space": ["10.0.0.0/9"], "subnets": {"w": "10.5.0.0/25"}}
        routes = {
            f"r{number}": {"prefix": prefix, "next_hop_type": "VirtualAppliance", "next_hop_ip": "10.1.0.4"}
            for number, prefix in enumerate(lengths)
        }
        report = checked(design, route_tables={"t": {"subnets": ["s11/w"], "routes": routes}})
        assert "RS008" not in codes(report)
        assert "walked" in report.proved

    def test_a_file_of_a_hundred_thousand_lines(self) -> None:
        lines = ["name: long", "regions:", "  r1:", "    vnets:"]
        for number in range(500):
            lines += [
                f"      v{number}:",
                f"        address_space: [10.{number // 256}.{number % 256}.0/24]",
                f"        subnets: {{w: 10.{number // 256}.{number % 256}.0/25}}",
            ]
        lines += ["route_tables:"]
        for number in range(50):
            lines += [f"  t{number}:", f"    subnets: [v{number}/w]", "    routes:"]
            for route in range(500):
                lines += [
                    f"      r{route}:",
                    f"        prefix: 172.{16 + route // 256}.{route % 256}.0/24",
                    "        next_hop_type: None",
                    "",
                ]
        lines += ["#"] * (100_000 - len(lines))
        report = check_design(parse_topology("\n".join(lines).replace("next_hop_type: None", 'next_hop_type: "None"')))
        assert not report.fails(strict=True)
