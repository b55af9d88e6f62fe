"""An engine that does what the file `script` in its home says, one line per start.

    serve    answer every request on the control socket until SIGTERM
    stumble  the same, but end with an error on SIGTERM
    orphan   start `sleep` in its own session, write its pid to `orphan`, then serve
    exit N   say so and end with that code

Each start appends its pid and its Python to `starts`. After the last line of the script, `serve`.
"""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
from pathlib import Path


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def main() -> None:
    home = Path(os.environ["HATCHWAY_HOME"])
    with (home / "starts").open("a") as file:
        file.write(f"{os.getpid()} {sys.executable}\n")
    starts = len((home / "starts").read_text().splitlines())
    script = (home / "script").read_text().splitlines() if (home / "script").exists() else []
    line = script[starts - 1] if starts <= len(script) else "serve"
    if line.startswith("exit"):
        sys.stderr.write("the stand-in engine has had enough\n")
        sys.exit(int(line.split()[1]))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1 if line == "stumble" else 0))
    if line == "orphan":
        orphan = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        (home / "orphan").write_text(str(orphan.pid))
    serve()


def serve() -> None:
    from hatchway.settings import Settings

    path = Settings.from_environment(os.environ).engine_socket
    path.unlink(missing_ok=True)
    with socketserver.UnixStreamServer(str(path), Answer) as server:
        server.serve_forever(poll_interval=0.02)


if __name__ == "__main__":
    main()
