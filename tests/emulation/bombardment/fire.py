"""The shooting itself: every case once with its answer, then messages by the thousand, floods and drips."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from testbed.errors import NotReady

from . import messages
from .messages import CASES, Case
from .range import ATTACKERS, STRANGER, Attacker, Range


def answer(attacker: Attacker, case: Case) -> str:
    """How the Route Server takes one case: a NOTIFICATION's codes, ``closed``, or ``kept``: the session (or its opening) goes on."""
    if case.when == "connected":
        _dial(attacker)
        attacker.say(case.build(attacker.asn))
        heard = attacker.hear(until=messages.KEEPALIVE, timeout=10.0)
        return next((word for word in reversed(heard) if "/" in word), "kept" if "KEEPALIVE" in heard else heard[-1])
    attacker.establish()
    attacker.hear(until=messages.UPDATE)
    attacker.say(case.build(attacker.asn))
    heard = attacker.hear(timeout=0.3)  # a NOTIFICATION is lost if there is more to read when bgpd closes the connection
    if heard == ["silence"]:
        with suppress(OSError):
            attacker.say(messages.refresh())
        heard = attacker.hear(until=messages.UPDATE, timeout=10.0)
    return next((word for word in heard if "/" in word), "kept" if "UPDATE" in heard else heard[-1])


def _dial(attacker: Attacker) -> None:
    """A connection on which the Route Server has said its OPEN or waits for ours: not one that it hangs up on at once."""
    end = time.monotonic() + 10.0
    while True:
        attacker.dial()
        assert attacker.connection is not None
        attacker.connection.settimeout(0.2)
        try:
            if attacker.connection.recv(1, socket.MSG_PEEK):
                return
        except TimeoutError:
            return
        except OSError:
            pass
        if time.monotonic() > end:
            raise NotReady(f"{attacker.address} is never listened to")


def allowed(case: Case, said: str) -> bool:
    """Whether the RFCs allow this answer, or FRR is known to give another."""
    return said == case.frr or any(said == right or (right.endswith("/*") and said.startswith(right[:-1])) for right in case.right)


def every_case(where: Range) -> dict[str, str]:
    """The answer to each case, by its name; each is tried by an attacker of its own."""

    def one(number: int) -> tuple[str, str]:
        case, said = CASES[number], ""
        for _ in range(3):  # when TCP is reset, a NOTIFICATION on its way is lost
            said = _tried(Attacker(where, number), case)
            if allowed(case, said):
                break
        return case.name, said

    with ThreadPoolExecutor(16) as pool:
        return dict(pool.map(one, range(len(CASES))))


def _tried(attacker: Attacker, case: Case) -> str:
    try:
        return answer(attacker, case)
    except (OSError, NotReady) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        attacker.hang_up()


@dataclass
class Tally:
    """What was fired, and what came back."""

    sent: int = 0
    sessions: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def bombard(where: Range, count: int, seed: int, attackers: int = ATTACKERS, budget: float = 3600.0) -> Tally:
    """Fire ``count`` messages from established sessions, each opened again when it ends."""
    tally = Tally()
    end = time.monotonic() + budget

    def work(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        attacker = Attacker(where, number)
        while tally.sent < count and time.monotonic() < end and where.bgpd.poll() is None:
            with suppress(OSError, NotReady):
                attacker.establish(budget=70.0)
                with tally.lock:
                    tally.sessions += 1
                _burst(attacker, chance, tally, count)
            attacker.hang_up()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(attackers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def _burst(attacker: Attacker, chance: random.Random, tally: Tally, count: int) -> None:
    """Message after message until the session ends; now and then all but the last bytes of one, which come later."""
    while tally.sent < count:
        data = messages.harmful(chance, attacker.asn)
        cut = chance.randrange(1, len(data)) if chance.random() < 0.05 and len(data) > 1 else 0
        attacker.say(data[:cut])
        attacker.say(data[cut:])
        heard = attacker.hear(timeout=0.005)
        with tally.lock:
            tally.sent += 1
            tally.heard.update(word for word in heard if word != "silence")
        if "closed" in heard or any("/" in word for word in heard) or not messages.whole(data):
            return  # what comes after half a message would be read as its other half


def flood(where: Range, count: int) -> Counter[str]:
    """Connections from an address that is no peer, as fast as they go: each must be refused or closed without a word."""
    found: Counter[str] = Counter()
    for _ in range(count):
        try:
            with where.connect(STRANGER, timeout=2.0) as connection:
                connection.sendall(messages.open_message(65001, STRANGER))
                found["closed" if not connection.recv(100) else "answered"] += 1
        except TimeoutError:
            found["silence"] += 1
        except OSError:
            found["refused"] += 1
    return found


def drip(where: Range, numbers: range, seconds: float) -> int:
    """Connections of configured peers that send a byte of their OPEN now and then; gives back how many are still held at the end."""
    open_ = [
        (attacker, messages.open_message(attacker.asn, attacker.address)) for attacker in (Attacker(where, number) for number in numbers)
    ]
    for attacker, _ in open_:
        with suppress(OSError, NotReady):
            _dial(attacker)
    held = 0
    steps = 10
    for step in range(steps):
        held = 0
        for attacker, data in open_:
            with suppress(OSError):
                attacker.say(data[step : step + 1])
                held += 1
        threading.Event().wait(seconds / steps)
    for attacker, _ in open_:
        attacker.hang_up()
    return held
