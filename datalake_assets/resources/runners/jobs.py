"""What a remote runner needs of a service that runs jobs: Glue, EMR Serverless, the steps of an EMR cluster.

Belongs here: the words that all of them share. What each calls its states and parameters is in its own module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class JobCall:
    """A job to start.

    `token` tells this job from all others; starting it twice under one token must not make two. `title` is for people.
    `arguments` is the command line of `remote.py`. `workers` is how many workers it should have, the driver among them.
    `timeout_seconds` is when the service itself should end it.
    """

    token: str
    title: str
    arguments: tuple[str, ...]
    workers: int
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as its service tells of it: the service's word, what that means, why, and what it has cost."""

    word: str
    ended: bool = False
    succeeded: bool = False
    reason: str = ""
    cost: Mapping[str, float] = field(default_factory=dict)


class JobService(Protocol):
    """A service that runs jobs. Its methods raise what botocore raises; callers decide what to make of that."""

    @property
    def name(self) -> str:
        """The runner's name in settings and reports."""

    def start(self, call: JobCall) -> str:
        """Start a job; returns its id."""

    def find(self, token: str) -> str | None:
        """The id of the job that was started under a token, where there is one."""

    def state(self, job: str) -> JobState:
        """How a job is."""

    def stop(self, job: str) -> None:
        """End a job; one that has ended stays as it is."""

    def log_tail(self, job: str) -> list[str]:
        """The last lines of the driver's log; none where the service has none yet."""

    def link(self, job: str) -> str:
        """The job's page in the AWS console."""


class RemoteJobError(Exception):
    """A remote step failed: says which job, how it ended, its error, the tail of its log, and where to look.

    `kind` is the class of the error that the step itself raised; empty where it was not the step that failed.
    """

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind
