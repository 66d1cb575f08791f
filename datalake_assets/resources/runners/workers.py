"""How many workers a remote job gets, by the bytes that its step is to read."""

from dataclasses import dataclass
from math import ceil

BYTES_PER_WORKER = 1024**3


@dataclass(frozen=True, slots=True)
class Workers:
    """The bounds of a job's workers, its driver among them."""

    least: int = 2
    most: int = 20

    def of(self, waiting_bytes: int) -> int:
        """One worker for the driver and one for each started GiB of what waits, within the bounds.

        A GiB of landed bytes, gzipped JSON as a rule, is some 8 GiB of text: what a worker of 4 vCPU and 16 GB (Glue's
        G.1X, EMR Serverless' default) reads in a few minutes.
        """
        return min(max(1 + ceil(waiting_bytes / BYTES_PER_WORKER), self.least), self.most)
