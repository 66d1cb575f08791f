"""Builds what the Lambdas run: their handlers, the modules that these share, and the contracts of the dataset files.

`python -m shipping.lambdas` writes into `dist/lambdas`, one folder for both: it is the asset of the functions
`infra.lambdas.ingest.handler.handler` and `infra.lambdas.validate.handler.handler`. All of it is the standard library's
and boto3's, which AWS Lambda has; so nothing is installed, and any platform builds it for any other.
"""

import argparse
import json
import shutil
from pathlib import Path

from datalake_assets.gateway.declared import contracts
from datalake_assets.lake.spec.dataset_files import load_datasets

_PROJECT = Path(__file__).parent.parent
_SHARED = ("datalake_assets/__init__.py", "datalake_assets/ingest", "infra/__init__.py", "infra/lambdas")


def main() -> None:
    """Build what the command line asks for, and tell what it holds."""
    parser = argparse.ArgumentParser(prog="python -m shipping.lambdas", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=_PROJECT / "dist" / "lambdas", help="the folder to write to")
    parser.add_argument("--datasets", type=Path, default=_PROJECT / "datalake_assets" / "datasets")
    parser.add_argument("--stream-prefix", default="", help="what the names of streams begin with in the account")
    arguments = parser.parse_args()
    build_lambdas(arguments.out, datasets=arguments.datasets, stream_prefix=arguments.stream_prefix)
    for file in sorted(arguments.out.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size:>13,} bytes  {file}")


def build_lambdas(out: Path, *, datasets: Path, stream_prefix: str = "") -> None:
    """Write the folder of both Lambdas anew; equal input gives equal files, so that CDK deploys only what changed.

    Raises `DatasetError` where a dataset file can't be used.
    """
    told = contracts(load_datasets(datasets), stream_prefix=stream_prefix)
    shutil.rmtree(out, ignore_errors=True)
    for name in _SHARED:
        at = _PROJECT / name
        for file in sorted(at.rglob("*.py")) if at.is_dir() else [at]:
            copy = out / file.relative_to(_PROJECT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    text = json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True)
    (out / "contracts.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
