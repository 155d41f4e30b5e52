"""`python -m app [api|payments]`: logging first, then everything that may log, then the server."""

import logging
import sys
from typing import NoReturn

from app.observability import configure_logging

USAGE = "Usage: python -m app [api|payments]. Settings are environment variables; docs/reference.md lists them."

logger = logging.getLogger("app")


def main() -> None:
    """Serve one of the two services until it is told to stop; exit code 2 for what a person has to mend."""
    if {"-h", "--help"} & set(sys.argv):
        sys.stdout.write(f"{USAGE}\n")
        return
    arguments = sys.argv[1:] or ["api"]
    known = arguments in (["api"], ["payments"])
    configure_logging(arguments[0] if known else "app")
    if not known:
        _refuse(USAGE)

    # Imported when logging is there: what goes wrong on import is then a line like any other.
    from app.server import CannotServeError, serve  # noqa: PLC0415

    try:
        serve(arguments[0])
    except CannotServeError as exc:
        _refuse(str(exc))


def _refuse(sentence: str) -> NoReturn:
    logger.critical(sentence)
    sys.exit(2)


if __name__ == "__main__":
    main()
