"""What a step of a scenario may measure, and what is expected of the figures. The format is that of docs/measurements.md."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from testbed.model.scenario_actions import OneOf
from testbed.model.scenario_expectations import Names
from testbed.model.values import BitsPerSecond, Declared, Name, Seconds

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=10, le=500_000)]
Packets = Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Between(Declared):
    """Which pairs of nodes talk."""

    from_: Names = Field(alias="from", description="The sending VMs; `all` for every VM")
    to: Names = Field(description="The receiving VMs")


class Failover(_Between):
    """Streams between every pair of these VMs while the actions of the step happen: who lost what, for how long, and why so long.

    What begins with `outage_`, `lost_` and so on is a bound that the figure is held to; without bounds it is only reported.
    """

    both_ways: bool = Field(default=True, description="Measure the other direction too")
    rate: Rate = Field(default=1000.0, description="Packets/s of each flow; 1000 gives a resolution of 1 ms")
    flows: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="Flows (5-tuples) of each pair and direction")
    protocol: Literal["udp", "tcp"] = Field(default="udp", description="What the flows' packets look like")
    settled: Seconds = Field(default=10.0, description="The age that every BGP session must have before the stimulus")
    lead: Seconds = Field(default=0.5, description="Streams run so long before the stimulus")
    observe: Seconds = Field(default=4.0, description="And at least so long after it; they go on until all is calm")
    outage_below: Seconds | None = Field(default=None, description="The longest loss-derived outage of any flow")
    detected_below: Seconds | None = Field(default=None, description="From the stimulus until a BGP speaker noticed")
    detected_above: Seconds | None = Field(default=None, description="And not before that: a hold timer has to run out")
    withdrawn_below: Seconds | None = Field(default=None, description="From the stimulus until the Route Server lost the routes")
    withdrawn_above: Seconds | None = Field(default=None, description="And not before that")
    programmed_below: Seconds | None = Field(default=None, description="From the Route Server seeing it until all switches are changed")
    lost_at_most: Packets | None = Field(default=None, description="Packets lost in all flows together")
    duplicated_at_most: Packets | None = Field(default=None, description="Packets that came twice")
    recovers: bool | None = Field(default=None, description="Whether every flow gets through again in the end")
    through: Name | None = Field(default=None, description="In the end every flow from the first list passes through this NVA")

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.outage_below is not None and self.observe <= self.outage_below:
            raise ValueError(f"observe ({self.observe:g} s) must be longer than outage_below ({self.outage_below:g} s)")
        return self


class Loop(_Between):
    """A few packets between every pair of these VMs, captured at every interface: do they loop, where, how often, at what cost."""

    packets: Annotated[int, Field(ge=1, le=1000)] = Field(default=10, description="Packets of each pair")
    cycle: tuple[Name, ...] | None = Field(default=None, description="The nodes of the loop, in order; empty: there must be no loop")
    expired_at: Name | None = Field(default=None, description="Who sends the ICMP time exceeded")
    as_predicted: bool = Field(default=True, description="The loop, or its absence, is the predicted one")


class Throughput(_Between):
    """What the path between two VMs carries: TCP goodput, packets/s at no more than a given loss, delay, and what limits it."""

    label: str = Field(default="", description="What the path is called in the report; its overlay when not given")
    seconds: Seconds = Field(default=3.0, description="How long TCP is measured")
    tcp: bool = Field(default=True, description="Measure TCP goodput")
    packets: bool = Field(default=True, description="Search for the highest packet rate")
    size: Annotated[int, Field(ge=64, le=1514)] = Field(default=128, description="Bytes of a frame in that search")
    low: Rate = Field(default=1000.0, description="Packets/s where the search begins")
    high: Rate = Field(default=100_000.0, description="Packets/s where it ends")
    loss: Share = Field(default=0.001, description="The part that may be lost")
    goodput_above: BitsPerSecond | None = Field(default=None, description="The TCP goodput is at least that")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.tcp and not self.packets:
            raise ValueError("measure something: tcp, packets, or both")
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Measurement(OneOf):
    """One thing to measure: exactly one of these keys."""

    failover: Failover | None = Field(default=None, description="What a fault, or its healing, costs the traffic")
    loop: Loop | None = Field(default=None, description="Whether packets loop")
    throughput: Throughput | None = Field(default=None, description="How much a path carries")
