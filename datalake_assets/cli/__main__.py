"""The entry of the `datalake` command: runs it, or says what to install for it.

Belongs here: nothing but that; the lake installs without what the command is made of.
"""

import gc
import sys

_EXTRAS = {
    **dict.fromkeys(("boto3", "dagster", "dagster_aws", "pyarrow", "pydantic_settings", "rich", "typer"), "dagster"),
    "psycopg": "postgres",
}
"""What is not always installed, and the extra of this package that it comes with."""
_OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Python looks for garbage in cycles after every 700 new objects: a fifth of the time that importing Dagster takes."""


def main() -> None:
    """Run the command. Without the extra that it needs it exits with 2 and one line on stderr."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        from datalake_assets.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("stopped by SIGINT; what was committed is whole, and the same command goes on from here\n")
        sys.exit(130)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        extra = _EXTRAS[missing]
        sys.stderr.write(f"datalake: {missing} is not installed; run: pip install 'datalake-assets[{extra}]'\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
