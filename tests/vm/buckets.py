"""Which NVA the fabric gives each of 64 flows under ECMP, switched in userspace and in the kernel: the same. Runs in the VM, as root."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from testbed.emulation import client
from testbed.measure.spread import FlowPath
from testbed.plan.types import Choice
from testbed.scenario.building import build

FLOWS = 64
ENDS = ("vm11", "vm21")


def ways(topology: Path, datapath: str) -> tuple[FlowPath, ...]:
    """The NVAs that each flow passes, in a lab of its own that is gone afterwards."""
    lab, _ = build(topology, lambda stage, seconds: print(f"{datapath}: {stage} {seconds:.1f} s", flush=True), choice=Choice(datapath))
    try:
        return lab.spread(*ENDS, FLOWS)
    finally:
        client.down(lab.plan.lab)


def chosen(flow: FlowPath) -> tuple[str, ...]:
    """The first NVA of each direction, which the sender's bridge chooses; the second is that NVA's own choice, by Linux's hash."""
    return (*flow.there[:1], *flow.back[:1])


def main(topology: Path) -> int:
    """Print how the flows are spread; 0 when both datapaths agree on every flow, and use all that there is."""
    userspace, kernel = ([chosen(flow) for flow in ways(topology, datapath)] for datapath in ("netdev", "system"))
    for way, count in sorted(Counter(userspace).items()):
        print(f"{count} flows: {' there, '.join(way)} back")
    different = sum(one != other for one, other in zip(userspace, kernel, strict=True))
    print(f"{different} of {FLOWS} flows have another NVA when switched in the kernel")
    return 1 if different or len(set(userspace)) < 4 or not all(map(len, userspace)) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
