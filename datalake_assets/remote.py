"""What Glue and EMR execute: one step, reported to Dagster through Pipes.

Belongs here: the job's side of a remote run, and the form of what is sent to it. It needs the lake's own dependencies
and `dagster_pipes`, nothing else: neither Dagster nor boto3. Everything that is told lies under one place of an object
store: the context with the step, the messages, a large report; a job's arguments carry that place alone.
"""

import json
import logging
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from threading import Event, Thread
from typing import Annotated, Any, Literal

import obstore
from dagster_pipes import (
    PipesBlobStoreMessageWriter,
    PipesBlobStoreMessageWriterChannel,
    PipesCliArgsParamsLoader,
    PipesContext,
    PipesContextData,
    PipesContextLoader,
    PipesMessage,
    PipesParams,
    open_dagster_pipes,
)
from obstore.store import ObjectStore
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from datalake_assets.lake.engines.base import Engine
from datalake_assets.lake.engines.polars import PolarsEngine
from datalake_assets.lake.lake import Lake
from datalake_assets.lake.readers.batch import Limits
from datalake_assets.lake.spec.dataset import CdcTable, EventStream
from datalake_assets.lake.steps.execute import execute
from datalake_assets.lake.steps.messages import StepReport, StepRequest
from datalake_assets.lake.store.landing import open_store
from datalake_assets.lake.store.layout import Layout
from datalake_assets.lake.store.store_check import check_stores

PLACE, SECONDS = "place", "seconds"
"""Keys of what a job's arguments tell: where context and messages lie, and how often messages are sent."""

CONTEXT_KEY, PAYLOAD_KEY, REPORT_KEY = "context.json", "datalake", "report.json"
_LARGE_REPORT = 256 * 1024  # bytes; a larger one lies beside the messages
_DEFAULT_SECONDS = 2.0
_NOT_BY_HAND = (
    "datalake_assets.remote executes one step of a Dagster run in a job of Glue, EMR Serverless or EMR; Dagster starts "
    "it there, with arguments (--dagster-pipes-context, --dagster-pipes-messages) that are missing or unreadable here\n"
)


class Payload(BaseModel):
    """All that a step needs to know: what to do, of which lake, within which limits, on which engine."""

    model_config = ConfigDict(frozen=True)

    request: StepRequest
    layout: Layout
    datasets: tuple[SerializeAsAny[Annotated[EventStream | CdcTable, Field(discriminator="kind")]], ...]
    limits: Limits
    engine: Literal["spark", "polars"] = "spark"

    @classmethod
    def of(cls, request: StepRequest, lake: Lake, *, engine: Literal["spark", "polars"]) -> "Payload":
        """What to send for a step of a lake."""
        datasets = tuple(lake.datasets.values())
        return cls(request=request, layout=lake.layout, datasets=datasets, limits=lake.limits, engine=engine)

    @property
    def lake(self) -> Lake:
        """The lake, as it is where the step was asked for."""
        return Lake(layout=self.layout, datasets={d.name: d for d in self.datasets}, limits=self.limits)

    def to_extras(self) -> dict[str, Any]:
        """The payload as Pipes carries it: datasets as they are declared in their files."""
        return {PAYLOAD_KEY: self.model_dump(mode="json", by_alias=True)}

    @classmethod
    def from_extras(cls, extras: dict[str, Any]) -> "Payload":
        """What `to_extras` made. Raises `pydantic.ValidationError` where the code on both sides is not the same."""
        return cls.model_validate(extras[PAYLOAD_KEY])


class StoreContextLoader(PipesContextLoader):
    """Reads the context from the place that the job's arguments name."""

    @contextmanager
    def load_context(self, params: PipesParams) -> Iterator[PipesContextData]:
        """The context data; raises what obstore raises."""
        context: PipesContextData = json.loads(bytes(obstore.get(open_store(params[PLACE]), CONTEXT_KEY).bytes()))
        yield context


