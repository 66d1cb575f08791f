"""Bronze without a store: objects given as bytes, or as the exception that reading them raises."""

from collections.abc import Mapping

from datalake_assets.lake.readers.batch import Load
from datalake_assets.lake.store.landing import LandedObject


def loading(objects: Mapping[str, bytes | BaseException]) -> Load:
    """Gives the bytes of objects by their keys, or raises what stands there instead."""

    def load(landed: LandedObject) -> bytes:
        found = objects[landed.key]
        if isinstance(found, BaseException):
            raise found
        return found

    return load
