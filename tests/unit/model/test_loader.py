"""The loader: what is read as what, where each value stands, and what happens to files that mean harm."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import InputError
from testbed.model import loader
from testbed.model.frr_file import find_frr_config
from testbed.model.loader import Loaded, load_topology, parse_topology, plain_value, read_document, read_text

ROOT = Path(__file__).parents[3]
SMALL = "name: x\nregions:\n  r:\n    vnets:\n      v: {address_space: [10.0.0.0/16], subnets: {a: 10.0.0.0/24}}\n"


def messages(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_topology(text, "x.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-5", -5),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("1e400", "1e400"),
        (".inf", ".inf"),
        ("2024-01-01", "2024-01-01"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_unquoted_values_mean_what_they_look_like(text: str, value: Any) -> None:
    assert plain_value(text) == value
    assert type(plain_value(text)) is type(value)


def test_quoted_values_are_text() -> None:
    assert read_document("a: '12'\nb: \"true\"\nc: |\n  12\n", "x").data == {"a": "12", "b": "true", "c": "12\n"}


@pytest.fixture(scope="module")
def dual_region() -> Loaded:
    return load_topology(ROOT / "topologies" / "dual-region.yaml")


def test_every_value_of_the_file_knows_its_line(dual_region: Loaded) -> None:
    lines = (ROOT / "topologies" / "dual-region.yaml").read_text().splitlines()

    def at(path: str) -> str:
        return lines[dual_region.line(path) - 1]

    assert "nva2: {" in at("nvas.nva2.asn")
    assert "from: hub2, to: spoke21" in at("peerings[4].allow_forwarded_traffic")
    assert "spoke23:" in at("regions.region2.vnets.spoke23")
    assert "address_space: [10.22.0.0/16]" in at("regions.region2.vnets.spoke22.address_space[0]")


def test_a_path_that_is_not_written_has_the_line_of_what_it_would_be_in(dual_region: Loaded) -> None:
    assert dual_region.line("nvas.nva2.loopbacks[3]") == dual_region.line("nvas.nva2")
    assert dual_region.line("peerings[99].to") == dual_region.line("peerings")
    assert dual_region.line("timers.bgp.hold") == dual_region.line("")


def test_names_with_dots_have_their_own_line() -> None:
    loaded = parse_topology(SMALL + "vms:\n  a: {subnet: v/a}\n  a.ip:\n    subnet: v/a\n")
    assert loaded.line("vms.a") == 7
    assert loaded.line("vms.a.ip") == 8
    assert loaded.line("vms.a.ip.subnet") == 9


def test_dual_region_is_what_it_says(dual_region: Loaded) -> None:
    topology = dual_region.topology
    addresses = {name: str(vm.ip) for name, vm in topology.vms.items()}
    assert addresses == {
        "vmh1": "10.1.2.4",
        "vm11": "10.11.0.4",
        "vm12": "10.12.0.4",
        "vmh2": "10.2.2.4",
        "vm21": "10.21.0.4",
        "vm22": "10.22.0.4",
        "vm23": "10.23.0.4",
    }
    assert {str(nva.ip): (nva.asn, nva.as_override) for nva in topology.nvas.values()} == {
        "10.1.0.4": (65001, True),
        "10.2.0.4": (65002, True),
    }
    assert not [peering for peering in topology.peerings if "spoke23" in (peering.from_, peering.to)]
    assert topology.region_of("spoke23") == "region2"


def test_loading_is_quick() -> None:
    path = ROOT / "topologies" / "dual-region.yaml"
    times = []
    for _ in range(5):
        start = time.perf_counter()
        load_topology(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.030


@pytest.mark.parametrize("case", sorted(path.name for path in (ROOT / "tests" / "azure-cases").iterdir() if path.is_dir()))
def test_designs_captured_in_azure_load(case: str) -> None:
    topology = load_topology(ROOT / "tests" / "azure-cases" / case / "topology.yaml").topology
    assert all(nic.ip is not None for nic in (*topology.nvas.values(), *topology.vms.values()))


def test_all_bundled_topologies_load() -> None:
    paths = sorted((ROOT / "topologies").glob("*.yaml"))
    assert paths
    for path in paths:
        assert load_topology(path).topology.name == path.stem
        assert path.read_text().startswith("#"), f"{path.name} has no picture at its head"


def test_a_design_without_a_route_server_loads() -> None:
    assert parse_topology(SMALL).topology.route_servers == {}


def test_without_libyaml_it_reads_the_same(monkeypatch: pytest.MonkeyPatch, dual_region: Loaded) -> None:
    import yaml

    monkeypatch.setattr(loader, "_PARSER", yaml.SafeLoader)
    again = load_topology(ROOT / "topologies" / "dual-region.yaml")
    assert again.topology == dual_region.topology
    assert again.lines == dual_region.lines
    assert messages("a: {b: [1, 2}\n") == ["x.yaml:1: a '[' that is not closed, or a comma is missing; close it with ']'"]


def test_a_crlf_file_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_topology(path).line("regions.r.vnets.v") == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: x\ndescription: \xff\n", ":2: is not UTF-8 text; save the file as UTF-8"),
        ("name: x".encode("utf-16"), ":1: is not UTF-8 text; save the file as UTF-8"),
        (b"a: " + b"x" * 20_000_001, ": is larger than 20 MB; is this a topology?"),
        (b"\x00" * 100, ":1: a control character ('\\x00'); remove it"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_topology(path)
    assert str(caught.value) == f"{path}{words}"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "is not a file name"),
    ):
        with pytest.raises(InputError, match=reason):
            read_text(path)


def test_an_endless_file_is_not_begun() -> None:
    with pytest.raises(InputError, match="is a pipe or a device"):
        read_text(Path("/dev/zero"))


HOSTILE: dict[str, Callable[[], str]] = {
    "deep lists": lambda: "a: " + "[" * 200_000,
    "deep mappings": lambda: "\n".join(" " * depth + "a:" for depth in range(2000)),
    "question marks": lambda: "? " * 100_000,
    "many empty lists": lambda: "a: [" + "[]," * 1_100_000 + "]",
    "a long number": lambda: "a: " + "1" * 5_000_000,
    "one key again and again": lambda: "a: 1\n" * 300_000,
    "numbers as keys": lambda: "".join(f"{number}: 1\n" for number in range(100_000)),
    "anchors": lambda: "".join(f"a{number}: &a{number} 1\n" for number in range(100_000)),
    "bomb": lambda: "a: &a [1,1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1},*a{n - 1}]\n".replace("a0", "a") for n in range(1, 500)),
    "unknown keys": lambda: SMALL + "".join(f"k{number}: 1\n" for number in range(20_000)),
    "unknown names": lambda: SMALL + "vms:\n" + "".join(f"  m{number}: {{subnet: w{number}/a}}\n" for number in range(20_000)),
    "wrong names among many": lambda: (
        SMALL
        + "".join(f"      v{number}: {{address_space: [10.{1 + number // 256}.{number % 256}.0/24]}}\n" for number in range(5000))
        + "vms:\n"
        + "".join(f"  m{number}: {{subnet: w{number}/a}}\n" for number in range(5000))
    ),
    "one address space": lambda: (
        "name: x\nregions:\n  r:\n    vnets:\n"
        + "".join(f"      v{number}: {{address_space: [10.0.0.0/8]}}\n" for number in range(3000))
        + "peerings:\n"
        + "".join(f"  - {{from: v0, to: v{number}}}\n  - {{from: v{number}, to: v0}}\n" for number in range(1, 3000))
    ),
    "one subnet": lambda: SMALL.replace("a: 10.0.0.0/24", ", ".join(f"s{number}: 10.0.0.0/24" for number in range(10_000))),
    "a link of dashes": lambda: "name: x\nregions: {a: {}, a-a: {}}\nlinks: {" + "-".join("a" * 100) + ": {}}",
    "more tunnels than addresses": lambda: (
        SMALL
        + "nvas: {m: {subnet: v/a, asn: 65001}, n: {subnet: v/a, asn: 65002}}\ntunnels:\n"
        + "  - {type: vxlan, between: [m, n]}\n" * 10_000
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_bounded_time(name: str) -> None:
    text = HOSTILE[name]()
    start = time.process_time()
    problems = messages(text)
    assert time.process_time() - start < 6
    assert 1 <= len(problems) <= loader.MAX_PROBLEMS + 2
    assert all(len(problem) < 1000 for problem in problems)


def test_a_hundred_thousand_lines_load() -> None:
    text = SMALL.replace("10.0.0.0/16", "10.0.0.0/8").replace("/24", "/9") + "vms:\n"
    text += "".join(f"  vm{number}:\n    subnet: v/a\n" for number in range(50_000))
    start = time.process_time()
    loaded = parse_topology(text)
    assert time.process_time() - start < 8
    assert str(loaded.topology.vms["vm49999"].ip) == "10.0.195.83"
    assert loaded.line("vms.vm49999") == 100_005


def test_references_are_checked_beside_what_does_not_fit_the_format() -> None:
    found = messages(
        SMALL + "nvas:\n  n: {subnet: v/b, asn: 65001, as_override: maybe}\n  m: {subnet: v/a, asn: none}\nvms:\n  m2: {subnet: w/a}\n"
    )
    assert found == [
        "x.yaml:7: nvas.n.as_override: expected true or false, found 'maybe'",
        "x.yaml:7: nvas.n.subnet: VNet v has no subnet b; known: a",
        "x.yaml:8: nvas.m.asn: expected a whole number, found 'none'",
        "x.yaml:10: vms.m2.subnet: there is no VNet w; known: v",
    ]


def test_what_is_wrong_in_itself_is_not_called_missing() -> None:
    found = messages(SMALL + "nvas:\n  n: {subnet: v/a, asn: none}\ntunnels:\n  - {type: vxlan, between: [n, o]}\n")
    assert [each for each in found if "no NVA or site n" in each] == []
    assert [each for each in found if "no NVA or site o" in each] != []


def test_an_entry_after_a_wrong_one_keeps_its_number() -> None:
    found = messages(SMALL + "peerings:\n  - {from: v}\n  - {from: v, to: w}\n")
    assert found == ["x.yaml:7: peerings[0].to: is missing; it has no default", "x.yaml:8: peerings[1].to: there is no VNet w; known: v"]


def test_an_frr_config_is_found_beside_the_file_or_in_its_repository(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    topologies = repository / "topologies"
    topologies.mkdir(parents=True)
    (repository / ".git").mkdir()
    (tmp_path / "outside.conf").write_text("")
    (topologies / "near.conf").write_text("")
    (repository / "far.conf").write_text("")
    (topologies / "link.conf").symlink_to(tmp_path / "outside.conf")
    (topologies / "round.conf").symlink_to(topologies / "round.conf")
    assert find_frr_config(topologies, "near.conf") == topologies / "near.conf"
    assert find_frr_config(topologies, "far.conf") == repository / "far.conf"
    assert find_frr_config(topologies, "../far.conf") == repository / "far.conf"
    for name in ("../../outside.conf", "link.conf", "round.conf", "none.conf", "", ".", "a\0b", "x" * 5000, "/etc/passwd"):
        assert find_frr_config(topologies, name) is None, name


def test_an_frr_config_outside_a_repository_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.conf").write_text("")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert find_frr_config(folder, "../outside.conf") is None
