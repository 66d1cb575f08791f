"""Builds what remote jobs run: the wheel, the list of what it needs, the entry script, and one archive of all of it.

`python -m shipping` writes into `dist/remote`:

- `datalake_assets-….whl` and `requirements.txt` (the wheel's name, then every package it needs, pinned): what a Glue
  job installs, as `--additional-python-modules`;
- `entry.py`: the script of a Glue job, and the entry point on EMR; `unattended.py`: that of the job without Dagster;
- with `--archive`, `environment.tar.gz`: the wheel and its packages as folders, for Linux on x86-64 and the platform's
  Python, which EMR and EMR Serverless unpack beside the job.

Spark is not among them: the platform has it. Put the folder on S3 and name it in `DATALAKE_CODE`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_PROJECT = Path(__file__).parent.parent
_SCRIPTS = {
    script: f"from datalake_assets.{module} import main\n\nmain()\n"
    for script, module in {"entry.py": "remote", "unattended.py": "unattended"}.items()
}
_TAGS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
_LEFT_OUT = {"__pycache__", "bin"}


def main() -> None:
    """Build what the command line asks for, and tell how large it is."""
    parser = argparse.ArgumentParser(prog="python -m shipping", description="Builds what remote jobs run.")
    parser.add_argument("--out", type=Path, default=_PROJECT / "dist" / "remote", help="the folder to write to")
    parser.add_argument("--python", default="3.13", help="the platform's Python (Glue 6.0: 3.13)")
    parser.add_argument("--archive", action="store_true", help="the archive for EMR and EMR Serverless too")
    arguments = parser.parse_args()
    wheel = build_wheel(arguments.out)
    pins = pinned(wheel, python=arguments.python)
    (arguments.out / "requirements.txt").write_text("\n".join([wheel.name, *pins]) + "\n")
    for script, text in _SCRIPTS.items():
        (arguments.out / script).write_text(text)
    if arguments.archive:
        build_archive(wheel, arguments.out / "environment.tar.gz", python=arguments.python)
    for file in sorted(arguments.out.iterdir()):
        print(f"{file.stat().st_size:>13,} bytes  {file}")


def build_wheel(out: Path) -> Path:
    """The project's wheel, alone in a folder that is made anew."""
    shutil.rmtree(out, ignore_errors=True)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(_PROJECT))
    (wheel,) = out.glob("*.whl")
    return wheel


def pinned(wheel: Path, *, python: str) -> list[str]:
    """Every package that the wheel needs in a remote job, at the version that the project is tested with."""
    told = _pip(
        "install",
        "--dry-run",
        "--target",
        "unused",
        "--ignore-installed",
        "--report",
        "-",
        *_for_platform(wheel, python),
    )
    found = [piece["metadata"] for piece in json.loads(told)["install"]]
    return sorted(f"{m['name']}=={m['version']}" for m in found if m["name"] != "datalake-assets")


def build_archive(wheel: Path, archive: Path, *, python: str) -> None:
    """The wheel and its packages as folders in one archive."""
    with tempfile.TemporaryDirectory() as folder:
        _pip("install", "--no-compile", "--target", folder, *_for_platform(wheel, python))
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            for path in sorted(Path(folder).iterdir()):
                if path.name not in _LEFT_OUT:
                    tar.add(path, arcname=path.name)


def _for_platform(wheel: Path, python: str) -> list[str]:
    platforms = [part for tag in _TAGS for part in ("--platform", f"{tag}_x86_64")]
    platforms += ["--python-version", python, "--implementation", "cp"]
    limits = ["--only-binary", ":all:", "--constraint", str(_PROJECT / "constraints.txt")]
    return [*platforms, *limits, f"{wheel}[remote]"]


def _pip(command: str, *arguments: str) -> str:
    """What pip prints. Ends the program with pip's own words where it fails."""
    quiet = ["--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"pip {command} failed:\n{done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
