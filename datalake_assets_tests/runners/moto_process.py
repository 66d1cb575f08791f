"""A moto server in a process of its own.

delta-rs holds Python's lock while it waits for some answers: a server in the same process can't give them before the
call has run into its timeout.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from datalake_assets_tests.aws import Aws

_PROGRAM = """
import sys
from datalake_assets_tests.aws import moto_server
with moto_server() as server:
    print(server.endpoint, flush=True)
    sys.stdin.read()
"""


@contextmanager
def moto_process() -> Iterator[Aws]:
    """A server at a free port, until the block ends."""
    command, environment = [sys.executable, "-c", _PROGRAM], {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield Aws(server.stdout.readline().decode().strip())
        server.stdin.close()
