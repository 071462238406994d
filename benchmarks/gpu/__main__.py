"""Check every path of the engine on a GPU, and measure its speed, in less than eight minutes.

    python -m benchmarks.gpu.prepare             # on a machine with a network
    python -m benchmarks.gpu --out results       # on the GPU machine, which needs no network
    python -m benchmarks.gpu --rehearse          # without a GPU: tiny sizes on the CPU

The GPU machine needs Linux and Python with torch 2.11 or later, transformers, sentence-transformers and rich.
Each step is a process of its own with a limit of time, so an error of one step costs no other step. Every
result is written to ``rows.jsonl`` at once. The tables are printed at the end, and the exit status is 1 if a
check of the correctness or a part of a step failed.
"""

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

#: The steps, and the seconds that each may take.
STEPS = {
    "card": 45,
    "correctness": 75,
    "faults": 60,
    "rates": 120,
    "from_text": 90,
    "queries": 75,
    "variants": 110,
}
MOST_S = 460
CACHE = Path(__file__).parents[1] / ".cache" / "gpu"


def main() -> int:
    """Run the steps, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=CACHE / "results", help="folder for the results")
    parser.add_argument(
        "--steps", nargs="+", choices=STEPS, default=list(STEPS), help="steps to run (default: all)"
    )
    parser.add_argument("--rehearse", action="store_true", help="run tiny sizes on the CPU")
    parser.add_argument(
        "--seconds", type=float, default=MOST_S, help="limit for all steps (default: %(default)s)"
    )
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = options.out / "rows.jsonl"
    if options.in_this_process:
        (name,) = options.steps
        _run_here(name, rows, rehearsal=options.rehearse)
        return 0
    rows.write_text("")
    with tempfile.TemporaryDirectory(prefix="ec-gpu-") as models:
        environment = _environment(models)
        ends = time.monotonic() + options.seconds
        for name in options.steps:
            _run_step(name, options, environment, rows, ends)
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    _print(found)
    return 1 if any(row["table"] == "errors" or row.get("holds") is False for row in found) else 0


def _environment(models: str) -> dict[str, str]:
    """Return the variables of the steps. If ``prepare`` made a folder, they use its model and its wheels."""
    paths = [str(Path(__file__).parents[2])]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "GPU_BENCHMARK_MODELS": models,
    }
    if sys.version_info[:2] == (3, 12) and (CACHE / "wheels").is_dir():
        site = Path(models) / "site"
        wheels = [str(wheel) for wheel in (CACHE / "wheels").glob("*.whl")]
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        subprocess.run([*install, f"--target={site}", *wheels], check=True)
        paths.append(str(site))
    if (CACHE / "model").is_dir():
        environment["CLUSTER_MODEL_PATH"] = str(CACHE / "model")
    environment["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    return environment


def _run_step(
    name: str, options: argparse.Namespace, environment: dict[str, str], rows: Path, ends: float
) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--in-this-process", "--steps", name]
    command += ["--out", str(options.out), *(["--rehearse"] if options.rehearse else [])]
    left = min(options.seconds if options.rehearse else STEPS[name], ends - time.monotonic())
    started = time.monotonic()
    error = None
    if left < 5:
        error = "no time was left"
    else:
        child = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            status = child.wait(left)
            error = f"ended with status {status}" if status else None
        except subprocess.TimeoutExpired:
            error = f"stopped after {left:.0f} s"
        finally:  # its own processes, too, which would keep the card busy
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if error is not None:
        with rows.open("a") as file:
            file.write(
                json.dumps({"step": name, "table": "errors", "part": "the step", "error": error}) + "\n"
            )
    print(
        f"step {name}: {time.monotonic() - started:.1f} s{'' if error is None else ', ' + error}", flush=True
    )


def _run_here(name: str, rows: Path, *, rehearsal: bool) -> None:
    from benchmarks.gpu.step import Step
    from cluster.logs import configure
    from cluster.settings import Settings

    configure(Settings(log_level="WARNING"), process="benchmark")
    importlib.import_module(f"benchmarks.gpu.{name}").run(Step(name=name, rows=rows, rehearsal=rehearsal))


def _print(rows: list[dict[str, object]]) -> None:
    """Print each table with the columns of its rows."""
    tables: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        tables.setdefault(str(row["table"]), []).append(row)
    console = Console(width=160)
    for title, of_table in tables.items():
        columns = list(dict.fromkeys(key for row in of_table for key in row if key not in {"step", "table"}))
        table = Table(title=title, title_justify="left", box=box.MARKDOWN)
        for column in columns:
            table.add_column(column.replace("_", " "))
        for row in of_table:
            table.add_row(*(str(row.get(column, "")) for column in columns))
        console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
