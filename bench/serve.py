"""`python -m bench.serve VARIANT DESCRIPTOR`: serve one variant with uvicorn on an inherited socket."""

import socket
import sys

import uvicorn

from bench.variants import VARIANTS


def main() -> None:
    """Serve until a signal arrives; log to stdout."""
    name, descriptor = sys.argv[1:]
    variant = next(variant for variant in VARIANTS if variant.name == name)
    app = variant.build()(sys.stdout, served=True)
    config = uvicorn.Config(
        app, http="httptools", loop="uvloop", lifespan="off", log_config=None, access_log=variant.access_log
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(descriptor))])


if __name__ == "__main__":
    main()
