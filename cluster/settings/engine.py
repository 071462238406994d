"""How an engine computes: its device, its arithmetic and its threads."""

from typing import Literal

from pydantic import Field

from cluster.settings.values import Concern


class EngineSettings(Concern):
    """How an engine computes: its device, its arithmetic and its threads."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that the models run on. ``auto`` takes a GPU if the process has one, otherwise the CPU."""

    precision: Literal["auto", "float32", "bfloat16", "int8"] = "float32"
    """Number type of the encoder's arithmetic. ``auto`` takes bfloat16 on a GPU; on a CPU it takes bfloat16
    only if bfloat16 was measured to be faster than float32. ``int8`` is for CPUs. ``int8`` is refused until
    its recall was measured, and if ``int8`` is not faster than float32."""

    int8_least_recall: float = Field(default=0.95, ge=0, le=1)
    """Minimum recall@10 with which ``int8`` is accepted. ``python -m cluster.engines.int8_gate`` measures the
    recall."""

    engine_threads: int = Field(default=0, ge=0)
    """Number of CPU threads of one engine. 0: in a replica, ``cpus_per_replica`` if it is set; otherwise one
    thread for each core that the process may use."""

    gpus_per_engine_process: float | None = Field(default=None, ge=0)
    """Number of GPUs, or share of one GPU, that each replica and each engine of a bulk job asks Ray for, even
    if ``device`` is ``cpu``. Unset: 1 if Ray has GPUs and ``device`` is not ``cpu``, otherwise 0."""

    def gpu_share(self, gpus: float) -> float:
        """Return the number of GPUs, or the share of one GPU, that a process with engines asks Ray for.

        Args:
            gpus: number of GPUs in the Ray cluster.
        """
        if self.gpus_per_engine_process is not None:
            return self.gpus_per_engine_process
        return 1.0 if gpus and self.device != "cpu" else 0.0
