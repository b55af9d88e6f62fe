"""A node: places pods on itself, runs their containers as real processes, probes them, ends them gracefully.

An image is a map from paths in containers to paths of this machine; so is a volume, for as long as its pod lives, or
its claim. Paths are replaced in commands, arguments and variables. Each pod has a loopback address of its own, which
also stands for "all addresses" (0.0.0.0) and for the Services that select the pod. A service account is a kubeconfig.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import shutil
import signal
import tempfile
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from hatchway.processes import end_all
from hatchway.settings import home_hash
from tests.kubernetes.double.api import Api
from tests.kubernetes.double.objects import Change
from tests.kubernetes.double.schemas import Json
from tests.kubernetes.double.selectors import match_spec
from tests.kubernetes.double.services import Services

NODE = "node-1"
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 1.0  # real ones: 10 seconds to 5 minutes
PRE_STOP_SHARE = 0.1  # of the pause that is asked for: the gateway of a test is not a network away


@dataclass
class Process:
    """A container that runs, or ran."""

    process: asyncio.subprocess.Process
    started_at: str
    reader: asyncio.Task[None]


@dataclass
class Log:
    """A container's output, each line with its time."""

    lines: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, line: bytes) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        self.lines.append(f"{now}000Z {line.decode(errors='replace').rstrip()}")
        self.changed.set()
        self.changed = asyncio.Event()


class Kubelet:
    """To be used in the cluster's thread. `gpus` is what the node has; `image` maps paths."""

    def __init__(
        self, api: Api, image: Mapping[str, str], access: Callable[[str, str], Json], *, gpus: int = 0
    ) -> None:
        self._api = api
        self._access = access  # namespace and service account -> a kubeconfig
        self._fixed: dict[str, str] = {}  # claim -> the address of whoever holds it
        self._image = dict(image)
        self._gpus = gpus
        self._folder = Path(tempfile.mkdtemp(prefix="hwk", dir="/tmp"))
        self._pods: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._addresses: Iterator[int] = count(1)
        self._services = Services(api)

    def start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._run(), name="kubelet")

    async def stop(self) -> None:
        tasks = [*self._tasks.values(), *([] if self._watcher is None else [self._watcher])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pod in self._pods.values():
            await pod.kill()
        await self._services.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pid(self, pod: str) -> int:
        """Of the replica's container."""
        run = next(run for run in self._pods.values() if run.name == pod)
        return run.processes["replica"].process.pid

    def crash(self, pod: str) -> None:
        os.kill(self.pid(pod), signal.SIGKILL)

    def log(self, namespace: str, name: str, container: str) -> Log | None:
        run = next((run for run in self._pods.values() if (run.namespace, run.name) == (namespace, name)), None)
        return None if run is None else run.logs.get(container)

    async def _run(self) -> None:
        changes: asyncio.Queue[Change | None] | None = None
        while True:
            if changes is None:
                changes = self._api.objects.watch(self._api.objects.version)
                for pod in self._api.objects.all(("", "pods")):
                    self._look(pod)
            change = await changes.get()
            if change is None:
                changes = None
            elif change.key == ("", "pods") and change.after is not None:
                self._look(change.after)
            elif change.key == ("", "pods") and change.before is not None:
                self._gone(change.before)

    def _look(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._pods:
            if "deletionTimestamp" in pod["metadata"]:
                self._pods[uid].end_soon()
            return
        if not pod["spec"].get("nodeName") and not self._place(pod):
            return
        number = next(self._addresses)
        host = f"127.{100 + os.getpid() % 100}.{number // 250}.{number % 250 + 1}"
        for volume in pod["spec"].get("volumes", ()):
            if "persistentVolumeClaim" in volume and not self._is_shared(pod, volume):
                host = self._fixed.setdefault(volume["persistentVolumeClaim"]["claimName"], host)
        account = pod["spec"].get("serviceAccountName", "default")
        kubeconfig = self._access(pod["metadata"]["namespace"], account)
        run = PodRun(self._api, pod, host, self._folder, str(number), self._image, kubeconfig, self._services)
        self._pods[uid] = run
        self._tasks[uid] = asyncio.get_running_loop().create_task(run.live(), name=f"pod {run.name}")

    def _is_shared(self, pod: Json, volume: Json) -> bool:
        """Whether many pods may hold the volume at once."""
        name = (pod["metadata"]["namespace"], volume["persistentVolumeClaim"]["claimName"])
        claim = self._api.objects.get(("", "persistentvolumeclaims"), name)
        return claim is not None and "ReadWriteMany" in claim["spec"]["accessModes"]

    def _gone(self, pod: Json) -> None:
        """Deleted without grace: nobody waits for it."""
        uid = pod["metadata"]["uid"]
        if uid in self._pods:
            self._pods[uid].end_soon()
        for waiting in self._api.objects.all(("", "pods")):
            if not waiting["spec"].get("nodeName"):
                self._look(waiting)

    def _place(self, pod: Json) -> bool:
        """The scheduler's part: whether the pod fits."""
        used = sum(_gpus(each) for each in self._api.objects.all(("", "pods")) if each["spec"].get("nodeName"))
        kind = self._api.kind("", "v1", "pods")
        if used + _gpus(pod) > self._gpus:
            condition = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            }
            if condition not in pod["status"].get("conditions", []):
                self._api.objects.put(kind, {**pod, "status": {**pod["status"], "conditions": [condition]}})
            return False
        placed = {**pod, "spec": {**pod["spec"], "nodeName": NODE}}
        self._api.objects.put(kind, placed)
        return False  # the change comes back to us


def _gpus(pod: Json) -> int:
    containers = pod["spec"]["containers"]
    return sum(int(each.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0)) for each in containers)


