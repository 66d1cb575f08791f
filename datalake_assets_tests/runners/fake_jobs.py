"""Jobs that emulated services run: processes that have the shipped packages and nothing else."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

import obstore

from datalake_assets.lake.store.landing import open_store

_WORDS = {
    "glue": ("WAITING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED"),
    "emr-serverless": ("QUEUED", "RUNNING", "SUCCESS", "FAILED", "CANCELLED"),
    "emr": ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"),
}
_WAITING, _RUNNING, _DONE, _FAILED, _STOPPED = range(5)


class Refused(Exception):  # noqa: N818 (an answer, not a fault of the fake)
    """An error that the service answers with."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass
class Job:
    """One job: its process, and what was asked for. `word` is a state that a test gave it, in the service's words."""

    id: str
    service: str
    request: dict[str, Any]
    folder: Path
    begun: float
    process: "subprocess.Popen[bytes] | None" = None
    stopped: bool = False
    word: str | None = None
    reason: str = ""
    put_logs: bool = False

    @property
    def state(self) -> str:
        if self.word is not None:
            return self.word
        if self.process is None:
            state = _STOPPED if self.stopped else _WAITING
        elif (code := self.process.poll()) is None:
            state = _RUNNING
        else:
            state = _STOPPED if self.stopped else (_FAILED if code else _DONE)
        return _WORDS[self.service][state]

    @property
    def log(self) -> str:
        file = self.folder / "stderr"
        return file.read_text() if file.exists() else ""

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)


@dataclass
class FakeJobs:
    """The services.

    `faults` are what the next calls of an operation are answered with; what `lost_answers` names is done and answered
    with a fault once. While the services are full (`holds`) jobs wait for their turn. `on_start` sees each new job.
    """

    folder: Path
    python: Path
    environment: dict[str, str]
    packages: Path
    platform: Path | None = None
    port: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: dict[str, list[Refused]] = field(default_factory=dict)
    lost_answers: list[str] = field(default_factory=list)
    on_start: Callable[[Job], None] | None = None
    holds: bool = False
    has_logs: bool = True
    log_place: str = ""
    lock: RLock = field(default_factory=RLock)

    @property
    def endpoints(self) -> dict[str, str]:
        """The variables by which boto3 finds the services, in any process."""
        names = ("GLUE", "EMR_SERVERLESS", "EMR", "CLOUDWATCH_LOGS")
        return {f"AWS_ENDPOINT_URL_{name}": f"http://127.0.0.1:{self.port}" for name in names}

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]

    def the_job(self) -> Job:
        (job,) = self.jobs.values()
        return job

    def begin(
        self, service: str, id_: str, request: dict[str, Any], *, entry: str, arguments: list[str], path: str
    ) -> Job:
        """Start a job from its entry script on S3, with `path` for PYTHONPATH; in its folder lies `environment`."""
        folder = self.folder / id_
        folder.mkdir(parents=True)
        (folder / "environment").symlink_to(self.packages)
        job = self.jobs[id_] = Job(id_, service, request, folder, time.time())
        (folder / "entry.py").write_bytes(object_at(entry))
        (folder / "command.json").write_text(json.dumps([str(self.python), "entry.py", *arguments]))
        (folder / "path").write_text(":".join([path, *([str(self.platform)] if self.platform else [])]))
        if not self.holds:
            self.release(job)
        if self.on_start is not None:
            self.on_start(job)
        return job

    def release(self, job: Job) -> None:
        """Let a job that waits for its turn run."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(job.folder), **self.environment}
        environment |= {"PYTHONPATH": (job.folder / "path").read_text(), "PYSPARK_PYTHON": str(self.python)}
        with (job.folder / "stderr").open("wb") as log:
            job.process = subprocess.Popen(
                json.loads((job.folder / "command.json").read_text()),
                cwd=job.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, id_: str) -> None:
        job = self.jobs[id_]
        job.stopped = True
        job.kill()

    def end(self) -> None:
        for job in self.jobs.values():
            job.kill()

    def job(self, id_: str, code: str) -> Job:
        if id_ not in self.jobs:
            raise Refused(code, f"there is no {id_}")
        return self.jobs[id_]


def object_at(uri: str) -> bytes:
    """The bytes of an object on S3; raises `FileNotFoundError`."""
    place, _, name = uri.rpartition("/")
    return bytes(obstore.get(open_store(place), name).bytes())
