"""Searches find words and phrases in every script, next to any punctuation, on a server with any locale."""

from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.chunks.word_statements import WordStatements
from cluster.settings import Settings
from cluster.vector_index.text_configurations import CONFIGURATIONS
from cluster.vector_index.words import LONGEST_WORD, normalised, words
from tests.cluster.languages.texts import FRENCH, GERMAN

ORG, STORE, DIM = "default", "vs_words", 8

#: text, queries of which each finds it by word, queries of which each finds it as a phrase
CASES = {
    "quotation marks": (
        "He said “pump” and ‘valve’, „Ventil“ «vanne».",
        ["pump", "valve", "Ventil", "vanne"],
        ["pump and valve"],
    ),
    "dashes": (
        "valve—operator, pump–motor, gear‑box",
        ["operator", "motor", "gear"],
        ["valve operator", "pump-motor", "gear box"],
    ),
    "no-break spaces": ("10\u00a0kg of 25\u202fmm", ["kg", "mm"], ["10 kg", "25 mm"]),
    "slashes and points": (
        "input/output of pump.Then stop, and/or 4.5.2",
        ["output", "pump", "4.5.2"],
        ["pump then stop"],
    ),
    "ranges and part numbers": (
        "pages 10-20 of part AB-1234/5",
        ["20", "1234", "ab-1234"],
        ["10–20", "AB 1234 5"],
    ),
    "addresses": (
        "ask help@plant.example, see plant.example/valves_and_pumps",
        ["help", "valves"],
        ["valves and pumps"],
    ),
    "bullets and arrows": ("•pump →valve ✓motor", ["pump", "valve", "motor"], ["pump valve motor"]),
    "apostrophes": ("l’eau de l'usine", ["eau", "usine"], ["l'eau de l’usine"]),
    "soft hyphens": (
        "per\u00admit\u00adted ope\u00adrator",
        ["permitted", "operator"],
        ["permitted operator"],
    ),
    "zero-width signs": (
        "pu\u200bmp val\u2060ve\ufeff mo\u200dtor",
        ["pump", "valve", "motor"],
        ["pump valve motor"],
    ),
    "variation selectors": ("葛\U000e0100城 valve\ufe0f", ["葛城", "valve"], ["葛城"]),
    "ligatures and full width": ("ﬁlter ｐｕｍｐ № ５ m²", ["filter", "pump", "m2"], ["filter pump no 5"]),
    "accents composed or not": ("cafe\u0301 Stra\u00dfe", ["café", "STRASSE"], ["caf\u00e9 strasse"]),
    "Greek": ("Η ΒΑΛΒΊΔΑ ΤΗΣ ΑΝΤΛΊΑΣ.", ["βαλβίδα", "αντλίας"], ["βαλβίδα της αντλίας"]),
    "Turkish": ("İSTANBUL’da KAPI", ["istanbul", "kapı"], ["istanbul da"]),
    "Russian": ("Насос—«клапан»; ёлка.", ["насос", "КЛАПАН"], ["насос клапан"]),
    "Arabic": ("كِتَابٌ، مَضَخّة؟ ١٢٣ كـتـاب", ["كتاب", "مضخة", "123"], ["كتاب مضخة"]),
    "Persian": ("می\u200cخواهم؛ پمپ", ["می\u200cخواهم", "پمپ"], ["می\u200cخواهم پمپ"]),
    "Hebrew": ("שָׁלוֹם־עוֹלָם, משאבה׃", ["שלום", "משאבה"], ["שלום עולם"]),
    "Hindi": ("पम्प बंद करें। वाल्व खोलें॥", ["पम्प", "वाल्व", "खोलें"], ["बंद करें वाल्व"]),
    "Tamil": ("பம்பு நிறுத்து; வால்வு", ["பம்பு", "வால்வு"], ["நிறுத்து வால்வு"]),
    "Korean": ("펌프를·멈춘다。 밸브", ["펌프를", "밸브"], ["멈춘다 밸브"]),
    "Japanese": (
        "ポンプを止める。逆止弁、ﾊﾞﾙﾌﾞを閉じる。",
        ["ポンプ", "止める", "弁", "バルブ"],
        ["ポンプを止める", "バルブを閉じる"],
    ),
    "Chinese": ("操作員關閉水泵。打开阀门！", ["水泵", "阀门", "阀"], ["關閉水泵", "打开阀门"]),
    "Thai": ("ปิดปั๊มน้ำก่อนเปิดวาล์ว", ["ปั๊มน้ำ", "วาล์ว"], ["ปิดปั๊มน้ำ"]),
    "Khmer": ("បិទ\u200bម៉ាស៊ីន\u200bបូម", ["ម៉ាស៊ីន", "បូម"], ["ម៉ាស៊ីនបូម"]),
    "accents that stand alone": ("pump ¨ ´valve´ ˜", ["pump", "valve"], ["pump valve"]),
    "a long run": ("x" * 3_000 + " pump", ["x" * 3_000, "pump"], ["x" * 3_000 + " pump"]),
}


