"""boto3's clients for the services that run jobs, their region, and the tail of a log in CloudWatch."""

import os
from typing import Any

_TAIL_LINES = 40


def client(service: str) -> Any:
    """A client that tries each call once: starting a job twice is to be decided by who knows how to find the first."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1, "mode": "standard"})
    return boto3.client(service, region_name=region(), config=config)


def region() -> str | None:
    """The region of boto3's own chain, else that of `AWS_REGION`, by which obstore and delta-rs go; None without one.

    Raises `botocore.exceptions.ProfileNotFound`.
    """
    import boto3

    return boto3.Session().region_name or os.environ.get("AWS_REGION") or None


def log_tail(group: str, stream: str) -> list[str]:
    """The last lines of a log stream in CloudWatch; none where there is no such stream (yet)."""
    logs = client("logs")
    try:
        answer = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=_TAIL_LINES, startFromHead=False)
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [line for event in answer["events"] for line in event["message"].splitlines()][-_TAIL_LINES:]


def console(service_client: Any, path: str) -> str:
    """A page of the AWS console in the client's region."""
    name = service_client.meta.region_name
    domain = "console.amazonaws.cn" if name.startswith("cn-") else "console.aws.amazon.com"
    return f"https://{name}.{domain}/{path.format(region=name)}"
