"""The child process that serves Spark Connect; it ends when its parent does, however the parent ended.

Run as a file, with a JSON list of the folders where modules are found: Python functions run in here, and it must find
the same ones as its parent, also in folders whose names no PYTHONPATH can hold. Prints the port it listens on, then
waits until standard input is closed. The parent holds the other end of that pipe, so that even a killed parent leaves
no server behind.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Serve until standard input ends."""
    sys.path[:] = json.loads(sys.argv[1])
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    _, port = server.listening_address
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while sys.stdin.buffer.read(4096):
        pass
    # The server's worker threads do not always end on request; nothing of value is lost here: it only reads.
    os._exit(0)


if __name__ == "__main__":
    main()
