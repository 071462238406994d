"""infinity 0.0.78: its environment, made when it is first needed, and the line that starts it.

python -m benchmarks.peers.infinity       # make the environment and say where it is
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PINS = HERE / "infinity.txt"
#: Ignored by git.
ENVIRONMENT = HERE.parent / ".cache" / "infinity"
VARIABLES = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
#: Batch size 32 is its default; warming up is left to the benchmark, which warms everybody alike.
OPTIONS = "--engine torch --device cpu --dtype float32 --batch-size 32 --no-model-warmup --no-bettertransformer --url-prefix /v1"


def installed() -> Path:
    """The program; some minutes and 1.5 GB the first time."""
    done = ENVIRONMENT / PINS.name
    if not done.exists() or done.read_text() != PINS.read_text():
        python = ENVIRONMENT / "bin" / "python"
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        print(f"making {ENVIRONMENT} for infinity: some minutes, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        print(
            "  torch", file=sys.stderr
        )  # first, so that the build without CUDA is taken where one is offered
        subprocess.run(
            [*pip, *(line for line in PINS.read_text().splitlines() if line.startswith("torch"))], check=True
        )
        print("  infinity and what it needs", file=sys.stderr)
        subprocess.run([*pip, "--requirement", str(PINS)], check=True)
        done.write_text(PINS.read_text())
    return ENVIRONMENT / "bin" / "infinity_emb"


def command(port: int, *, weights: Path, name: str) -> list[str]:
    """What starts it at this port, serving these weights under this name."""
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
