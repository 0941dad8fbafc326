"""The one place that says how Temporal is used: converter, sandbox and failure types.

The same plugin serves API, worker, replay and tests, so that they cannot drift apart.
"""

from __future__ import annotations

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from adapters.context_free_runner import ContextFreeRunner

OWN_PURE_PACKAGES = ("domain", "activities", "workflows")
"""Passed through the sandbox: re-importing them for every run costs tens of milliseconds.

Inside them the sandbox checks nothing, which is why lint bans clocks, randomness and I/O there.
"""

LIBRARIES_PASSED_THROUGH = ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "structlog")


def sandbox_runner(*own_packages: str) -> SandboxedWorkflowRunner:
    """The Workflow sandbox with ``own_packages`` passed through.

    A module that reaches a Workflow without being named here or there stops the worker at its start.
    """
    restrictions = SandboxRestrictions.default.with_passthrough_modules(
        *own_packages, *LIBRARIES_PASSED_THROUGH
    ).with_import_notification_policy(SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)


def temporal_plugin(runner: WorkflowRunner | None = None) -> SimplePlugin:
    """The plugin for every Client, Worker and Replayer of this project."""
    return SimplePlugin(
        "sluice",
        data_converter=pydantic_data_converter,
        workflow_runner=ContextFreeRunner(runner or sandbox_runner(*OWN_PURE_PACKAGES)),
    )
