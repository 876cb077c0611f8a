"""The console command. Imports run with the garbage collector off: it would only slow the start down."""

import gc
import sys

_INTERRUPTED = 130


def main() -> int:
    """Run `venice-mcp` and give its exit status."""
    gc.disable()
    try:
        from venice_mcp.cli import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # also while importing, which takes most of a start
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
