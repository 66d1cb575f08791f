"""The entry of the `datalake` command: runs it, or says what to install for it.

Belongs here: nothing but that; the lake installs without what the command is made of.
"""

import sys

_OF_THE_EXTRA = frozenset({"boto3", "dagster", "dagster_aws", "pyarrow", "pydantic_settings", "rich", "typer"})


def main() -> None:
    """Run the command. Without the extra `dagster` it exits with 2 and one line on stderr."""
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
