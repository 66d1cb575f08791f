"""What lies in a local bronze zone."""

import gzip
import hashlib
from pathlib import Path


def landed_lines(bronze: Path) -> list[bytes]:
    """The lines of all objects."""
    files = sorted(file for file in bronze.rglob("*") if file.is_file())
    texts = [gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files]
    return [line for text in texts for line in text.splitlines()]


def landed_ids(bronze: Path) -> set[str]:
    """The ids by which the records of all objects were acknowledged."""
    return {hashlib.sha256(line).hexdigest() for line in landed_lines(bronze)}
