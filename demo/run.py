"""Run the tour: `python demo/run.py`, or one act of it: `--act 3`. Needs no account and no network;
VENICE_MCP_DEMO_INTERACTIVE=1 asks you.
"""

import sys
from pathlib import Path


def start() -> int:
    # A script's own folder leads its search path; the tour is imported from the folder above.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from demo.options import options_in

    options = options_in(sys.argv[1:])
    try:
        from demo.tour import main

        return main(options)
    except KeyboardInterrupt:
        sys.stdout.write("\nStopped.\n")
        return 130


if __name__ == "__main__":
    sys.exit(start())
