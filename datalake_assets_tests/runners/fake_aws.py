"""Glue, EMR Serverless, EMR and CloudWatch's logs as far as runners use them; they really execute what is shipped.

Requests come through boto3, which checks them by botocore's models; here lengths and patterns are checked besides, and
every answer by the same models.
"""

import gzip
import re
import shlex
import uuid
from typing import Any

import botocore.session
import obstore
from botocore.validate import ParamValidator

from datalake_assets.lake.store.landing import open_store
from datalake_assets_tests.runners.aws_limits import check_limits
from datalake_assets_tests.runners.fake_jobs import FakeJobs, Job, Refused, object_at

GLUE_JOB, APPLICATION, CLUSTER = "lake-steps", "00fake1", "j-FAKE"
ROLE = "arn:aws:iam::123456789012:role/lake"


class FakeAws(FakeJobs):
    """The services: each operation of AWS' is a method that takes its parameters and gives its answer."""

    def answer(self, service: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.calls.append((operation, request))
            model = botocore.session.get_session().get_service_model(service).operation_model(operation)
            check_limits(request, model.input_shape, operation)
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

    # --- Glue -------------------------------------------------------------------------------------

    def _glue_start_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        arguments = request["Arguments"]
        wheel = arguments["--additional-python-modules"].split(",")[0]
        assert object_at(wheel), wheel
        command = [part for pair in arguments.items() for part in pair]  # Glue hands all of them to the script
        id_ = f"jr_{uuid.uuid4().hex}"
        entry = f"{wheel.rpartition('/')[0]}/entry.py"
        self.begin("glue", id_, request, entry=entry, arguments=command, path="environment")
        return {"JobRunId": id_}

    def _glue_get_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"JobRun": self._glue_run(self.job(request["RunId"], "EntityNotFoundException"))}

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
            self.stop(id_)
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
        entry, arguments = driver["entryPoint"], driver["entryPointArguments"]
        self.begin("emr-serverless", id_, request, entry=entry, arguments=arguments, path=path)
        return self._named(id_)

    def _named(self, id_: str) -> dict[str, Any]:
        arn = f"arn:aws:emr-serverless:eu-west-1:123456789012:/applications/{APPLICATION}/jobruns/{id_}"
        return {"applicationId": APPLICATION, "jobRunId": id_, "arn": arn}

    def _emrserverless_get_job_run(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self.job(request["jobRunId"], "ResourceNotFoundException")
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
        self.stop(request["jobRunId"])
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
        self.begin("emr", id_, step, entry=command[at], arguments=command[at + 1 :], path="environment")
        return {"StepIds": [id_]}

    def _emr_describe_step(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self.job(request["StepId"], "InvalidRequestException")
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
            self.stop(id_)
        return {"CancelStepsInfoList": [{"StepId": id_, "Status": "SUBMITTED"} for id_ in request["StepIds"]]}

    # --- CloudWatch -------------------------------------------------------------------------------

    def _logs_get_log_events(self, request: dict[str, Any]) -> dict[str, Any]:
        group, stream = request["logGroupName"], request["logStreamName"]
        known = {("/aws-glue/jobs/error", id_): job for id_, job in self.jobs.items()}
        for id_, job in self.jobs.items():
            of_application = f"/aws/emr-serverless/{APPLICATION}"
            known[of_application, f"applications/{APPLICATION}/jobs/{id_}/SPARK_DRIVER/stderr"] = job
        if not self.has_logs or (group, stream) not in known:
            raise Refused("ResourceNotFoundException", "The specified log stream does not exist.")
        lines = known[group, stream].log.splitlines()[-request["limit"] :]
        return {"events": [{"timestamp": 1, "message": line or " ", "ingestionTime": 1} for line in lines]}
