"""The peer: mosec with batches of up to 32. WORKLOAD is job, iris (one by one, as by default) or iris-batched."""

import os
import time
from typing import Any

from mosec import Server, Worker


class Job(Worker):
    def forward(self, data: list[Any]) -> list[Any]:
        time.sleep(0.005 + 0.0001 * len(data))
        return data


class Iris(Worker):
    def __init__(self) -> None:
        import joblib

        self.model = joblib.load(os.environ["MODEL"])

    def forward(self, data: Any) -> Any:
        return int(self.model.predict([data["values"]])[0])


class IrisBatched(Iris):
    def forward(self, data: list[Any]) -> list[Any]:
        return self.model.predict([flower["values"] for flower in data]).tolist()


if __name__ == "__main__":
    worker = {"job": Job, "iris": Iris, "iris-batched": IrisBatched}[os.environ["WORKLOAD"]]
    server = Server()
    server.append_worker(worker, num=1, max_batch_size=1 if worker is Iris else 32, max_wait_time=10)
    server.run()
