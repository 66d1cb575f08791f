"""Glue, EMR Serverless and EMR over HTTP, as far as runners use them: they really execute what is shipped.

Requests come through boto3, which checks them by botocore's models; here lengths and patterns are checked besides, and
every answer by the same models. Jobs are processes that have the shipped packages and nothing else.
"""

import gzip
import json
import re
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import botocore.session
import obstore
from botocore.validate import ParamValidator

from datalake_assets.lake.store.landing import open_store

GLUE_JOB, APPLICATION, CLUSTER = "lake-steps", "00fake1", "j-FAKE"
ROLE = "arn:aws:iam::123456789012:role/lake"
_SERVICES = {"AWSGlue": "glue", "ElasticMapReduce": "emr", "Logs_20140328": "logs"}
_RUNNING, _DONE, _FAILED, _STOPPED, _WAITING = "running", "done", "failed", "stopped", "waiting"
WORDS = {
    "glue": dict(
        zip((_WAITING, _RUNNING, _DONE, _FAILED, _STOPPED), "WAITING RUNNING SUCCEEDED FAILED STOPPED".split())
    ),
    "emr-serverless": dict(
        zip((_WAITING, _RUNNING, _DONE, _FAILED, _STOPPED), "QUEUED RUNNING SUCCESS FAILED CANCELLED".split())
    ),
    "emr": dict(
        zip((_WAITING, _RUNNING, _DONE, _FAILED, _STOPPED), "PENDING RUNNING COMPLETED FAILED CANCELLED".split())
    ),
}


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
        return WORDS[self.service][state]

    @property
    def log(self) -> str:
        file = self.folder / "stderr"
        return file.read_text() if file.exists() else ""

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)


