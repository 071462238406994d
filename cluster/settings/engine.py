"""How an engine computes: its device, its arithmetic and its threads."""

from typing import Literal

from pydantic import Field

from cluster.settings.values import Concern


class EngineSettings(Concern):
    """How an engine computes: its device, its arithmetic and its threads."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the models run on. ``auto`` takes a GPU where the process sees one, else the CPU."""

    precision: Literal["auto", "float32", "bfloat16", "int8"] = "float32"
    """Arithmetic of the encoder. ``auto`` takes bfloat16 on a GPU; on a CPU it takes bfloat16 only where that
    was timed as faster than float32. ``int8`` is for CPUs; it is refused until its recall was measured, and
    where it is not faster than float32."""

    int8_least_recall: float = Field(default=0.95, ge=0, le=1)
    """Lowest recall@10 with which ``int8`` is accepted, as ``python -m cluster.engines.int8_gate``
    measured it."""

    engine_threads: int = Field(default=0, ge=0)
    """CPU threads of one engine. 0: ``cpus_per_replica`` in a replica where that is set, else as many as the
    process may use."""

    gpus_per_engine_process: float | None = Field(default=None, ge=0)
    """GPUs, or the share of one, that each replica and each engine of a bulk job asks Ray for, whatever
    ``device`` is. Unset: 1 where Ray has GPUs and ``device`` is not ``cpu``, else none."""

    def gpu_share(self, gpus: float) -> float:
        """Return the GPUs, or the share of one, that a process with engines asks Ray for.

        Args:
            gpus: number of GPUs in the Ray cluster.
        """
        if self.gpus_per_engine_process is not None:
            return self.gpus_per_engine_process
        return 1.0 if gpus and self.device != "cpu" else 0.0
