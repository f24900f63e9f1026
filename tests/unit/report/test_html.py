"""The page of a run: complete, self-contained, well-formed, and nothing of a user's becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from testbed.report.html import page
from testbed.report.style import CSS

from .made import EVIL, failover, figure, loop, record, step, throughput

VOID = {"meta", "br", "hr", "line", "rect", "circle", "path", "col"}


class Reader(HTMLParser):
    """Checks that tags nest, and gathers the words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


EVERYTHING = record(step(failover()), step(loop(["nva1"]), loop([]), stage="loops"), step(throughput(), stage="carried"))


def test_every_part_of_a_run_is_told() -> None:
    words = " ".join(read(page([EVERYTHING])).words)
    for expected in (
        "made-up", "3 of 3", "4 of 4", "process death", "fail nva1", "outage below 1 s", "100 ms", "detected", "+4 ms", "100 lost",
        "9 packets went round nva1 → nva1 for 12 ms", "Not seen by anyone: withdrawn", "63 turns", "TTL 64 → 1",
        "no loop, 10 of 10 arrived; as predicted", "300 Mbit/s", "8,000/s", "ovs-vswitchd had a core", "16.0 GiB", "bgpd 8.4",
    ):  # fmt: skip
        assert expected in words, expected


def test_the_page_asks_nobody_for_anything_and_runs_nothing() -> None:
    reader = read(page([EVERYTHING]))
    assert {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "object", "embed", "form"} == set()
    attributes = {name for _, given in reader.tags for name in given}
    assert attributes & {"src", "href", "srcset", "onclick", "onload", "action"} == set()
    assert not re.search(r"url\(|@import|https?:", CSS)


def test_it_fits_a_phone_and_a_dark_room() -> None:
    reader = read(page([EVERYTHING]))
    (viewport,) = [given["content"] for tag, given in reader.tags if given.get("name") == "viewport"]
    assert viewport == "width=device-width, initial-scale=1"
    assert "prefers-color-scheme:dark" in CSS


@pytest.mark.parametrize("where", ["scenario", "description", "lab", "error"])
def test_what_a_user_named_stays_text(where: str) -> None:
    text = page([record(step(failover()), **{where: EVIL})])
    assert EVIL not in text
    assert EVIL in " ".join(read(text).words)


def test_what_a_daemon_said_stays_text() -> None:
    measured = failover()
    measured["data"]["facts"][0]["detail"] = EVIL
    measured["data"]["flows"][0]["source"] = '"><em>'
    text = page([record(step(measured, stage=EVIL))])
    assert EVIL not in text
    assert "<em>" not in text


def test_an_invalid_figure_is_marked_and_says_why() -> None:
    text = page([record(step(failover("other processes used 40% of the machine's CPU")))])
    assert "other processes used 40%" in text
    assert 'class="tile invalid"' in text
    assert 'class="tile invalid"' not in page([EVERYTHING])


def test_a_failed_step_says_what_was_measured() -> None:
    words = " ".join(read(page([record(step(failover(), ok=False))])).words)
    assert "failed" in words
    assert "measured 2 s" in words


def test_paths_of_several_steps_are_shown_side_by_side() -> None:
    words = " ".join(read(page([record(step(throughput(), stage="one"), step(throughput(), stage="two"))])).words)
    assert "Throughput side by side" in words
    assert "Throughput side by side" not in page([EVERYTHING])


def test_a_rate_that_never_got_through_is_said() -> None:
    assert "even 1,000 packets/s lost too much" in " ".join(read(page([record(step(throughput(None)))])).words)


def test_a_failover_that_nobody_noticed() -> None:
    measured = failover()
    measured["data"]["milestones"] = measured["data"]["milestones"][:1]
    assert "Nobody noticed anything" in page([record(step(measured))])


def test_flows_that_lost_nothing_take_no_room() -> None:
    measured = failover()
    measured["data"]["flows"].append(measured["data"]["flows"][0] | {"lost": 0, "loss": [], "windows": []})
    text = page([record(step(measured))])
    assert text.count('class="lane"') == 1
    assert "1 flows lost nothing." in text
    measured["data"]["flows"][:1] = []
    assert "No packet was lost." in page([record(step(measured))])


def test_a_record_of_the_first_format_is_still_drawn() -> None:
    old = record(step(), format=1)
    for key in ("picture", "description", "seconds"):
        del old[key]
    del old["steps"][0]["measurements"]
    assert "outage below 1 s" in page([old])


def test_a_run_that_ended_early_is_drawn() -> None:
    assert "no such luck" in page([record(error="no such luck", verdict="error", stages={})])


def test_several_runs_are_compared_and_then_told() -> None:
    slower = failover()
    slower["figures"][0]["measured"] = 0.25
    text = page([record(step(failover())), record(step(slower))])
    words = " ".join(read(text).words)
    assert "2 runs compared" in words
    assert "250 ms" in words
    assert words.count("The design") == 0
    assert text.count("<section>") > 2
    assert page([record(step(failover())), record(step(slower))], compare=True).count("<section>") == 0


def test_repeated_runs_show_every_sample() -> None:
    samples = [{"measured": value, "valid": value < 0.3, "reasons": []} for value in (0.1, 0.2, 0.4)]
    entry = {
        "step": 0, "measurement": 0, "stage": "process death", "title": "fail nva1", "name": "outage", "unit": "s", "median": 0.15,
        "least": 0.1, "greatest": 0.2, "deviation": 0.07, "invalid": 1, "samples": samples,
    }  # fmt: skip
    text = page([record(step(failover()), repeats={"count": 3, "summaries": [entry]})])
    assert text.count('class="dot') == 3
    assert "100 ms – 200 ms" in text
    none = entry | {"median": None, "least": None, "greatest": None}
    assert "no valid sample" in page([record(step(failover()), repeats={"count": 3, "summaries": [none]})])


def test_a_figure_that_only_one_run_has_is_not_compared() -> None:
    lonely = failover()
    lonely["figures"].append(figure("forwarding", 0.07))
    words = " ".join(read(page([record(step(lonely)), record(step(failover()))], compare=True)).words)
    assert "outage" in words
    assert "forwarding" not in words


def test_a_time_lapse_shows_the_routers_seconds_and_no_loss() -> None:
    lapsed = failover()
    lapsed["figures"] = [figure("detected (time-lapse 20×)", 140.0)]
    lapsed["data"]["time_lapse"] = 20.0
    lapsed["data"]["milestones"] = [{"name": "stimulus", "first": 0.0, "last": 0.0, "facts": []}] + [
        {"name": name, "first": 7.0, "last": 7.0, "facts": lapsed["data"]["facts"]} for name in ("detected", "forwarding")
    ]
    text = page([record(step(lapsed))])
    assert "140 s" in text
    assert "ran 20 times as fast" in text
    assert "Loss over time" not in text
    assert "first packet another way" not in text
