"""The entry of the `datalake` command: runs it, or says what to install for it.

Belongs here: nothing but that; the lake installs without what the command is made of.
"""

import gc
import sys

_OF_THE_EXTRA = frozenset({"boto3", "dagster", "dagster_aws", "pyarrow", "pydantic_settings", "rich", "typer"})
_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Python looks for garbage in cycles after every 700 new objects: a fifth of the time that importing Dagster takes."""


def main() -> None:
    """Run the command. Without the extra `dagster` it exits with 2 and one line on stderr."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        from datalake_assets.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("stopped by SIGINT; what was committed is whole, and the same command goes on from here\n")
        sys.exit(130)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OF_THE_EXTRA:
            raise
        sys.stderr.write(f"datalake: {missing} is not installed; run: pip install 'datalake-assets[dagster]'\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
