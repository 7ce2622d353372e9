"""``python -m benchmarks NAME [--option value ...]``: run one benchmark, keep its results."""

import importlib
import sys
from pathlib import Path

from nasproxy.errors import UserError

NAMES = sorted(
    path.stem.replace("_", "-")
    for path in Path(__file__).parent.glob("*.py")
    if not path.stem.startswith("_") and path.stem != "results"
)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m benchmarks {{{','.join(NAMES)}}} [--help]")
    module = importlib.import_module(f"benchmarks.{sys.argv[1].replace('-', '_')}")
    try:
        module.main(sys.argv[2:])
    except UserError as error:
        sys.exit(f"benchmarks: error: {error}")


if __name__ == "__main__":
    main()
