"""``python -m testbed.cli`` is ``testbed``."""

from testbed.cli import main

main()
