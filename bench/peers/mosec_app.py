"""The peer: mosec, a server in Rust with a Python worker, without a gateway."""

from typing import Any

from mosec import Server, Worker


class Echo(Worker):
    def forward(self, data: Any) -> Any:
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Echo, num=1)
    server.run()