class PodRun:
    """One pod on this node, from its first container to its last."""

    def __init__(
        self,
        api: Api,
        pod: Json,
        ip: str,
        node: Path,
        number: str,
        image: Mapping[str, str],
        kubeconfig: Json,
        services: Services,
    ) -> None:
        self._api = api
        self._spec = pod["spec"]
        self._labels = pod["metadata"].get("labels", {})
        self._ip = ip
        self._claims = node / "claims"
        self._folder = node / number
        self._image = image
        self._kubeconfig = kubeconfig
        self._services = services
        self.uid, self.name = pod["metadata"]["uid"], pod["metadata"]["name"]
        self.namespace = pod["metadata"]["namespace"]
        self.processes: dict[str, Process] = {}
        self.logs: dict[str, Log] = {}
        self._states: dict[str, Json] = {}
        self._ready: dict[str, bool] = {}  # of containers that go on: by their names
        self._started: dict[str, asyncio.Event] = {}
        self._sidecars: list[asyncio.Task[None]] = []
        self._phase = "Pending"
        self._ending = asyncio.Event()
        self._paths: dict[str, str] = {}

    def end_soon(self) -> None:
        self._ending.set()

    async def live(self) -> None:
        life = asyncio.get_running_loop().create_task(self._live(), name=f"life of {self.name}")
        ending = asyncio.get_running_loop().create_task(self._ending.wait())
        try:
            await asyncio.wait({life, ending}, return_when=asyncio.FIRST_COMPLETED)
            if self._ending.is_set():
                await self._end(life)
            else:
                life.result()
        finally:
            tasks = (life, ending, *self._sidecars)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def kill(self) -> None:
        for each in self.processes.values():
            _signal(each, signal.SIGKILL)
            await each.process.wait()
            each.reader.cancel()
        self._end_what_they_left()

    def _end_what_they_left(self) -> None:
        """As in a namespace of its own: here, all processes of a home."""
        for container in self._spec["containers"]:
            for each in container.get("env", ()):
                if each["name"] == "HATCHWAY_HOME":
                    end_all(home_hash(Path(self._here(each["value"]))), grace_s=0)

    # --- its life ------------------------------------------------------------------------------------------
    async def _live(self) -> None:
        self._report()
        await self._mount()
        for container in self._spec.get("initContainers", ()):
            if container.get("restartPolicy") == "Always":
                await self._start_sidecar(container)
                continue
            backoff_s = FIRST_BACKOFF_S
            while await self._run_to_end(container) != 0:
                self._wait_state(container, "CrashLoopBackOff")
                await asyncio.sleep(backoff_s)
                backoff_s = min(LONGEST_BACKOFF_S, backoff_s * 2)
        self._phase = "Running"
        (container,) = self._spec["containers"]
        await self._keep(container)

    async def _start_sidecar(self, container: Json) -> None:
        """One that goes on beside the others; the next container waits until it has started."""
        name = container["name"]
        started = self._started[name] = asyncio.Event()
        self._sidecars.append(asyncio.get_running_loop().create_task(self._keep(container), name=name))
        await started.wait()

    async def _keep(self, container: Json) -> None:
        """Run it, again and again."""
        self._ready[container["name"]] = False
        backoff_s = FIRST_BACKOFF_S
        while True:
            await self._run_to_end(container, probes=True)
            self._wait_state(container, "CrashLoopBackOff")
            await asyncio.sleep(backoff_s)
            backoff_s = min(LONGEST_BACKOFF_S, backoff_s * 2)

    async def _mount(self) -> None:
        self._folder.mkdir(parents=True)
        (self._folder / "kubeconfig").write_text(json.dumps(self._kubeconfig))
        for volume in self._spec.get("volumes", ()):
            path = self._folder / volume["name"]
            if "persistentVolumeClaim" in volume:
                claim = self._claims / volume["persistentVolumeClaim"]["claimName"]
                claim.mkdir(parents=True, exist_ok=True)
                path.symlink_to(claim)
                continue
            path.mkdir()
            if "secret" in volume:
                secret = await self._secret(volume["secret"]["secretName"])
                for name, value in secret.get("data", {}).items():
                    (path / name).write_bytes(b64decode(value))

    async def _secret(self, name: str) -> Json:
        """When it is there: until then the pod waits, as a real one does."""
        while (found := self._api.objects.get(("", "secrets"), (self.namespace, name))) is None:  # noqa: ASYNC110 (as kubelets do)
            await asyncio.sleep(0.02)
        return found

    async def _secret_key(self, container: Json, *, name: str, key: str) -> str:
        """While it is not there, the container waits with the words of a real kubelet."""
        former = self._states.get(container["name"])
        while True:
            found = self._api.objects.get(("", "secrets"), (self.namespace, name))
            if found is not None and key in found["data"]:
                break
            what = f'secret "{name}" not found' if found is None else f"couldn't find key {key} in Secret {name}"
            state = {"waiting": {"reason": "CreateContainerConfigError", "message": what}}
            if self._states.get(container["name"], {}).get("state") != state:
                shown = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False}
                self._states[container["name"]] = {**shown, "restartCount": 0, "lastState": {}, "state": state}
                self._report()
            await asyncio.sleep(0.02)
        if former is None:
            self._states.pop(container["name"], None)
        else:
            self._states[container["name"]] = former
        return b64decode(found["data"][key]).decode()

    async def _run_to_end(self, container: Json, *, probes: bool = False) -> int:
        name = container["name"]
        log = self.logs.setdefault(name, Log())
        termination_log = self._folder / "termination-log"  # one for all: they run one after the other
        termination_log.write_text("")
        self._paths = {
            **self._image,
            **{each["mountPath"]: _real(self._folder / each["name"]) for each in container.get("volumeMounts", ())},
            container["terminationMessagePath"]: str(termination_log),
        }
        command = [self._here(word) for word in (*container["command"], *container.get("args", ()))]
        process = await asyncio.create_subprocess_exec(
            *command,
            env=await self._environment(container),
            cwd=self._here(container["workingDir"]) if "workingDir" in container else self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=1 << 20,
        )
        started_at = self._api.timestamp()
        running = Process(process, started_at, asyncio.ensure_future(_read(process, log)))
        self.processes[name] = running
        former = self._states.get(name, {})
        restarts = former.get("restartCount", -1) + 1
        self._states[name] = {
            "name": name,
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": restarts,
            "state": {"running": {"startedAt": started_at}},
            "lastState": former.get("state", {})
            if "terminated" in former.get("state", {})
            else former.get("lastState", {}),
        }
        self._report()
        probing = asyncio.ensure_future(self._probe(container, running)) if probes else None
        try:
            code = await process.wait()
        finally:
            if probing is not None:
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)
        if name in self._ready:
            self._ready[name] = False
        ended = {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": started_at,
            "finishedAt": self._api.timestamp(),
            "message": termination_log.read_text()[-4096:],
        }
        self._states[name] |= {"state": {"terminated": ended}, "ready": False}
        self._report()
        return code

    def _wait_state(self, container: Json, reason: str) -> None:
        state = self._states[container["name"]]
        state["lastState"] = state["state"]
        state["state"] = {"waiting": {"reason": reason, "message": "back-off restarting failed container"}}
        self._report()

    def _here(self, text: str) -> str:
        """A path in the container as one of this machine; a name or an address as ours."""
        if text == "0.0.0.0":
            return self._ip
        for service in self._api.objects.all(("", "services")):
            if match_spec(self._labels, {"matchLabels": service["spec"].get("selector", {"": ""})}):
                metadata = service["metadata"]
                text = text.replace(f"{metadata['name']}.{metadata['namespace']}.svc", self._ip)
            elif (name := f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc") in text:
                text = text.replace(name, self._services.address(service))
        for inside, outside in sorted(self._paths.items(), key=lambda item: -len(item[0])):
            if text == inside or text.startswith(inside.rstrip("/") + "/"):
                return outside + text[len(inside.rstrip("/")) :]
        return text

    async def _environment(self, container: Json) -> dict[str, str]:
        fields = {"metadata.name": self.name, "metadata.namespace": self.namespace, "status.podIP": self._ip}
        found = {"PATH": os.environ["PATH"], "HOSTNAME": self.name}
        if self._spec.get("automountServiceAccountToken", True):
            found["KUBECONFIG"] = str(self._folder / "kubeconfig")
        for each in container.get("envFrom", ()):
            secret = self._api.objects.get(("", "secrets"), (self.namespace, each["secretRef"]["name"]))
            if secret is None and not each["secretRef"].get("optional"):
                secret = await self._secret(each["secretRef"]["name"])
            data = {} if secret is None else secret["data"]
            found |= {name: b64decode(value).decode() for name, value in data.items()}
        for each in container.get("env", ()):
            source = each.get("valueFrom", {})
            if "fieldRef" in source:
                found[each["name"]] = fields[source["fieldRef"]["fieldPath"]]
            elif "secretKeyRef" in source:
                found[each["name"]] = await self._secret_key(container, **source["secretKeyRef"])
            else:
                found[each["name"]] = self._here(each.get("value", ""))
        return found

    # --- probes --------------------------------------------------------------------------------------------
    async def _probe(self, container: Json, running: Process) -> None:
        startup = container.get("startupProbe")
        if startup is not None:
            while not await self._passes(container, startup):  # noqa: ASYNC110 (a probe is a poll)
                await asyncio.sleep(0.02)  # real ones: once a second
        name = container["name"]
        if name in self._started:
            self._started[name].set()
        readiness, liveness = container.get("readinessProbe"), container.get("livenessProbe")
        failures = 0
        next_live = 0.0
        while True:
            is_ready = readiness is None or await self._passes(container, readiness)
            if is_ready != self._ready[name]:
                self._ready[name] = is_ready
                self._states[name]["ready"] = is_ready
                self._report()
            if liveness is not None and time.monotonic() >= next_live:
                next_live = time.monotonic() + liveness["periodSeconds"]
                failures = 0 if await self._passes(container, liveness) else failures + 1
                if failures >= liveness["failureThreshold"]:
                    _signal(running, signal.SIGKILL)
            await asyncio.sleep(0.05)  # real ones: periodSeconds

    async def _passes(self, container: Json, probe: Json) -> bool:
        wanted = probe["httpGet"]["port"]
        ports = {each["name"]: each["containerPort"] for each in container.get("ports", ())}
        port = ports.get(wanted, wanted)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(probe["timeoutSeconds"]):
                reader, writer = await asyncio.open_connection(self._ip, int(port))
                try:
                    path = probe["httpGet"]["path"]
                    writer.write(f"GET {path} HTTP/1.1\r\nhost: {self._ip}\r\nconnection: close\r\n\r\n".encode())
                    status = (await reader.readuntil(b"\r\n")).split(b" ")[1]
                    return 200 <= int(status) < 400
                finally:
                    writer.close()
        return False

    # --- its end -------------------------------------------------------------------------------------------
    async def _end(self, life: asyncio.Task[None]) -> None:
        """preStop, SIGTERM, SIGKILL when the grace period is over; then the object goes."""
        pod = self._current()
        grace_s = 0.0 if pod is None else float(pod["metadata"].get("deletionGracePeriodSeconds", 0))
        deadline = time.monotonic() + grace_s
        main = {container["name"] for container in self._spec["containers"]}
        running = {name: each for name, each in self.processes.items() if each.process.returncode is None}
        for container in self._spec["containers"]:
            if container["name"] in running:
                await self._pre_stop(container, grace_s)
        # Sidecars end after those that they stand beside.
        for names in (running.keys() & main, running.keys() - main):
            for name in names:
                _signal(running[name], signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await asyncio.gather(*(running[name].process.wait() for name in names))
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        await self.kill()
        pod = self._current()
        if pod is not None:
            self._api.remove(self._api.kind("", "v1", "pods"), (self.namespace, self.name))
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _pre_stop(self, container: Json, grace_s: float) -> None:
        """What is done before a container is told to end, within its grace."""
        told = container.get("lifecycle", {}).get("preStop", {})
        await asyncio.sleep(min(told.get("sleep", {}).get("seconds", 0), grace_s) * PRE_STOP_SHARE)
        if "exec" not in told:
            return
        process = await asyncio.create_subprocess_exec(
            *map(self._here, told["exec"]["command"]),
            env=await self._environment(container),
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    # --- what the API server is told -----------------------------------------------------------------------
    def _current(self) -> Json | None:
        pod = self._api.objects.get(("", "pods"), (self.namespace, self.name))
        return pod if pod is not None and pod["metadata"]["uid"] == self.uid else None

    def _report(self) -> None:
        pod = self._current()
        if pod is None:
            return
        init = {each["name"] for each in self._spec.get("initContainers", ())}
        main = {each["name"] for each in self._spec["containers"]}
        ready = "True" if main <= self._ready.keys() and all(self._ready.values()) else "False"
        now = self._api.timestamp()
        conditions = [
            {"type": name, "status": status, "lastTransitionTime": now}
            for name, status in (("PodScheduled", "True"), ("ContainersReady", ready), ("Ready", ready))
        ]
        status = {
            "phase": self._phase,
            "podIP": self._ip,
            "podIPs": [{"ip": self._ip}],
            "hostIP": "127.0.0.1",
            "startTime": now,
            "conditions": conditions,
            "initContainerStatuses": [copy.deepcopy(s) for name, s in self._states.items() if name in init],
            "containerStatuses": [copy.deepcopy(s) for name, s in self._states.items() if name not in init],
        }
        self._api.objects.put(self._api.kind("", "v1", "pods"), {**pod, "status": status})


def _real(path: Path) -> str:
    return os.path.realpath(path)


async def _read(process: asyncio.subprocess.Process, log: Log) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        log.add(line)


def _signal(running: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.process.pid, number)


async def follow(log: Log, *, is_followed: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The lines of a log, and those to come for as long as somebody wants them."""
    sent = 0
    while True:
        changed = log.changed
        while sent < len(log.lines):
            yield log.lines[sent].encode() + b"\n"
            sent += 1
        if not is_followed():
            return
        await changed.wait()
