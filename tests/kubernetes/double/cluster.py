"""A cluster for a test: the API server on a port of its own, in a thread of its own, with its controllers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import uvicorn

from tests.kubernetes.double.access import Access
from tests.kubernetes.double.api import Api
from tests.kubernetes.double.controllers import Controllers
from tests.kubernetes.double.faults import Fault
from tests.kubernetes.double.kubelet import Kubelet
from tests.kubernetes.double.schemas import Json, schemas_of
from tests.kubernetes.double.server import Request, Server

MINOR = "1.36"

T = TypeVar("T")


class Cluster:
    """What tests hold. All methods may be called from any thread but the cluster's own."""

    def __init__(self, image: Mapping[str, str] | None = None, *, gpus: int = 0) -> None:
        api = Api(schemas_of(MINOR))
        self.api = api
        self.access = Access(api.objects)
        self._server = Server(api, self.access)
        self._controllers = Controllers(api)
        self._kubelet = None if image is None else Kubelet(api, image, self._kubeconfig, gpus=gpus)
        self._server.kubelet = self._kubelet
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._http: _Http | None = None
        self._thread = threading.Thread(target=self._live, name="cluster", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def token(self) -> str:
        """The administrator's."""
        return self.access.admin_token

    @property
    def requests(self) -> list[Request]:
        """Every request so far, faults included."""
        return self.call(lambda: list(self._server.requests))

    @property
    def refused(self) -> list[Request]:
        """Those that were answered 403."""
        return self.call(lambda: list(self._server.forbidden))

    def fault(self, **what: object) -> Fault:
        """The next requests that match meet a fault."""
        fault = Fault(**what)  # type: ignore[arg-type]  # passed on as they are
        self.call(lambda: self._server.faults.append(fault))
        return fault

    def await_watch(self) -> None:
        """Returns when somebody watches."""
        asyncio.run_coroutine_threadsafe(self._server.is_watched.wait(), self._loop).result(30)

    def _kubeconfig(self, namespace: str, service_account: str) -> Json:
        """How a pod with this service account reaches us."""
        token = self.access.token(namespace, service_account)
        return {
            "current-context": "pod",
            "clusters": [{"name": "double", "cluster": {"server": self.url}}],
            "users": [{"name": "pod", "user": {"token": token}}],
            "contexts": [{"name": "pod", "context": {"cluster": "double", "user": "pod", "namespace": namespace}}],
        }

    def drop_watches(self) -> int:
        """Cut every open watch; how many there were."""
        return self.call(self.api.objects.drop_watches)

    def compact(self) -> None:
        """Forget the history: watches that start from before now get 410."""
        self.call(self.api.objects.compact)

    @property
    def kubelet(self) -> Kubelet:
        assert self._kubelet is not None
        return self._kubelet

    def all(self, group: str, plural: str) -> list[Json]:
        return self.call(lambda: self.api.objects.all((group, plural)))

    def call(self, action: Callable[[], T]) -> T:
        """Run something in the cluster's thread."""

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def stop_controllers(self) -> None:
        """Nobody makes anything of objects any more. In the cluster's own thread."""
        self._controllers.stop()

    def stop_server(self) -> None:
        """The API server goes away: nobody listens, open watches are cut. Objects stay, and pods run on."""
        asyncio.run_coroutine_threadsafe(self._stop_server(), self._loop).result(30)

    def start_server(self) -> None:
        """On the same port as before."""
        asyncio.run_coroutine_threadsafe(self._start_server(), self._loop).result(30)

    # --- its life ------------------------------------------------------------------------------------------
    def start(self) -> None:
        self._thread.start()
        self.start_server()
        self.call(self._controllers.start)
        if self._kubelet is not None:
            self.call(self._kubelet.start)

    def stop(self) -> None:
        self.call(self._controllers.stop)
        if self._kubelet is not None:
            asyncio.run_coroutine_threadsafe(self._kubelet.stop(), self._loop).result(30)
        self.stop_server()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _start_server(self) -> None:
        # With the protocol said: asyncio turns Nagle off only for what it knows to be TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(self._server, log_config=None, log_level="critical", lifespan="off", ws="wsproto")
        self._http = _Http(config)
        self._serving = self._loop.create_task(self._http.serve(sockets=[listener]), name="API server")
        await self._http.is_up.wait()

    async def _stop_server(self) -> None:
        assert self._http is not None
        self._http.should_exit = True
        while not self._serving.done():
            self.api.objects.drop_watches()
            await asyncio.sleep(0.005)
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving


class _Http(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.is_up.set()


@contextlib.contextmanager
def a_cluster(image: Mapping[str, str] | None = None, *, gpus: int = 0) -> Iterator[Cluster]:
    """With an `image`, pods are real processes; without one, nobody runs them."""
    cluster = Cluster(image, gpus=gpus)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
