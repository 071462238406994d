"""The bulk pipeline on real documents, with real weights, Postgres and Ray."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymupdf
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents import documents
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores import stores
from cluster.engines import Engine, Registry, describe, open_engine
from cluster.engines.weights import open_model_folder
from cluster.errors import Conflict, InvalidInput
from cluster.records import Outcome
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from data_jobs.bulk.report import IngestReport
from data_jobs.bulk.target_store import IngestOptions
from data_jobs.ingest import ingest
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages.bad_documents import SENTENCE, write_bad_documents

pytestmark = [pytest.mark.launch, pytest.mark.usefixtures("ray_cluster")]

SENTENCES = 100
#: Two subjects, of which each is shorter than a chunk and both together are longer.
BIRDS = "Rooks and crows build their nests in high elms. " * 15
PUMPS = "Close the valve before the pump is opened for repair. " * 15
SEED = 20_261_124


def run(settings: Settings, location: Path, store: str, **options: Any) -> IngestReport:
    """Ingest a location; returns the report."""
    report = IngestReport()
    ingest(settings, str(location), store, report, IngestOptions(**options))
    return report


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    """The engine with the model that the pipeline used."""
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module")
def index(settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    """The index that the pipeline filled."""
    return open_chunk_index(settings, pool)


@pytest.fixture(scope="module")
def corpus_run(settings: Settings, corpus: Path) -> IngestReport:
    """The report of the ingest of the 20 real PDFs."""
    return run(settings, corpus, "corpus")


def store_of(pool: ConnectionPool, settings: Settings, name: str) -> stores.VectorStore:
    """Find a store by its name."""
    with pool.connection() as connection:
        return stores.find_store(connection, settings.organisation, name)


@pytest.mark.corpus
def test_every_document_every_page_and_every_token_of_the_real_corpus_is_indexed(
    settings: Settings,
    pool: ConnectionPool,
    index: ChunkIndex,
    engine: Engine,
    corpus: Path,
    corpus_run: IngestReport,
) -> None:
    assert corpus_run.outcomes == {Outcome.OK: 20}
    assert corpus_run.totals["pages"] == 386
    store = store_of(pool, settings, "corpus")
    by_page: dict[tuple[str, int], int] = Counter()
    for row in index.scan(store.organisation, store.id, collection=store.collection):
        by_page[row.attributes["source"], row.attributes["page"]] += int(
            engine.tokeniser.count([row.text])[0]
        )
    with_text = {
        (path.as_uri(), n)
        for path in corpus.glob("*.pdf")
        for n, page in enumerate(pymupdf.open(path), 1)
        if page.get_text().strip()
    }
    assert with_text - set(by_page) == set()
    assert sum(by_page.values()) == corpus_run.totals["tokens"] == corpus_run.totals["tokens_embedded"]
    special = 2 * corpus_run.totals["embedded"]  # the model reads two more tokens of each chunk
    assert used(pool, settings) == corpus_run.totals["tokens_embedded"] + special


def used(pool: ConnectionPool, settings: Settings) -> int:
    """Tokens in the usage events of the bulk ingests so far; there is one event per document."""
    with pool.connection() as connection:
        found = connection.execute(
            "SELECT sum(quantity) FROM usage_events"
            " WHERE organisation = %s AND source = 'ingest' AND model = %s AND job IS NOT NULL",
            [settings.organisation, settings.model],
        ).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.corpus
def test_a_sentence_of_a_page_finds_that_page_first(
    settings: Settings,
    pool: ConnectionPool,
    index: ChunkIndex,
    engine: Engine,
    corpus: Path,
    corpus_run: IngestReport,
) -> None:
    assert not corpus_run.failed
    store = store_of(pool, settings, "corpus")
    chosen = random.Random(SEED).sample(sentences_of(settings, corpus), SENTENCES)
    vectors = engine.embed([sentence for sentence, _, _ in chosen]).vectors
    found = 0
    for (sentence, source, page), vector in zip(chosen, vectors, strict=True):
        hit = index.search(
            store.organisation, store.id, collection=store.collection, vector=vector, text=sentence, k=1
        )[0]
        found += (hit.attributes["source"], hit.attributes["page"]) == (source, page)
    print(f"seed {SEED}: {found} of {SENTENCES} sentences found on their page first")
    assert found >= 95


def sentences_of(settings: Settings, corpus: Path) -> list[tuple[str, str, int]]:
    """(sentence, source, page) of every sentence that occurs on only one page of the corpus."""
    places: dict[str, set[tuple[str, int]]] = defaultdict(set)
    with Parser(settings) as parser:
        for path in sorted(corpus.glob("*.pdf")):
            for page in parser.parse(path.read_bytes(), name=path.name).pages:
                for sentence in re.findall(r"[A-Z][^.!?]{60,250}[.!?](?=\s|$)", page.text):
                    places[sentence].add((path.as_uri(), page.number))
    return [(sentence, *min(found)) for sentence, found in sorted(places.items()) if len(found) == 1]


@pytest.mark.corpus
def test_running_again_embeds_nothing_and_takes_a_tenth_of_the_time(
    settings: Settings, corpus: Path, corpus_run: IngestReport
) -> None:
    again = run(settings, corpus, "corpus")
    assert again.totals["embedded"] == 0
    assert again.totals["unchanged"] == 20
    assert again.totals["chunks"] == corpus_run.totals["chunks"]
    assert again.seconds * 10 < corpus_run.seconds
    verified = run(settings, corpus, "corpus", verify=True)
    assert (verified.totals["embedded"], verified.totals["unchanged"]) == (0, 20)


def thirty_pages() -> Iterator[str]:
    """Thirty different pages of prose, the same at every call."""
    chance = random.Random(SEED)
    words = sorted(
        set(
            re.findall(
                r"[a-z]{3,}", (Path(pymupdf.__file__).parent / "__init__.py").read_text(encoding="utf-8")
            )
        )
    )
    for _ in range(30):
        yield " ".join(
            " ".join(chance.choices(words, k=chance.randint(6, 22))).capitalize() + "." for _ in range(12)
        )


def test_a_sentence_inserted_in_the_middle_embeds_at_most_three_chunks(
    settings: Settings, pool: ConnectionPool, index: ChunkIndex, tmp_path: Path
) -> None:
    def chunks() -> dict[str, set[str]]:
        store = store_of(pool, settings, "edited")
        found: defaultdict[str, set[str]] = defaultdict(set)
        for row in index.scan(store.organisation, store.id, collection=store.collection):
            found[row.attributes["source"].rsplit(".", 1)[-1]].add(row.id)
        return found

    pages = list(thirty_pages())
    write_pdf(tmp_path / "long.pdf", pages)
    write_text(tmp_path / "long.txt", pages)
    first = run(settings, tmp_path, "edited")
    assert first.outcomes == {Outcome.OK: 2}
    before = chunks()
    sentences = pages[15].split(". ")
    sentences.insert(len(sentences) // 2, "The inserted sentence speaks of nightingales")
    pages[15] = ". ".join(sentences)
    write_pdf(tmp_path / "long.pdf", pages)
    write_text(tmp_path / "long.txt", pages)
    second = run(settings, tmp_path, "edited")
    new = {kind: len(ids - before[kind]) for kind, ids in chunks().items()}
    assert set(new) == {"pdf", "txt"}
    assert all(1 <= count <= 3 for count in new.values()), new
    assert second.totals["embedded"] == sum(new.values())
    assert first.totals["tokens"] < second.totals["tokens"]


def write_pdf(path: Path, pages: list[str]) -> None:
    """Write a PDF with one page per text."""
    with pymupdf.open() as document:
        for text in pages:
            page = document.new_page()
            assert page.insert_textbox(pymupdf.Rect(40, 40, 555, 802), text, fontsize=9) >= 0
        document.save(path)


def write_text(path: Path, pages: list[str]) -> None:
    """One long text with a paragraph for each page."""
    path.write_text("\n\n".join(pages))


@dataclass(frozen=True)
class MixedRun:
    """An ingest of good and bad documents into the vector store "mixed"."""

    folder: Path
    #: File name -> the outcome it must have.
    expected: dict[str, Outcome]
    report: IngestReport
    #: Outcome -> how many documents of the vector store had it after the run.
    recorded: dict[Outcome, int]


@pytest.fixture(scope="module")
def mixed(settings: Settings, pool: ConnectionPool, tmp_path_factory: pytest.TempPathFactory) -> MixedRun:
    """A run over documents that go wrong in every way, beside some that do not."""
    folder = tmp_path_factory.mktemp("mixed")
    expected = write_bad_documents(folder)
    report = run(settings, folder, "mixed")
    return MixedRun(folder, expected, report, outcomes_of(pool, store_of(pool, settings, "mixed")))


def outcomes_of(pool: ConnectionPool, store: stores.VectorStore) -> dict[Outcome, int]:
    """Outcome -> how many documents of the store have it."""
    with pool.connection() as connection:
        return {
            count.outcome: count.documents
            for count in documents.count_by_outcome(connection, store.organisation, store.id)
        }


def test_bad_documents_end_in_their_outcomes_and_harm_no_good_one(mixed: MixedRun) -> None:
    expected, report = mixed.expected, mixed.report
    assert report.totals["documents"] == len(expected)
    assert report.outcomes == Counter(expected.values())
    for source, outcome, detail in report.failures:
        assert expected[source.rsplit("/", 1)[-1]] == outcome
        assert " " in detail
    (partial,) = report.partial
    assert (partial[0].rsplit("/", 1)[-1], partial[1]) == ("half_scanned.pdf", Outcome.PARTIAL_TEXT)
    assert mixed.recorded == Counter(expected.values())


def test_a_document_that_goes_bad_leaves_its_last_good_version_searchable(
    settings: Settings, pool: ConnectionPool, index: ChunkIndex, mixed: MixedRun
) -> None:
    file, store = mixed.folder / "good.pdf", store_of(pool, settings, "mixed")
    chunks = {row.id for row in index.scan(store.organisation, store.id, collection=store.collection)}
    good = file.read_bytes()
    file.write_bytes(good[:-300])
    report = run(settings, file, "mixed")
    file.write_bytes(good)
    assert report.outcomes == {Outcome.CORRUPT: 1}
    changed = mixed.expected | {"good.pdf": Outcome.CORRUPT}
    assert outcomes_of(pool, store) == Counter(changed.values())
    rows = list(index.scan(store.organisation, store.id, collection=store.collection))
    assert {row.id for row in rows} == chunks
    (text,) = [row.text for row in rows if row.attributes["source"] == file.as_uri()]
    assert SENTENCE in text


def test_organisations_do_not_see_each_other(
    settings: Settings, pool: ConnectionPool, index: ChunkIndex, organisation: str, mixed: MixedRun
) -> None:
    other = settings.model_copy(update={"organisation": organisation})
    assert run(other, mixed.folder / "good.txt", "mixed").totals["embedded"] == 1
    first, second = (store_of(pool, owner, "mixed") for owner in (settings, other))
    assert index.count(organisation, first.id, collection=first.collection) == 0
    assert index.count(organisation, second.id, collection=second.collection) == 1
    assert index.count(settings.organisation, second.id, collection=second.collection) == 0


def test_an_ingest_creates_its_organisation(settings: Settings, pool: ConnectionPool, tmp_path: Path) -> None:
    new = settings.model_copy(update={"organisation": f"org-{uuid4().hex[:12]}"})
    with pytest.raises(InvalidInput, match="no files there"):
        run(new, tmp_path, "handbook")
    assert store_of(pool, new, "handbook").organisation == new.organisation


def test_a_store_of_another_model_and_an_empty_folder_are_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no files there"):
        run(settings, tmp_path, "other-model")
    with pytest.raises(Conflict, match=r"no model named all-MiniLM-L6-v2 is configured here \(renamed\)"):
        run(settings.model_copy(update={"model": "renamed"}), tmp_path, "other-model")


def chunks_from(
    settings: Settings, pool: ConnectionPool, store: stores.VectorStore, name: str, start: int
) -> list[str]:
    """The chunks of a file from a position on, at which a chunk must begin."""
    rows = open_chunk_index(settings, pool).scan(store.organisation, store.id, collection=store.collection)
    found = {row.attributes["start"]: row.text for row in rows if row.attributes["filename"] == name}
    assert start in found, sorted(found)
    return [text for at, text in sorted(found.items()) if at >= start]


def test_a_new_store_takes_the_named_model_and_chunker_and_keeps_them(
    settings: Settings, pool: ConnectionPool, tmp_path: Path
) -> None:
    folder = open_model_folder(Registry(settings).default).path
    both = settings.model_copy(
        update={"models": Table({"second": ModelSetting(source=f"local:{folder}", gpus=0)})}
    )
    with pytest.raises(InvalidInput, match=rf"no model named third .*\({settings.model}, second\)"):
        run(both, tmp_path, "of the second", model="third")
    (tmp_path / "a.txt").write_text(BIRDS + PUMPS)
    assert run(both, tmp_path, "of the second", model="second", chunker="semantic").outcomes == {
        Outcome.OK: 1
    }
    store = store_of(pool, settings, "of the second")
    assert store.fingerprint == describe(Registry(both).entries["second"])
    assert store.chunking_strategy == {"type": "semantic"}
    assert PUMPS.strip() in "".join(chunks_from(settings, pool, store, "a.txt", len(BIRDS)))
    with pytest.raises(Conflict, match=r"holds vectors of second and takes none of all-MiniLM.*--model"):
        run(both, tmp_path, "of the second", model=settings.model)
    (tmp_path / "b.txt").write_text(PUMPS + BIRDS)  # the store's own chunker cuts it
    run(both, tmp_path, "of the second")
    assert BIRDS.strip() in "".join(chunks_from(settings, pool, store, "b.txt", len(PUMPS)))
    assert run(both, tmp_path, "of the second").totals["embedded"] == 0
    with pytest.raises(Conflict, match=r"no model named second is configured"):
        run(settings, tmp_path, "of the second")
