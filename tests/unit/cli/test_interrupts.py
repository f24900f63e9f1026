"""The first signal ends a command, now or when nobody holds it back; a second one cannot cut its tear-down short."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from testbed.cli.interrupts import NUMBERS, Interrupts


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = [(number, signal.getsignal(number)) for number in NUMBERS]
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)
    made = Interrupts()
    made.install()
    yield made
    for number, handler in before:
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_counts_and_the_others_do_not(interrupts: Interrupts, number: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        send(number)
    for other in NUMBERS:
        send(other)


def test_one_that_is_held_back_comes_when_it_may_and_once(interrupts: Interrupts) -> None:
    interrupts.hold()
    send(signal.SIGTERM)
    send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupts.release()
    interrupts.hold()
    interrupts.release()


def test_nothing_came_and_nothing_is_raised(interrupts: Interrupts) -> None:
    interrupts.hold()
    interrupts.release()
    interrupts.ignore()
    for number in NUMBERS:
        send(number)


def test_at_a_prompt_every_ctrl_c_counts(interrupts: Interrupts) -> None:
    with interrupts.every():
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
    send(signal.SIGINT)