@dataclass
class FakeAws:
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
    _lock: RLock = field(default_factory=RLock)

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

    def answer(self, service: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.calls.append((operation, request))
            model = botocore.session.get_session().get_service_model(service).operation_model(operation)
            _check_limits(request, model.input_shape, operation)
            if self.faults.get(operation):
                raise self.faults[operation].pop(0)
            method = re.sub(r"(?<!^)(?=[A-Z])", "_", f"{service}{operation}".replace("-", "")).lower()
            found: dict[str, Any] = getattr(self, f"_{method}")(request)
            faults = ParamValidator().validate(found, model.output_shape)
            assert not faults.has_errors(), faults.generate_report()
            if operation in self.lost_answers:
                self.lost_answers.remove(operation)
                raise Refused("InternalServerException", "the answer was lost", 500)
            return found

    # --- jobs -------------------------------------------------------------------------------------

    def _begin(
        self, service: str, id_: str, request: dict[str, Any], entry: str, arguments: list[str], path: str
    ) -> Job:
        folder = self.folder / id_
        folder.mkdir(parents=True)
        (folder / "environment").symlink_to(self.packages)
        job = self.jobs[id_] = Job(id_, service, request, folder, time.time())
        (folder / "entry.py").write_bytes(_object(entry))
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

    def _stop(self, id_: str) -> None:
        job = self.jobs[id_]
        job.stopped = True
        job.kill()

    def end(self) -> None:
        for job in self.jobs.values():
            job.kill()

    # --- Glue -------------------------------------------------------------------------------------

    def _glue_start_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        arguments = request["Arguments"]
        wheel = arguments["--additional-python-modules"].split(",")[0]
        assert _object(wheel), wheel
        command = [part for pair in arguments.items() for part in pair]  # Glue hands all of them to the script
        id_ = f"jr_{uuid.uuid4().hex}"
        self._begin("glue", id_, request, f"{wheel.rpartition('/')[0]}/entry.py", command, "environment")
        return {"JobRunId": id_}

    def _glue_get_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"JobRun": self._glue_run(self._job(request["RunId"], "EntityNotFoundException"))}

    def _glue_get_job_runs(self, _: dict[str, Any]) -> dict[str, Any]:
        newest = sorted(self.jobs.values(), key=lambda job: -job.begun)
        return {"JobRuns": [self._glue_run(job) for job in newest]}

    def _glue_run(self, job: Job) -> dict[str, Any]:
        run = {"Id": job.id, "JobName": GLUE_JOB, "JobRunState": job.state, "Arguments": job.request["Arguments"]}
        run |= {
            "ExecutionTime": 60,
            "MaxCapacity": float(job.request["NumberOfWorkers"]),
            "LogGroupName": "/aws-glue/jobs",
        }
        return run | ({"ErrorMessage": job.reason} if job.reason else {})

    def _glue_batch_stop_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        for id_ in request["JobRunIds"]:
            self._stop(id_)
        return {"SuccessfulSubmissions": [{"JobName": GLUE_JOB, "JobRunId": id_} for id_ in request["JobRunIds"]]}

    # --- EMR Serverless ---------------------------------------------------------------------------

    def _emrserverless_start_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        for job in self.jobs.values():
            if job.request["clientToken"] == request["clientToken"]:
                return self._named(job.id)
        driver = request["jobDriver"]["sparkSubmit"]
        settings = dict(part.split("=", 1) for part in shlex.split(driver["sparkSubmitParameters"])[1::2])
        assert settings["spark.archives"].endswith("/environment.tar.gz#environment")
        id_ = uuid.uuid4().hex[:16]
        path = settings["spark.emr-serverless.driverEnv.PYTHONPATH"]
        self._begin("emr-serverless", id_, request, driver["entryPoint"], driver["entryPointArguments"], path)
        return self._named(id_)

    def _named(self, id_: str) -> dict[str, Any]:
        arn = f"arn:aws:emr-serverless:eu-west-1:123456789012:/applications/{APPLICATION}/jobruns/{id_}"
        return {"applicationId": APPLICATION, "jobRunId": id_, "arn": arn}

    def _emrserverless_get_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request["jobRunId"], "ResourceNotFoundException")
        used = {"vCPUHour": 0.25, "memoryGBHour": 1.0, "storageGBHour": 5.0}
        run = {**self._summary(job), "jobDriver": job.request["jobDriver"], "billedResourceUtilization": used}
        run["jobRunId"] = run.pop("id")
        return {"jobRun": run}

    def _summary(self, job: Job) -> dict[str, Any]:
        told = self._named(job.id)
        return {
            "applicationId": APPLICATION,
            "id": job.id,
            "name": job.request["name"],
            "arn": told["arn"],
            "createdBy": ROLE,
            "createdAt": job.begun,
            "updatedAt": job.begun,
            "executionRole": ROLE,
            "state": job.state,
            "stateDetails": job.reason or "details",
            "releaseLabel": "emr-spark-8.1.0",
        }

    def _emrserverless_list_job_runs(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"jobRuns": [self._summary(job) for job in self.jobs.values()]}

    def _emrserverless_cancel_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        self._stop(request["jobRunId"])
        return {"applicationId": APPLICATION, "jobRunId": request["jobRunId"]}

    # --- EMR --------------------------------------------------------------------------------------

    def _emr_add_job_flow_steps(self, request: dict[str, Any]) -> dict[str, Any]:
        (step,) = request["Steps"]
        command = step["HadoopJarStep"]["Args"]
        at = next(n for n, part in enumerate(command) if part.endswith("/entry.py"))
        assert command[0] == "spark-submit"
        assert command[command.index("--archives") + 1].endswith("/environment.tar.gz#environment")
        assert "spark.yarn.appMasterEnv.PYTHONPATH=./environment" in command[:at]
        id_ = f"s-{uuid.uuid4().hex[:12].upper()}"
        self._begin("emr", id_, step, command[at], command[at + 1 :], "environment")
        return {"StepIds": [id_]}

    def _emr_describe_step(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(request["StepId"], "InvalidRequestException")
        status: dict[str, Any] = {"State": job.state, "Timeline": {"StartDateTime": job.begun}}
        if job.state in {"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"}:
            status["Timeline"]["EndDateTime"] = job.begun + 30
            self._put_logs(job)
        if job.reason:
            status["FailureDetails"] = {"Reason": job.reason}
        return {"Step": {"Id": job.id, "Name": job.request["Name"], "Status": status}}

    def _put_logs(self, job: Job) -> None:
        if not job.put_logs and self.has_logs:
            job.put_logs = True
            application = "application_1700000000000_0001"
            submitted = gzip.compress(f"INFO Submitted application {application}\n".encode())
            store = open_store(f"{self.log_place}/{CLUSTER}")
            obstore.put(store, f"steps/{job.id}/stderr.gz", submitted)
            first = f"containers/{application}/container_1700000000000_0001_01_000001"
            obstore.put(store, f"{first}/stderr.gz", gzip.compress(job.log.encode()))

    def _emr_describe_cluster(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"Cluster": {"Id": CLUSTER, "LogUri": f"{self.log_place}/".replace("s3://", "s3n://")}}

    def _emr_list_steps(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"Steps": [{"Id": job.id, "Name": job.request["Name"]} for job in self.jobs.values()]}

    def _emr_cancel_steps(self, request: dict[str, Any]) -> dict[str, Any]:
        for id_ in request["StepIds"]:
            self._stop(id_)
        return {"CancelStepsInfoList": [{"StepId": id_, "Status": "SUBMITTED"} for id_ in request["StepIds"]]}

    # --- CloudWatch -------------------------------------------------------------------------------

    def _logs_get_log_events(self, request: dict[str, Any]) -> dict[str, Any]:
        group, stream = request["logGroupName"], request["logStreamName"]
        known = {("/aws-glue/jobs/error", id_): job for id_, job in self.jobs.items()}
        for id_, job in self.jobs.items():
            known["/aws/emr-serverless", f"applications/{APPLICATION}/jobs/{id_}/SPARK_DRIVER/stderr"] = job
        if not self.has_logs or (group, stream) not in known:
            raise Refused("ResourceNotFoundException", "The specified log stream does not exist.")
        lines = known[group, stream].log.splitlines()[-request["limit"] :]
        return {"events": [{"timestamp": 1, "message": line or " ", "ingestionTime": 1} for line in lines]}

    def _job(self, id_: str, code: str) -> Job:
        if id_ not in self.jobs:
            raise Refused(code, f"there is no {id_}")
        return self.jobs[id_]


@contextmanager
def serving(fake: FakeAws) -> Iterator[FakeAws]:
    """The services at a free port, until the block ends; jobs end with it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
            service, operation, request = self._asked(body)
            try:
                status, headers, told = 200, {}, fake.answer(service, operation, request)
            except Refused as refused:
                status, headers = refused.status, {"x-amzn-errortype": refused.code}
                told = {"__type": refused.code, "message": str(refused)}
            data = json.dumps(told).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

        def _asked(self, body: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
            if target := self.headers.get("X-Amz-Target"):
                prefix, _, operation = target.partition(".")
                return _SERVICES[prefix], operation, body
            _, _, application, *rest = self.path.partition("?")[0].split("/")
            body["applicationId"] = application
            if rest[1:]:
                body["jobRunId"] = rest[1]
                return "emr-serverless", "CancelJobRun" if self.command == "DELETE" else "GetJobRun", body
            return "emr-serverless", "StartJobRun" if self.command == "POST" else "ListJobRuns", body

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.port = server.server_port
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield fake
        finally:
            server.shutdown()
            fake.end()


def _object(uri: str) -> bytes:
    place, _, name = uri.rpartition("/")
    return bytes(obstore.get(open_store(place), name).bytes())


def _check_limits(value: Any, shape: Any, at: str) -> None:
    """What AWS checks and botocore does not: lengths and patterns."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                _check_limits(value[name], member, f"{at}.{name}")
    elif shape.type_name == "list":
        for part in value:
            _check_limits(part, shape.member, at)
    elif shape.type_name == "map":
        for name, part in value.items():
            _check_limits(part, shape.value, f"{at}.{name}")
    elif shape.type_name == "string":
        limits = shape.metadata
        if not limits.get("min", 0) <= len(value) <= limits.get("max", 2**31):
            raise Refused("ValidationException", f"{at} has {len(value)} characters")
        pattern = limits.get("pattern", "")
        if pattern and "\\u" not in pattern and not re.fullmatch(pattern, value):
            raise Refused("ValidationException", f"{at} is {value!r}, not {pattern}")
