"""The Spark session in which the lake computes, on a laptop or on a cluster.

No jars are needed, neither Delta's nor Hadoop's for S3: tasks read and write with the lake's own store.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ANYWHERE = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(64 * 1024**2),
    # Spark takes what a task makes for as small as what the task was told, a few numbers, and would send gigabytes to
    # every worker: which side of a join is small is seen when it is there.
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.adaptive.autoBroadcastJoinThreshold": "10MB",
    # Files as large as they should be, not as many as there are cores.
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    # What a step kept goes when nobody asks for it any more, which Spark sees when the JVM collects: every half hour.
    "spark.cleaner.periodicGC.interval": "2min",
    # Rejects come to the driver whole, however many they are.
    "spark.driver.maxResultSize": "0",
}
SPARK_LOCAL = {
    "spark.master": "local[*]",
    "spark.app.name": "datalake_assets",
    "spark.driver.memory": "2g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""Settings of a session that has this machine alone."""


def spark_session(settings: Mapping[str, str] | None = None) -> "SparkSession":
    """The process's Spark session, made when there is none; raises what Spark raises where it can't be started.

    `settings` are Spark's, such as `SPARK_LOCAL`; a platform that starts the process with its own needs none. Workers
    of a local session run in this Python.
    """
    from pyspark.sql import SparkSession

    wanted = {**_ANYWHERE, **(settings or {})}
    if wanted.get("spark.master", "").startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    builder = SparkSession.builder
    for name, value in wanted.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    if main:
        signal.signal(signal.SIGINT, handler)  # Spark puts its own in the place of whoever's process this is
    for name, value in wanted.items():
        if name.startswith("spark.sql."):  # a session that was there already may be set otherwise
            session.conf.set(name, value)
    return session
