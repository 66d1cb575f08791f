"""Pipes over a place of an object store: the context that a job reads there, and the messages that it leaves.

Belongs here: Dagster's side of what `remote.py` reads and writes. dagster-aws' own reader serves one call only, puts
messages at the bucket's root and leaves them there; this one reads the messages of one job under one place.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import dagster as dg
import obstore
from dagster import PipesContextInjector, PipesMessageReader
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesContextData, PipesException, PipesParams

from datalake_assets.lake.steps.messages import StepReport
from datalake_assets.lake.store.landing import open_store
from datalake_assets.remote import CONTEXT_KEY, PLACE, SECONDS, message_key

_STACK_SHOWN = 6  # frames of the traceback's tail


class PlaceContextInjector(PipesContextInjector):
    """Puts the context at a place, where a job finds it that is told of the place."""

    def __init__(self, place: str) -> None:
        self._place = place

    @contextmanager
    def inject_context(self, context_data: PipesContextData) -> Iterator[PipesParams]:
        """Put the context; raises what obstore raises."""
        obstore.put(open_store(self._place), CONTEXT_KEY, json.dumps(context_data).encode())
        yield {PLACE: self._place}

    def no_messages_debug_text(self) -> str:
        """Where the context lies."""
        return f"The context was put at {self._place}/{CONTEXT_KEY}."


class PlaceMessageReader(PipesMessageReader):
    """Reads the messages of one job at a place, while it runs and once more when it has ended.

    `exception` is what the job closed with, None where it closed well or not at all; `fault` is why the last messages
    could not be read.
    """

    def __init__(self, place: str, *, seconds: float) -> None:
        self.exception: PipesException | None = None
        self.fault: Exception | None = None
        self._place, self._seconds = place, seconds
        self._store = open_store(place)
        self._number = 1

    @property
    def expected_writer_count(self) -> int:
        """One: a step is one job (Dagster's own says so too, with a warning that it is in preview)."""
        return 1

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[PipesParams]:
        """Hand messages over as they come; the last ones when the block ends."""
        ended = Event()
        thread = Thread(target=self._read_until, args=(handler, ended), daemon=True)
        thread.start()
        try:
            yield {PLACE: self._place, SECONDS: self._seconds}
        finally:
            ended.set()
            thread.join()
            try:
                self._read(handler)
            except Exception as error:  # noqa: BLE001 (must not hide that the run was cancelled, say)
                self.fault = error

    def no_messages_debug_text(self) -> str:
        """Where messages were looked for."""
        return f"Messages were looked for at {self._place}/messages/."

    def _read_until(self, handler: Any, ended: Event) -> None:
        while not ended.wait(self._seconds):
            try:
                self._read(handler)
            except Exception as error:  # noqa: BLE001 (a fault of the network is met again at the end, if it lasts)
                dg.get_dagster_logger().warning("messages can't be read now, tried again: %s", error)

    def _read(self, handler: Any) -> None:
        while True:
            try:
                chunk = bytes(obstore.get(self._store, message_key(self._number)).bytes())
            except FileNotFoundError:
                return
            self._number += 1
            for line in chunk.splitlines():
                message = json.loads(line)
                if PIPES_PROTOCOL_VERSION_FIELD in message:
                    if message["method"] == "closed":
                        self.exception = (message["params"] or {}).get("exception")
                    handler.handle_message(message)


def report_in(messages: Any, place: str) -> StepReport | None:
    """The report among a job's custom messages, wherever it lies; None where the job sent none.

    Raises what obstore raises, and `pydantic.ValidationError` where the job's code is not the one that asks.
    """
    for message in messages:
        if "report" in message:
            return StepReport.model_validate(message["report"])
        if "report_at" in message:
            text = bytes(obstore.get(open_store(place), message["report_at"]).bytes())
            return StepReport.model_validate_json(text)
    return None


def told(exception: PipesException) -> str:
    """What a job closed with, as a person reads it: the tail of the traceback, then the error."""
    stack = "".join(exception["stack"][-_STACK_SHOWN:]).rstrip()
    return f"{stack}\n{exception['message'].strip()}".strip()


def clear(place: str) -> None:
    """Delete all that lies under a place."""
    store = open_store(place)
    for batch in obstore.list(store):
        obstore.delete(store, [meta["path"] for meta in batch])