def found(pool: ConnectionPool, collection: str, query: str, *, phrase: bool) -> list[str]:
    statements = WordStatements(collection)
    statement = (statements.by_phrase if phrase else statements.by_words)(sql.SQL("true"))
    values = {"organisation": ORG, "store": STORE, "words": words(query).text, "k": 100}
    with pool.connection() as connection:
        return [row[0] for row in connection.execute(statement, values)]


@pytest.fixture(scope="module")
def shelf(settings: Settings, pool: ConnectionPool) -> Iterator[str]:
    """A collection with the text of every case, by its name."""
    index, name = open_chunk_index(settings, pool), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=DIM)
    vector = np.ones(DIM, np.float32)
    rows = [
        ChunkRecord(id=case, document="d", text=text, attributes={}, vector=vector)
        for case, (text, *_) in CASES.items()
    ]
    index.upsert(ORG, STORE, rows, collection=name)
    yield name
    with pool.connection() as connection:
        connection.execute(f"DROP TABLE vectors_{name}")
        connection.execute("DELETE FROM vector_collections WHERE name = %s", [name])


@pytest.mark.parametrize("case", CASES)
def test_words_of_every_script_are_found_next_to_any_punctuation(
    shelf: str, pool: ConnectionPool, case: str
) -> None:
    _, alone, phrases = CASES[case]
    for query in alone:
        assert case in found(pool, shelf, query, phrase=False), query
    for query in [*alone, *phrases]:
        if len(query) > 1:
            assert case in found(pool, shelf, query, phrase=True), query


def test_a_phrase_without_spaces_finds_only_texts_with_that_phrase(shelf: str, pool: ConnectionPool) -> None:
    assert found(pool, shelf, "ポンプを止める", phrase=True) == ["Japanese"]
    assert found(pool, shelf, "止めるポンプを", phrase=True) == []
    assert found(pool, shelf, "車", phrase=False) == []


@pytest.fixture(scope="module")
def elsewhere(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A database in which the C library decides which characters are letters."""
    name = f"elsewhere_{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER builtin"
            " BUILTIN_LOCALE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
        )
        with psycopg.connect(database_url.rpartition("/")[0] + "/" + name, autocommit=True) as other:
            yield other
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_lexemes_do_not_depend_on_the_locale_of_the_server(
    elsewhere: psycopg.Connection[tuple[object, ...]], pool: ConnectionPool
) -> None:
    spelt_words = [words(text).text for text in [*(text for text, *_ in CASES.values()), GERMAN, FRENCH]]
    lexemes = sql.SQL(
        "SELECT configuration, to_tsvector(configuration::regconfig, word)::text"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS given (word, n), unnest({}::text[]) AS configuration"
        " ORDER BY configuration, n"
    ).format(sql.Literal(sorted(set(CONFIGURATIONS.values()))))
    with pool.connection() as connection:
        assert connection.execute(
            "SELECT datctype FROM pg_database WHERE datname = current_database()"
        ).fetchone() == ("C",)
        assert (
            connection.execute(lexemes, [spelt_words]).fetchall()
            == elsewhere.execute(lexemes, [spelt_words]).fetchall()
        )


@hypothesis_settings(max_examples=300)
@given(st.text(max_size=200))
@example("\ud800 \0 a")
@example("İ ǅ ß ΐ ﬁ ¨ ｡ﾞ")
def test_normalising_is_idempotent_and_leaves_no_query_operators(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert not set(once) & set("'\"&|!():*<>\\/-_@,;\u00ad\u200b\u200d\ufeff\0\n\t")
    once.encode()
    assert all(len(word) <= LONGEST_WORD for word in words(text * 10).text.split())
