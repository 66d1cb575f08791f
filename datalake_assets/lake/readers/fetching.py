"""Getting the bytes of landed objects before they are asked for: a store answers each request after a while."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from datalake_assets.lake.readers.batch import Load
from datalake_assets.lake.store.landing import LandedObject

Fetched = tuple[LandedObject, Callable[[], bytes]]
"""An object, and what gives its bytes or raises why there are none."""

_REQUESTS = 16
_BYTES = 32 * 1024 * 1024


def fetched(load: Load, objects: Iterable[LandedObject]) -> Generator[Fetched, None, None]:
    """Objects in their order, each with what gives its bytes, or raises what `load` does.

    Up to 16 of 32 MiB in all, or one that is larger, are got beside the one at hand: S3 needs 20 to 100 ms until the
    first byte, whatever comes after it, and takes requests side by side. The threads end when the iterator does, or is
    closed; what they wait for by then is waited for.
    """
    ahead: deque[tuple[LandedObject, Future[bytes]]] = deque()
    size = 0
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="fetch") as pool:
        try:
            for landed in objects:
                while ahead and (len(ahead) == _REQUESTS or size + landed.size > _BYTES):
                    first, bytes_of_first = ahead.popleft()
                    size -= first.size
                    yield first, bytes_of_first.result
                ahead.append((landed, pool.submit(load, landed)))
                size += landed.size
            while ahead:
                first, bytes_of_first = ahead.popleft()
                yield first, bytes_of_first.result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
