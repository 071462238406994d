"""infinity 0.0.78: its environment, which is made when it is first needed, and its command line.

python -m benchmarks.peers.infinity       # make the environment, and print the path of the program
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PINS = HERE / "infinity.txt"
#: Ignored by git.
ENVIRONMENT = HERE.parent / ".cache" / "infinity"
VARIABLES = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
#: Batch size 32 is its default. It does not warm up itself, because the benchmark warms up all parties alike.
OPTIONS = (
    "--engine torch --device cpu --dtype float32 --batch-size 32 "
    "--no-model-warmup --no-bettertransformer --url-prefix /v1"
)


def installed() -> Path:
    """The path of the program. The first call takes some minutes and 1.5 GB."""
    done = ENVIRONMENT / PINS.name
    if not done.exists() or done.read_text() != PINS.read_text():
        python = ENVIRONMENT / "bin" / "python"
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        print(f"making {ENVIRONMENT} for infinity: some minutes, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        print(
            "  torch", file=sys.stderr
        )  # first, so that pip takes the build without CUDA where one is offered
        subprocess.run(
            [*pip, *(line for line in PINS.read_text().splitlines() if line.startswith("torch"))], check=True
        )
        print("  infinity and its dependencies", file=sys.stderr)
        subprocess.run([*pip, "--requirement", str(PINS)], check=True)
        done.write_text(PINS.read_text())
    return ENVIRONMENT / "bin" / "infinity_emb"


def command(port: int, *, weights: Path, name: str) -> list[str]:
    """The command that serves these weights under this name at this port."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [
        str(installed()),
        "v2",
        "--model-id",
        str(weights),
        "--served-model-name",
        name,
        *OPTIONS.split(),
        *address,
    ]


if __name__ == "__main__":
    print(installed())
