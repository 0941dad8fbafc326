"""The Workflow sandbox without a question it would answer a hundred times for every request.

The SDK asks the sandbox for a serialization context before it touches each payload, and enters the sandbox for it. Our
converter serializes without context, so the answer is always the same; giving it outside saves about a fifth of a
worker's processor time. Everything a Workflow does still runs in the sandbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner


class ContextFreeRunner(WorkflowRunner):
    """Runs Workflows with ``runner``, for converters that take no serialization context and store nothing outside."""

    def __init__(self, runner: WorkflowRunner) -> None:
        self._runner = runner

    def prepare_workflow(self, defn: Any) -> None:
        """Validate the Workflow in the sandbox."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance in the sandbox, asked for activations only."""
        return _ContextFreeInstance(self._runner.create_instance(det))

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        """Hand the types on to the sandbox."""
        self._runner.set_worker_level_failure_exception_types(types)


class _ContextFreeInstance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance) -> None:
        self._instance = instance

    def activate(self, act: Any) -> Any:
        return self._instance.activate(act)

    def get_serialization_context(self, command_info: Any) -> None:
        return None

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        return StorageDriverStoreContext(target=None)

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()

    def get_info(self) -> Any:
        return self._instance.get_info()
