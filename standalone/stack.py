"""The embedded stack: a real Temporal dev server, the simulated provider, a worker and the API, as one thing.

Everything listens on loopback only and keeps its data in one folder, so that a stack that is started again goes on
where it stopped, held requests included. The dev server is for one machine; production runs its own Temporal service.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.database import migrate
from adapters.settings import Settings
from adapters.temporal_connect import connect, register_search_attributes
from domain.attributes import SEARCH_ATTRIBUTES
from standalone.credentials import Credentials, ensure_credentials
from standalone.processes import Process, StackError, port_answers, port_is_free

HOST = "127.0.0.1"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class StackOptions:
    """Where the stack keeps its data and where it listens. With ``temporal_address`` no dev server is started."""

    data: Path = Path("var")
    api_port: int = 8080
    temporal_port: int = 7233
    ui_port: int = 8233
    provider_port: int = 8091
    temporal_address: str | None = None
    policies: Path = Path("policies")
    catalog: Path | None = None
    provider_arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def ports(self) -> dict[str, int]:
        """Ports this stack listens on, by the flag that changes them."""
        ports = {"--port": self.api_port, "--provider-port": self.provider_port}
        if self.temporal_address is None:
            ports |= {"--temporal-port": self.temporal_port, "--ui-port": self.ui_port}
        return ports


class Stack:
    """The processes of one embedded stack."""

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.temporal_address = options.temporal_address or f"{HOST}:{options.temporal_port}"
        self.url = f"http://{HOST}:{options.api_port}"
        self.ui_url = None if options.temporal_address else f"http://{HOST}:{options.ui_port}"
        self.provider_url = f"http://{HOST}:{options.provider_port}"
        self.settings = self._settings()
        self.temporal = self._temporal() if options.temporal_address is None else None
        arguments = [*options.provider_arguments]
        self.provider = self._python(
            "provider", "standalone.provider", "--port", str(options.provider_port), *arguments
        )
        self.worker = self._python("worker", "worker")
        self.api = self._python("api", "api")
        self._credentials: Credentials | None = None

    @property
    def issued(self) -> Credentials:
        """The keys of the running stack."""
        if self._credentials is None:
            raise StackError("the stack was not started")
        return self._credentials

    def _settings(self) -> Settings:
        options = self.options
        data = options.data.resolve()
        return Settings(
            temporal_address=self.temporal_address,
            database_url=f"sqlite+aiosqlite:///{data / 'sluice.db'}",
            policies=options.policies.resolve(),
            catalog=(options.catalog or options.policies / "catalog.yaml").resolve(),
            host=HOST,
            port=options.api_port,
            pepper_file=data / "pepper",
            decision_key_file=data / "decision.key",
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the worker and the API are told."""
        settings = self.settings
        return {
            "TEMPORAL_ADDRESS": settings.temporal_address,
            "TEMPORAL_NAMESPACE": settings.temporal_namespace,
            "DATABASE_URL": settings.database_url,
            "SLUICE_POLICIES": str(settings.policies),
            "SLUICE_CATALOG": str(settings.catalog),
            "SLUICE_HOST": settings.host,
            "SLUICE_PORT": str(settings.port),
            "SLUICE_PEPPER_FILE": str(settings.pepper_file),
            "SLUICE_DECISION_KEY_FILE": str(settings.decision_key_file),
            "SLUICE_SIMULATED_URL": f"{self.provider_url}/v1",
            "SLUICE_CITATIONS_URL": f"{self.provider_url}/verify/citations",
            "SLUICE_ARITHMETIC_URL": f"{self.provider_url}/verify/arithmetic",
            **self.options.environment,
        }

    def _python(self, name: str, module: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", module, *arguments]
        return Process(name, command, self.options.data / "logs" / f"{name}.log", self.environment)

    def _temporal(self) -> Process:
        options = self.options
        command = [
            temporal_binary(),
            *("server", "start-dev", "--ip", HOST, "--ui-ip", HOST),
            *("--port", str(options.temporal_port), "--ui-port", str(options.ui_port)),
            *("--db-filename", str((options.data / "temporal.db").resolve())),
            # SQLite's default journal is several times slower, and the default poll rate lets every task wait.
            *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
            *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
            *("--dynamic-config-value", "history.timerProcessorMaxPollRPS=2000"),
            *("--log-level", "warn"),
        ]
        for name in SEARCH_ATTRIBUTES:
            command += ["--search-attribute", f"{name}=Keyword"]
        return Process("temporal", command, options.data / "logs" / "temporal.log", {})

    async def start(self) -> None:
        """Start everything and wait until it answers. Raises ``StackError`` with a remedy."""
        self._ports_are_free()
        self.options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(migrate, self.settings.database_url)
        self._credentials = await ensure_credentials(self.settings, self.options.data, self.url)
        for process in (self.temporal, self.provider):
            if process is not None:
                process.start()
        await self.temporal_ready()
        self.worker.start()
        self.api.start()
        await asyncio.gather(self.provider_ready(), self.worker_ready(), self.api_ready())

    async def stop(self) -> None:
        """Stop everything: first what takes work, the server last."""
        await asyncio.gather(self.api.stop(), self.worker.stop())
        await self.provider.stop()
        if self.temporal is not None:
            await self.temporal.stop()

    async def watch(self) -> None:
        """Return never; raise ``StackError`` as soon as a part has died."""
        parts = [part for part in (self.temporal, self.provider, self.worker, self.api) if part is not None]
        while True:
            for part in parts:
                if not part.running:
                    raise StackError(f"{part.name} has stopped; its log {part.log} ends:\n{part.tail()}")
            await asyncio.sleep(0.5)

    def _ports_are_free(self) -> None:
        for flag, port in self.options.ports.items():
            if not port_is_free(HOST, port):
                raise StackError(f"port {port} is in use; stop the program that uses it or choose another with {flag}")

    async def client(self) -> Client:
        """A client of the stack's Temporal service."""
        return await connect(self.temporal_address, self.settings.temporal_namespace)

    async def temporal_ready(self) -> None:
        """Wait for the Temporal service, and see that it knows our Search Attributes."""
        if self.temporal is not None:
            host, port = self.temporal_address.rsplit(":", 1)
            await self.temporal.until(lambda: port_answers(host, int(port)), _START_SECONDS)
            await self.temporal.until(self._namespace_answers, _START_SECONDS)
            return
        try:
            await register_search_attributes(await self.client())
        except (RPCError, RuntimeError) as error:
            raise StackError(f"Temporal at {self.temporal_address} cannot be used: {error}; check --temporal") from None

    async def _namespace_answers(self) -> bool:
        try:
            client = await self.client()
            await client.count_workflows()
        except (RPCError, RuntimeError):
            return False
        return True

    async def provider_ready(self) -> None:
        """Wait for the simulated provider."""
        await self.provider.until(lambda: answers(f"{self.provider_url}/health"), _START_SECONDS)

    async def api_ready(self) -> None:
        """Wait for the API."""
        await self.api.until(lambda: answers(f"{self.url}/health/readiness"), _START_SECONDS)

    async def worker_ready(self) -> None:
        """Wait until a worker polls the task queue."""
        client = await self.client()
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=self.settings.task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )

        async def polled() -> bool:
            pollers = (await client.workflow_service.describe_task_queue(request)).pollers
            return any(poller.identity.startswith(f"{self.worker.pid}@") for poller in pollers)

        await self.worker.until(polled, _START_SECONDS)


@asynccontextmanager
async def running(options: StackOptions) -> AsyncIterator[Stack]:
    """A stack for as long as the block runs."""
    stack = Stack(options)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


def temporal_binary() -> str:
    """The ``temporal`` command: ``SLUICE_TEMPORAL_BINARY``, or the one installed beside this interpreter."""
    own = os.environ.get("SLUICE_TEMPORAL_BINARY")
    beside = Path(sys.executable).parent / "temporal"
    found = own or (str(beside) if beside.exists() else shutil.which("temporal"))
    if found is None or not Path(found).exists():
        raise StackError(
            "the temporal command is not there; run 'make run', which installs it, or name one in "
            "SLUICE_TEMPORAL_BINARY, or use your own Temporal service with --temporal HOST:PORT"
        )
    return found


async def answers(url: str) -> bool:
    """Whether a GET of ``url`` succeeds."""
    try:
        async with httpx.AsyncClient(timeout=2) as http:
            return (await http.get(url)).is_success
    except httpx.HTTPError:
        return False
