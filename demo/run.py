"""Run the tour: `python demo/run.py`. Needs no account and no network; VENICE_MCP_DEMO_INTERACTIVE=1 asks you."""

import sys
from pathlib import Path


def start() -> int:
    # A script's own folder leads its search path; the tour is imported from the folder above.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    try:
        from demo.tour import main

        return main()
    except KeyboardInterrupt:
        sys.stdout.write("\nStopped.\n")
        return 130


if __name__ == "__main__":
    sys.exit(start())
