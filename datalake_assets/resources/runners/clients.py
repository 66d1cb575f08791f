"""boto3's clients for the services that run jobs, and the tail of a log in CloudWatch."""

from typing import Any

_TAIL_LINES = 40


def client(service: str) -> Any:
    """A client that tries each call once: starting a job twice is to be decided by who knows how to find the first."""
    import boto3
    from botocore.config import Config

    return boto3.client(service, config=Config(retries={"total_max_attempts": 1, "mode": "standard"}))


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
    region = service_client.meta.region_name
    domain = "console.amazonaws.cn" if region.startswith("cn-") else "console.aws.amazon.com"
    return f"https://{region}.{domain}/{path.format(region=region)}"
