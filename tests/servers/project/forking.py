"""Fork 200 times while threads log, and log in each child."""

import logging
import os
import threading

from app.observability import configure_logging, new_span_id, new_trace_id

FORKS = 200

logger = logging.getLogger("shop")


def log_until(stopped: threading.Event) -> None:
    """Log as often as possible."""
    while not stopped.is_set():
        logger.info("Parent", extra={"text": "x" * 2000})  # the kernel writes up to 4096 bytes to a pipe at once


def main() -> None:
    """Run the threads, and fork."""
    configure_logging("shop")
    stopped = threading.Event()
    threads = [threading.Thread(target=log_until, args=(stopped,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(FORKS):
        child = os.fork()
        if child == 0:
            logger.info("Child", extra={"ids": [new_trace_id(), new_span_id()]})
            os._exit(0)
        os.waitpid(child, 0)
    stopped.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
