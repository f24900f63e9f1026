"""Charts: what is drawn where."""

from __future__ import annotations

import re

import pytest

from testbed.report import plots
from testbed.report.markup import Markup, join, tag

from .made import loop


def widths(markup: str) -> list[float]:
    return [float(found) for found in re.findall(r"width:([\d.]+)%", markup)]


def lefts(markup: str) -> list[float]:
    return [float(found) for found in re.findall(r"left:([\d.]+)%", markup)]


def test_bars_share_one_scale_from_zero() -> None:
    assert widths(plots.bars([("a", 5.0, "5"), ("b", 10.0, "10"), ("c", 0.0, "0")])) == [50.0, 100.0]
    assert widths(plots.bars([("a", 0.0, "none")])) == []


def test_a_waterfall_goes_on_where_the_last_step_ended() -> None:
    drawn = plots.waterfall([("a", 0.0, 1.0, 1.0, "", ""), ("b", 1.0, 3.0, 4.0, "", "")])
    assert (widths(drawn)[0], widths(drawn)[-1]) == (25.0, 50.0)
    assert "tail" in drawn


def test_a_waterfall_with_a_milestone_seen_before_its_cause() -> None:
    drawn = plots.waterfall([("a", 0.0, 2.0, 2.0, "", ""), ("b", 2.0, 1.0, 1.0, "", "")])
    assert widths(drawn)[-1] == 50.0


def test_lanes_show_lost_parts_at_their_time() -> None:
    drawn = plots.lanes([("f", [(0.5, 1.0), (0.75, 0.5), (9.0, 1.0)], "2")], 0.0, 1.0, 0.01, "stimulus")
    rects = re.findall(r'<rect class="lost" x="([\d.]+)" width="([\d.]+)" y="([\d.]+)" height="([\d.]+)"', drawn)
    assert [tuple(map(float, rect)) for rect in rects] == [(500.0, 10.0, 0.0, 22.0), (750.0, 10.0, 11.0, 11.0)]
    assert "stimulus" in drawn


def test_samples_are_dots_and_the_median_a_stroke() -> None:
    drawn = plots.samples([("outage", [(0.5, True), (1.0, False)], 0.5, "")])
    assert drawn.count("dot c3") == 1
    assert drawn.count("dot c1") == 1
    assert lefts(drawn) == pytest.approx([100 / 1.04 / 2, 100 / 1.04, 100 / 1.04 / 2], abs=0.001)


@pytest.mark.parametrize("nodes", [["nva1"], ["nva1", "nva2"], ["a", "b", "c"], ["a", "b", "c", "d"]])
def test_a_loop_is_drawn_with_all_its_nodes_and_an_arrow_each(nodes: list[str]) -> None:
    drawn = plots.loop(loop(nodes)["data"]["pairs"][0])
    assert re.findall(r"<text [^>]*>([^<]*)</text>", drawn)[:-2] == ["vm11", *nodes]
    assert drawn.count('class="tip"') == len(nodes)
    numbers = [float(number) for number in re.findall(r"[MLQC ](-?\d+\.\d),", drawn)]
    assert all(-10 <= number <= 440 for number in numbers)


def test_no_loop_is_no_drawing() -> None:
    assert plots.loop(loop([])["data"]["pairs"][0]) == ""


def test_text_is_escaped_and_markup_kept() -> None:
    assert tag("p", "<&>", Markup("<b/>"), None, 3, 0.5, ["x"], title='"') == '<p title="&quot;">&lt;&amp;&gt;<b/>30.5x</p>'
    assert tag("rect", x=1.0, stroke_width=2) == '<rect x="1" stroke-width="2"/>'
    with pytest.raises(TypeError, match="no markup"):
        join([object()])