class StoreMessageChannel(PipesBlobStoreMessageWriterChannel):
    """Puts messages as numbered objects at a place.

    Dagster's own loop stops at the first upload that fails, and loses what comes after. Here a chunk is tried again,
    as it is, until it is there; and the job fails where its last messages can't be put.
    """

    def __init__(self, store: ObjectStore, *, interval: float) -> None:
        super().__init__(interval=interval)
        self._store = store
        self._chunk = ""

    def upload_messages_chunk(self, payload: StringIO, index: int) -> None:
        """Put one chunk; raises what obstore raises."""
        obstore.put(self._store, message_key(index), payload.read().encode())

    @contextmanager
    def buffered_upload_loop(self) -> Iterator[None]:
        """Send what was written every few seconds, and the rest in the end."""
        closed = Event()
        thread = Thread(target=self._send_until, args=(closed,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            closed.set()
            thread.join()
            self._send()

    def _send_until(self, closed: Event) -> None:
        while not closed.wait(self._interval):
            try:
                self._send()
            except Exception:
                logging.getLogger(__name__).warning("messages can't be put now, tried again later", exc_info=True)

    def _send(self) -> None:
        self._chunk = self._chunk or self._written()
        while self._chunk:
            self.upload_messages_chunk(StringIO(self._chunk), self._counter)
            self._counter += 1
            self._chunk = self._written()

    def _written(self) -> str:
        messages: list[PipesMessage] = list(self.flush_messages())
        return "\n".join(json.dumps(message) for message in messages)


class StoreMessageWriter(PipesBlobStoreMessageWriter[StoreMessageChannel]):
    """Writes messages to the place that the job's arguments name."""

    def make_channel(self, params: PipesParams) -> StoreMessageChannel:
        """The channel to that place."""
        return StoreMessageChannel(open_store(params[PLACE]), interval=params.get(SECONDS, _DEFAULT_SECONDS))


def message_key(number: int) -> str:
    """The name of a chunk of messages, counted from 1."""
    return f"messages/{number:08}.jsonl"


def main() -> None:
    """Execute the step that the job's arguments lead to, and report it.

    Raises what the step raises, after Dagster was told: the platform then sees a failed job. Without Dagster's
    arguments it exits with 2 and one line on stderr.
    """
    params = PipesCliArgsParamsLoader()  # type: ignore[no-untyped-call]
    if not _leads_somewhere(params):
        sys.stderr.write(_NOT_BY_HAND)
        sys.exit(2)
    with (
        open_dagster_pipes(
            context_loader=StoreContextLoader(), message_writer=StoreMessageWriter(), params_loader=params
        ) as pipes,
        _forwarded(pipes.log),
    ):
        payload = Payload.from_extras(dict(pipes.extras))
        check_stores(payload.layout, writes=True)
        with _engine(payload) as engine:
            pipes.log.info("%s/%s on %s", payload.request.zone, payload.request.name, engine.name)
            report = execute(payload.request, lake=payload.lake, engine=engine)
        _send(pipes, report, open_store(params.load_messages_params()[PLACE]))


def _leads_somewhere(params: PipesCliArgsParamsLoader) -> bool:
    """Whether the arguments are those that Dagster gives a job."""
    try:
        with redirect_stderr(StringIO()):  # the parser tells there of what it misses, in several lines
            return params.is_dagster_pipes_process() and all(
                PLACE in told for told in (params.load_context_params(), params.load_messages_params())
            )
    except (ValueError, TypeError, zlib.error, SystemExit):
        return False


def _send(pipes: PipesContext, report: StepReport, store: ObjectStore) -> None:
    text = report.model_dump_json()
    if len(text) > _LARGE_REPORT:
        obstore.put(store, REPORT_KEY, text.encode())
        pipes.report_custom_message({"report_at": REPORT_KEY})
    else:
        pipes.report_custom_message({"report": json.loads(text)})


@contextmanager
def _engine(payload: Payload) -> Iterator[Engine]:
    if payload.engine == "polars":
        yield PolarsEngine()
        return
    from datalake_assets.lake.engines.spark import SparkEngine
    from datalake_assets.lake.engines.spark_session import spark_session

    session = spark_session()
    try:
        yield SparkEngine(session)
    finally:
        session.stop()


@contextmanager
def _forwarded(log: logging.Logger) -> Iterator[None]:
    """What libraries and the lake log, in the log of the Dagster run: from warnings on, of the lake from infos on."""
    ours, root = logging.getLogger("datalake_assets"), logging.getLogger()
    levels = ours.level
    handlers = [_Forward(log, logging.WARNING), *root.handlers]
    ours.setLevel(logging.INFO)
    root.addHandler(handlers[0])
    try:
        yield
    finally:
        root.removeHandler(handlers[0])
        ours.setLevel(levels)


class _Forward(logging.Handler):
    def __init__(self, log: logging.Logger, level: int) -> None:
        super().__init__()
        self._log, self._least = log, level

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= self._least or record.name.startswith("datalake_assets"):
            self._log.log(record.levelno, f"{record.name}: {record.getMessage()}")


if __name__ == "__main__":
    main()
