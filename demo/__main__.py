"""`python -m demo`."""

import sys

try:
    from demo.cli import main
except ModuleNotFoundError as exc:
    sys.stderr.write(f"The package {exc.name} is missing: run `make setup`, then `.venv/bin/python -m demo`.\n")
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
