"""Reads a file of golden questions: questions whose right sources are known.

The command ``data_jobs.evaluate_agents`` calls ``read_golden``. A file is JSON lines, CSV, or a list in YAML
or JSON. Each question names its agent and what its sources should contain:

    {"agent": "helper", "question": "Where do swifts sleep?", "file": "birds.pdf"}
    {"agent": "helper", "question": "How long does a swift live?", "sentence": "A swift lives nine years."}
    {"agent": "helper", "question": "Who won the cup?", "nothing": true}
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from cluster.agents.files.agent_rows import AgentRows, Located
from cluster.agents.files.line_rows import read_json_lines
from cluster.agents.files.reading import read_rows
from cluster.agents.files.yaml_rows import WrongFile, read_json, read_yaml
from cluster.described_model import DescribedModel
from cluster.records import digest

#: Maximum size of a file of golden questions in bytes, and maximum number of its questions.
MAX_FILE_BYTES, MAX_QUESTIONS = 16 * 1024 * 1024, 100_000
MAX_TEXT_CHARACTERS = 10_000


class GoldenQuestion(DescribedModel):
    """A question, and what its sources should contain. Exactly one of ``file``, ``sentence`` and ``nothing``
    is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str = Field(min_length=1)
    """Id or external id of the agent."""
    question: str = Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)
    """The question."""
    file: str | None = Field(default=None, min_length=1)
    """Id or name of the file that answers the question."""
    sentence: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT_CHARACTERS)
    """A sentence of the passage that answers the question. Case and white space do not count."""
    nothing: bool = False
    """True if the agent's documents do not answer the question."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: object) -> object:
        if isinstance(given, dict):
            return {name: value for name, value in given.items() if value not in (None, "")}
        return given

    @model_validator(mode="after")
    def _one_expectation(self) -> "GoldenQuestion":
        if [self.file is not None, self.sentence is not None, self.nothing].count(True) != 1:
            raise PydanticCustomError("one_expectation", "must have exactly one of file, sentence, nothing")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenFault:
    """Says what is wrong with one question of a file, or with the whole file."""

    #: Line of the file, from 1; None if it is unknown.
    line: int | None
    message: str

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line:,}: {self.message}"


def read_golden(data: bytes, *, name: str) -> tuple[list[GoldenQuestion], list[GoldenFault]]:
    """Read all questions of a file. Return the correct questions and all faults.

    Args:
        data: the whole file, in UTF-8.
        name: name of the file, whose suffix tells its format.
    """
    try:
        rows = _rows(data, name)
    except WrongFile as exc:
        return [], [GoldenFault(line=exc.line, message=str(exc))]
    faults = [GoldenFault(line=fault.line, message=fault.message) for fault in rows.faults]
    questions: list[GoldenQuestion] = []
    for row in rows.agents:
        try:
            questions.append(GoldenQuestion.model_validate(row.value))
        except ValidationError as exc:
            for error in exc.errors(include_url=False, include_input=False):
                path = ".".join(map(str, error["loc"]))
                message = f"{path}: {error['msg']}" if path else error["msg"]
                faults.append(GoldenFault(line=row.line_of(error["loc"]), message=message))
    if not questions and not faults:
        faults.append(GoldenFault(line=None, message="the file has no question"))
    return questions, faults


def golden_digest(questions: Sequence[GoldenQuestion]) -> str:
    """Return a digest of the questions. Results are compared only if their questions are the same."""
    return digest("golden", *(question.model_dump_json() for question in questions), size=16)


def _rows(data: bytes, name: str) -> AgentRows:
    """Return the rows of the file. The readers of agents' files are used, because they read any objects."""
    rows = read_rows(data, name=name, formats=FORMATS, max_bytes=MAX_FILE_BYTES)
    if len(rows.agents) > MAX_QUESTIONS:
        raise WrongFile(f"the file has {len(rows.agents):,} questions; the limit is {MAX_QUESTIONS:,}")
    return rows


def _read_csv(text: str) -> AgentRows:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[Located] = []
    try:
        for record in reader:
            rows.append(Located(value=record, lines={(): reader.line_num}))
    except csv.Error as exc:
        raise WrongFile(f"the file is not CSV: {exc}", reader.line_num) from exc
    return AgentRows(agents=rows)


FORMATS: Mapping[str, Callable[[str], AgentRows]] = MappingProxyType(
    {".jsonl": read_json_lines, ".csv": _read_csv, ".yaml": read_yaml, ".yml": read_yaml, ".json": read_json}
)
