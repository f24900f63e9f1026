"""Which way each of 64 flows takes under ECMP, switched in userspace and in the kernel: it must be the same. Runs in the VM, as root."""

from __future__ import annotations

import sys
from pathlib import Path

from testbed.emulation import client
from testbed.plan.types import Choice
from testbed.scenario.building import build

FLOWS = 64


def ways(topology: Path, datapath: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The NVAs that each flow passes, there and back, in a lab of its own that is gone afterwards."""
    lab, _ = build(topology, lambda stage, seconds: print(f"{datapath}: {stage} {seconds:.1f} s", flush=True), choice=Choice(datapath))
    try:
        return [(flow.there, flow.back) for flow in lab.spread("vm11", "vm21", FLOWS)]
    finally:
        client.down(lab.plan.lab)


def main(topology: Path) -> int:
    """Print how the flows are spread; 0 when both datapaths agree on every flow."""
    userspace, kernel = (ways(topology, datapath) for datapath in ("netdev", "system"))
    different = sum(one != other for one, other in zip(userspace, kernel, strict=True))
    spread = {way: userspace.count(way) for way in sorted(set(userspace))}
    for (there, back), count in spread.items():
        print(f"{count} flows: {' '.join(there)} there, {' '.join(back)} back")
    print(f"{different} of {FLOWS} flows take another way in the kernel")
    return 1 if different or len(spread) < 2 else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
