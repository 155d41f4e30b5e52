"""`python -m app [api|payments]`: configure logging first, so that also errors on import are JSON lines."""

import logging
import sys
from typing import NoReturn

from app.observability import configure_logging

USAGE = "Usage: python -m app [api|payments]. Settings are environment variables; docs/reference.md lists them."

logger = logging.getLogger("app")


def main() -> None:
    """Serve a service until a signal stops it; exit with 2 if arguments, settings or the port are wrong."""
    if {"-h", "--help"} & set(sys.argv):
        sys.stdout.write(f"{USAGE}\n")
        return
    arguments = sys.argv[1:] or ["api"]
    valid = arguments in (["api"], ["payments"])
    configure_logging(arguments[0] if valid else "app")
    if not valid:
        _exit(USAGE)

    from app.server import StartupError, serve  # noqa: PLC0415 - logging has to be configured before

    try:
        serve(arguments[0])
    except StartupError as exc:
        _exit(str(exc))


def _exit(message: str) -> NoReturn:
    logger.critical(message)
    sys.exit(2)


if __name__ == "__main__":
    main()
