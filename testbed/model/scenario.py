"""What a scenario declares: steps that act on a lab and say what must be observed afterwards. The format is that of docs/scenarios.md."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from testbed.model.measurement import Failover, Loop, Measurement, Throughput
from testbed.model.scenario_actions import (
    Action,
    Announce,
    BranchToBranch,
    Capture,
    Fault,
    NeighborChange,
    PeerChange,
    PeeringChange,
    Preference,
    Prepend,
    Propagation,
    Rekey,
    RouteChange,
    SetOverride,
    Strip,
    action_of,
    fault_action,
)
from testbed.model.scenario_expectations import (
    Advertised,
    Agreement,
    ComesBack,
    Delivered,
    EffectiveRoute,
    Expectation,
    Explained,
    Learned,
    Mtu,
    NotDelivered,
    NothingInClear,
    OneSession,
    OnlyOnLink,
    PathTaken,
    Refused,
    RoundTrip,
    Sessions,
    Spread,
    TableEntry,
    Tcp,
    Traceroute,
    Untouched,
    expectation_of,
)
from testbed.model.values import Declared, Name, Seconds

__all__ = [
    "Action", "Advertised", "Agreement", "Announce", "BranchToBranch", "Capture", "ComesBack", "Delivered", "EffectiveRoute", "Expectation",
    "Explained", "Failover", "Fault", "Learned", "Loop", "Measurement", "Mtu", "NeighborChange", "NotDelivered", "NothingInClear",
    "OneSession", "OnlyOnLink", "PathTaken", "PeerChange", "PeeringChange", "Preference", "Prepend", "Propagation", "Refused", "Rekey",
    "RoundTrip", "RouteChange", "Scenario", "Sessions", "SetOverride", "Spread", "Step", "Strip", "TableEntry", "Tcp", "Throughput",
    "Traceroute", "Untouched", "action_of", "expectation_of", "fault_action",
]  # fmt: skip


class Step(Declared):
    """A stage of a scenario: first what to do, then what to expect, each expectation within the budget."""

    stage: str = Field(description="What the step is about, for people")
    do: tuple[Action, ...] = Field(default=(), description="What to do, in order")
    measure: tuple[Measurement, ...] = Field(
        default=(), description="What to measure: a `failover` while the actions happen, `loop` and `throughput` after them"
    )
    expect: tuple[Expectation, ...] = Field(default=(), description="What must then be observed, in order")
    within: Seconds = Field(default=10.0, description="How long each expectation may take to come true")
    budget: Name | None = Field(default=None, description="One of the scenario's `budgets` instead of `within`")

    @model_validator(mode="after")
    def _one_failover(self) -> Self:
        if sum(each.failover is not None for each in self.measure) > 1:
            raise ValueError("a step's actions happen once: measure one failover, with several pairs")
        return self


class Scenario(Declared):
    """A topology file and the steps to take on it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,39}$")] = Field(description="The scenario's name")
    description: str = Field(default="", description="What it shows")
    topology: str = Field(description="The topology file, relative to this one")
    budgets: dict[Name, Seconds] = Field(
        default_factory=dict, description="Waiting times by name, such as `hold-timer`: a time-out then says which of them ran out"
    )
    steps: tuple[Step, ...] = Field(min_length=1, description="The steps; all are taken, also after one that fails")

    def seconds(self, step: Step) -> float:
        """How long an expectation of a step may take. Raises KeyError for a budget that is not declared."""
        return self.budgets[step.budget] if step.budget is not None else step.within
