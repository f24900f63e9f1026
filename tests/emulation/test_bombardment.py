"""A Route Server instance under fire: it stays up, the honest NVA's session does not notice, and each error is answered as the RFCs say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bombardment.fire import allowed, bombard, drip, every_case, flood
from bombardment.messages import CASES, POISON
from bombardment.range import Attacker, Range, shooting_range

from testbed.errors import NotReady
from testbed.wait import wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def where() -> Iterator[Range]:
    with shooting_range() as found:
        yield found


@pytest.mark.timeout(280)
def test_a_route_server_instance_stands_fire(where: Range) -> None:
    state, since, dropped = where.session()
    answers = every_case(where)
    wrong = {case.name: answers[case.name] for case in CASES if not allowed(case, answers[case.name])}
    assert wrong == {}
    refused = flood(where, 1000)
    assert set(refused) <= {"closed", "refused"}, "a stranger is not spoken to (RS3)"
    assert drip(where, range(30), 3.0) <= 30
    tally = bombard(where, 5000, seed=1, budget=150.0)
    assert where.bgpd.poll() is None, where.last_words()
    assert tally.sent >= 5000
    assert any(word.startswith("3/") for word in tally.heard), "some errors were answered"
    assert where.bmp == [], "the controller reads all that such a bgpd reports"
    now, still_since, still_dropped = where.session()
    assert (state, now, dropped) == ("Established", "Established", still_dropped)
    assert abs(still_since - since) <= 2, "its uptime counts on"
    assert where.memory() < 400
    assert where.files() < 200


@pytest.mark.parametrize("name", POISON)
def test_what_is_known_to_end_bgpd_ends_it_or_is_taken(where: Range, name: str) -> None:
    """Plainly: a configured peer can end the bgpd of Debian 12 with one message. This test says so when that has changed."""
    attacker = Attacker(where, 0)
    attacker.establish()
    attacker.say(POISON[name])
    heard = attacker.hear(timeout=1.0)
    attacker.hang_up()

    def ended() -> str | None:
        return "it runs" if where.bgpd.poll() is None else None

    try:
        wait_until(ended, what="the end of bgpd", budget=10.0)
    except NotReady:
        assert where.session()[0] == "Established", "a newer FRR: add these to the cases"
        assert heard
    else:
        assert where.bgpd.poll() == -11
        assert "Received signal 11" in where.last_words()
