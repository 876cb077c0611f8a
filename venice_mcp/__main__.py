"""The console command. Imports run with the garbage collector off: it would only slow the start down."""

import gc
import sys


def main() -> int:
    """Run `venice-mcp` and give its exit status."""
    gc.disable()
    from venice_mcp.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
