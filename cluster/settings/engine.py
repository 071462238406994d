"""How an engine computes: device, arithmetic, threads and batch size."""

from typing import Literal

from pydantic import Field

from cluster.settings.values import Concern


class EngineSettings(Concern):
    """How an engine computes: device, arithmetic, threads and batch size."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; auto takes a GPU when the process sees one."""

    precision: Literal["auto", "float32", "bfloat16", "int8"] = "float32"
    """Arithmetic of the encoder. auto takes bfloat16 on a GPU, and on a CPU where it was timed and is faster than float32. int8, on a
    CPU, is refused where it is not faster than float32, and until its recall was measured."""

    int8_least_recall: float = Field(default=0.95, ge=0, le=1)
    """With less recall@10 than this, as ``python -m cluster.engines.bert.int8_gate`` measured it, int8 is refused."""

    engine_threads: int = Field(default=0, ge=0)
    """CPU threads of one engine; 0 means as many as the process may use."""

    bulk_batch_tokens: int = Field(default=16_384, ge=512)
    """Most tokens the encoder takes at once of a bulk job's texts; a CPU takes 2,048 at most. The endpoint's batches: ``replica_batch_tokens``."""

    gpus_per_engine_process: float | None = Field(default=None, ge=0)
    """Share of a GPU that one engine asks Ray for, whatever ``device`` says. Unset: 1 where Ray has GPUs and ``device`` is not cpu."""

    def gpu_share(self, gpus: float) -> float:
        """The share of a GPU one engine asks Ray for, on a cluster with so many of them; 0 for none."""
        if self.gpus_per_engine_process is not None:
            return self.gpus_per_engine_process
        return 1.0 if gpus and self.device != "cpu" else 0.0
