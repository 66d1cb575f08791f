"""Steps in a job of a service: started, watched, listened to, and stopped when nobody waits for it any more.

Belongs here: what is the same on Glue, EMR Serverless and EMR. Dagster's own clients for them lose messages, wait for
ever, or leave jobs running; this one is built on `open_pipes_session` alone.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import dagster as dg

from datalake_assets.lake.lake import Lake
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.steps.sizes import step_bytes
from datalake_assets.remote import Payload
from datalake_assets.resources.runners.job_memory import Attempt, JobMemory
from datalake_assets.resources.runners.jobs import JobCall, JobService, JobState, RemoteJobError
from datalake_assets.resources.runners.patience import Outage, Patience, is_busy, is_passing
from datalake_assets.resources.runners.pipes_place import PlaceContextInjector, PlaceMessageReader, report_in, told
from datalake_assets.resources.runners.workers import Workers

_STOP_TRIES = 5
_STOP_SECONDS = 2.0


@dataclass(frozen=True)
class RemoteRunner:
    """Runs steps as jobs of a service.

    `pipes` is the place (`s3://bucket/prefix`) under which context and messages lie while a job runs. `engine` is what
    the job computes with.
    """

    service: JobService
    pipes: str
    engine: Literal["spark", "polars"] = "spark"
    patience: Patience = field(default_factory=Patience)
    workers: Workers = field(default_factory=Workers)

    def run(self, request: StepRequest, *, lake: Lake, context: dg.AssetExecutionContext | None) -> StepReport:
        """Run one step in a job and give its report.

        A job that an earlier worker of the same step left running, or that has done its work since, is taken up again.
        Whatever is raised here, a cancelled run among it, the job is told to stop. Raises `RemoteJobError` where the
        job fails, takes too long, or ends without a report; what AWS raises where the job can't be started or seen.
        """
        if context is None:
            raise RemoteJobError(f"{self.service.name} runs steps of a Dagster run only, and this one is of none")
        memory = JobMemory.of(self.pipes, self.service.name, request, context)
        attempt = self._left_running(memory, context) or memory.begin()
        watch = _Watch(self, context, memory, attempt)
        reader = PlaceMessageReader(attempt.place, seconds=min(self.patience.poll, 2.0))
        injector = PlaceContextInjector(attempt.place)
        extras = Payload.of(request, lake, engine=self.engine).to_extras()
        settled = False
        try:
            # Pipes asks the context of an asset for what Dagster has deprecated there; that of its op is no different.
            with dg.open_pipes_session(context.op_execution_context, injector, reader, extras=extras) as session:
                arguments = [part for pair in session.get_bootstrap_cli_arguments().items() for part in pair]
                state = watch.to_the_end(
                    JobCall(
                        token=attempt.token,
                        title=f"{request.zone}/{request.name}",
                        arguments=tuple(arguments),
                        workers=self.workers.of(step_bytes(request, lake, now=datetime.now(UTC))),
                        timeout_seconds=self.patience.job,
                    )
                )
            settled = True
            report = report_in(session.get_custom_messages(), attempt.place) if state.succeeded else None
            return self._done(report, request, watch.job, state, reader)
        except BaseException:
            settled = settled or watch.stop()
            raise
        finally:
            if settled:
                _forget(memory, context)

    def _done(
        self, report: StepReport | None, request: StepRequest, job: str, state: JobState, reader: PlaceMessageReader
    ) -> StepReport:
        """The report of a job that ended, with what the service tells of it. Raises `RemoteJobError` without one."""
        if report is None:
            raise self._failure(request, job, state, reader)
        return report.model_copy(update={"job": job, "job_link": self.service.link(job), "cost": dict(state.cost)})

    def _left_running(self, memory: JobMemory, context: dg.AssetExecutionContext) -> Attempt | None:
        """The job that somebody noted for this step and that has not failed; None where a new one is to be started."""
        attempt = memory.recall()
        if attempt is None:
            return None
        job = attempt.job or self.service.find(attempt.token)
        if job is None:  # it was about to be started; under the same token, should the service know it after all
            return attempt
        state = self.service.state(job)
        if state.ended and not state.succeeded:
            return None
        context.log.info("%s job %s is taken up again; it is %s", self.service.name, job, state.word)
        return memory.started(attempt, job)

    def _failure(self, request: StepRequest, job: str, state: JobState, reader: PlaceMessageReader) -> RemoteJobError:
        what = f"{request.zone}/{request.name}: {self.service.name} job {job}"
        lines = [f"{what} ended {state.word}{f': {state.reason}' if state.reason else ''}"]
        kind = ""
        if state.succeeded:
            lost = "its report did not arrive: what it wrote is in the tables, what it found is not known here"
            lines = [f"{what} ended {state.word}, but {lost}. Run the step again; the job must be able to write to "]
            lines[0] += self.pipes
        if reader.fault:
            lines.append(f"its messages could not be read: {reader.fault}")
        if reader.exception:
            kind = reader.exception["name"] or ""
            lines.append(told(reader.exception))
        try:
            tail = self.service.log_tail(job)
        except Exception as error:  # noqa: BLE001 (the log is a help, and its absence no failure of its own)
            tail = [f"(it can't be read: {error})"]
        lines.extend(["The end of the driver's log:", *tail] if tail else ["The driver's log is not there (yet)."])
        return RemoteJobError("\n".join([*lines, self.service.link(job)]), kind=kind)


class _Watch:
    """One job from its start to its end."""

    def __init__(
        self, runner: RemoteRunner, context: dg.AssetExecutionContext, memory: JobMemory, attempt: Attempt
    ) -> None:
        self.job = attempt.job or ""
        self._service, self._patience = runner.service, runner.patience
        self._context, self._memory, self._attempt = context, memory, attempt
        self._asked = bool(attempt.job)

    def to_the_end(self, call: JobCall) -> JobState:
        """Start the job, unless it runs already, and wait until it has ended."""
        if not self.job:
            self.job = self._start(call)
            self._memory.started(self._attempt, self.job)
        self._context.log.info("%s job %s: %s", self._service.name, self.job, self._service.link(self.job))
        outage, word = Outage(self._patience.api), ""
        for wait in self._patience.waits():
            try:
                state = self._service.state(self.job)
            except Exception as error:  # noqa: BLE001 (credentials are renewed, networks come back: borne for a while)
                outage.bear(error)
                self._context.log.warning("%s can't be asked now: %s", self._service.name, error)
            else:
                outage.over()
                if state.word != word:
                    self._context.log.info("%s job %s is %s", self._service.name, self.job, state.word)
                    word = state.word
                if state.ended:
                    return state
            if (datetime.now(UTC) - self._attempt.begun_at).total_seconds() > self._patience.job:
                raise RemoteJobError(
                    f"{call.title}: {self._service.name} job {self.job} took longer than {self._patience.job:,.0f} s "
                    f"(DATALAKE_JOB_SECONDS) and is stopped: {self._service.link(self.job)}"
                )
            time.sleep(wait)
        raise AssertionError  # waits have no end

    def _start(self, call: JobCall) -> str:
        outage, begin = Outage(self._patience.api), time.monotonic()
        for wait in self._patience.waits():
            try:
                if self._asked and (found := self._service.find(call.token)):
                    return found  # the call that seemed to fail had reached the service
                self._asked = True
                return self._service.start(call)
            except Exception as error:
                if is_busy(error):
                    if time.monotonic() - begin > self._patience.start:
                        raise
                    outage.over()
                    self._asked = False
                    self._context.log.info("%s has no room for the job yet: %s", self._service.name, error)
                elif is_passing(error):
                    outage.bear(error)
                    self._context.log.warning("%s can't start the job now: %s", self._service.name, error)
                else:
                    self._asked = False
                    raise
            time.sleep(wait)
        raise AssertionError  # waits have no end

    def stop(self) -> bool:
        """Tell the job to stop, where there may be one; returns whether none is left running, as far as can be told."""
        for attempt in range(_STOP_TRIES):
            try:
                if not self.job and self._asked:
                    self.job = self._service.find(self._attempt.token) or ""
                if self.job:
                    self._service.stop(self.job)
                    self._context.log.info("%s job %s is told to stop", self._service.name, self.job)
            except Exception as error:  # noqa: BLE001 (another error is on its way, and this one must not hide it)
                self._context.log.warning(
                    "%s job %s can't be stopped: %s", self._service.name, self.job or self._attempt.token, error
                )
                time.sleep(min(_STOP_SECONDS, self._patience.poll) * attempt)
            else:
                return True
        return False


def _forget(memory: JobMemory, context: dg.AssetExecutionContext) -> None:
    try:
        memory.forget()
    except Exception as error:  # noqa: BLE001 (what is left is small, and expires with the bucket's lifecycle)
        context.log.warning("what was sent between run and job can't be deleted: %s", error)
