"""``python -m testbed.controller --lab-dir DIR``: the controller of one lab, started by labd inside the lab's fabric namespace."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from testbed.errors import TestbedError


def main() -> None:
    """Parse the arguments and serve until told to quit."""
    parser = argparse.ArgumentParser(prog="python -m testbed.controller", description="The SDN controller of one lab.")
    parser.add_argument("--lab-dir", type=Path, required=True, help="the lab's run folder, with plan.json")
    arguments = parser.parse_args()
    from testbed.controller.app import serve  # here: os-ken is slow to import, --help is not

    try:
        serve(arguments.lab_dir)
    except TestbedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
