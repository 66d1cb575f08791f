"""Which job a step has started, remembered beside its messages, so that who takes the step up again finds it.

A note is written before the job is started, with the token that it will have, and again with its id. So a worker may
die at any moment: the next one finds the job by its id, else by its token, and starts none while that one runs.
"""

import hashlib
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg
import obstore
from pydantic import TypeAdapter

from datalake_assets.lake.steps.messages import StepRequest
from datalake_assets.lake.store.landing import open_store
from datalake_assets.resources.runners.pipes_place import clear

_NOTE = "job.json"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job of a step: its token, the place of its messages, when it was to be started (UTC), and its id if known."""

    token: str
    place: str
    begun_at: datetime
    job: str | None = None


class JobMemory:
    """What is remembered of the jobs of one step."""

    def __init__(self, place: str) -> None:
        self._place = place

    @classmethod
    def of(cls, pipes: str, runner: str, request: StepRequest, context: dg.AssetExecutionContext) -> "JobMemory":
        """The memory of a step of a run, and of the runs that take this one up again, in a place for all steps."""
        run = context.run.root_run_id or context.run.run_id
        step = context.get_step_execution_context().step.key
        name = hashlib.sha256(f"{run}\n{step}\n{runner}\n{request.model_dump_json()}".encode()).hexdigest()[:32]
        return cls(f"{pipes}/{request.zone}/{request.name}/{name}")

    def recall(self) -> Attempt | None:
        """The job that was noted last; None where none was. Raises what obstore raises."""
        try:
            note = bytes(obstore.get(open_store(self._place), _NOTE).bytes())
        except FileNotFoundError:
            return None
        return TypeAdapter(Attempt).validate_json(note)

    def begin(self) -> Attempt:
        """Note that a job is about to be started, in the place of what was remembered."""
        self.forget()
        token = uuid.uuid4().hex
        return self._note(Attempt(token, f"{self._place}/{token}", datetime.now(UTC)))

    def started(self, attempt: Attempt, job: str) -> Attempt:
        """Note a job's id."""
        return self._note(replace(attempt, job=job))

    def forget(self) -> None:
        """Delete all that is remembered, messages too."""
        clear(self._place)

    def _note(self, attempt: Attempt) -> Attempt:
        obstore.put(open_store(self._place), _NOTE, TypeAdapter(Attempt).dump_json(attempt))
        return attempt
