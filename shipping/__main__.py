"""python -m shipping bundle|check"""

import argparse
import sys

from shipping import bundle, check, toolbox


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shipping")
    parser.add_argument("what", choices=("bundle", "check"))
    what: str = parser.parse_args().what
    try:
        toolbox.install()
        if what == "bundle":
            bundle.bundle()
        else:
            check.check()
    except toolbox.ShippingError as error:
        sys.exit(f"{what}: {error}")


if __name__ == "__main__":
    main()
