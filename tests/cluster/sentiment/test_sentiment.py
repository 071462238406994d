"""The language and the sentiment of texts, by the committed head and real vectors."""

from pathlib import Path

import numpy as np
import pytest

from cluster.engines import Engine, Fingerprint, Registry, open_engine
from cluster.sentiment.languages import UNDETERMINED, detect
from cluster.sentiment.lexicon import lexicon_features
from cluster.sentiment.linear_head import MAX_RATING, RatedTexts, fit, open_head
from cluster.sentiment.sentiment import open_sentiment_model
from cluster.settings import Settings

HUTTO = Path(__file__).parents[4] / "shared" / "data" / "sentiment"
PRAISE = [
    "Thank you so much, this is exactly what I needed!",
    "Great service, my parcel came a day early.",
    "You solved it within minutes, I am very happy.",
]
BLAME = [
    "This is the third time it broke, and nobody answers me.",
    "I am very disappointed, the support is useless.",
    "Terrible quality, I want my money back.",
]


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my parcel? I ordered it on Monday.", "en"),
        ("Wo ist mein Paket? Ich habe es am Montag bestellt.", "de"),
        ("¿Dónde está mi paquete? Lo pedí el lunes.", "es"),
        ("Où est mon colis ? Je l'ai commandé lundi.", "fr"),
        ("Dov'è il mio pacco? L'ho ordinato lunedì.", "it"),
        ("Waar is mijn pakket? Ik heb het maandag besteld.", "nl"),
        ("Gdzie jest moja paczka? Zamówiłem ją w poniedziałek.", "pl"),
        ("Где моя посылка? Я заказал её в понедельник.", "ru"),
        ("我的包裹在哪里？我星期一订的。", "zh"),
        ("👍 123", UNDETERMINED),
    ],
)
def test_the_language_of_a_message_is_detected(text: str, language: str) -> None:
    assert detect(text) == language


def test_a_short_text_has_the_language_of_its_conversation() -> None:
    assert detect("refund", context="I bought a lamp last week and it never arrived.") == "en"
    assert detect("gracias", context="¿Dónde está mi paquete? Lo pedí el lunes.") == "es"
    assert detect("👍", context="Wo ist mein Paket? Ich habe es am Montag bestellt.") == "de"


def test_praise_is_positive_blame_is_negative_and_other_languages_have_no_score(engine: Engine) -> None:
    texts = [*PRAISE, *BLAME, "Das ist eine furchtbare Qualität, ich will mein Geld zurück."]
    model = open_sentiment_model(engine.fingerprint)
    tones = model.analyse(texts, contexts=[""] * len(texts), vectors=engine.embed(texts).vectors)
    assert model.version.startswith("linear-")
    assert min(tone.score for tone in tones[:3]) > 0.25
    assert max(tone.score for tone in tones[3:6]) < -0.25
    assert (tones[6].language, tones[6].score) == ("de", None)


def test_without_a_head_for_the_model_vader_scores_and_the_version_says_so() -> None:
    model = open_sentiment_model(Fingerprint.of_given(4))
    (good, bad) = model.analyse(
        [PRAISE[0], BLAME[1]], contexts=["", ""], vectors=np.zeros((2, 4), np.float32)
    )
    assert model.version.startswith("vader")
    assert good.score > 0.3 > -0.3 > bad.score


@pytest.mark.skipif(not HUTTO.is_dir(), reason="needs Hutto's sets beside the repository")
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("tweets", 0.75),
        ("amazonReviewSnippets", 0.55),
    ],
)
def test_the_committed_head_agrees_with_the_ratings_of_people(
    engine: Engine, name: str, least: float
) -> None:
    lines = (HUTTO / f"{name}_GroundTruth.txt").read_text(errors="replace").split("\n")[:-1:40]
    _, ratings, texts = zip(*(line.split("\t") for line in lines), strict=True)
    head = open_head(engine.fingerprint)
    assert head is not None
    scores = head.score(engine.embed(texts).vectors, lexicon_features(texts))
    rated = np.array(ratings, float) / MAX_RATING
    assert np.corrcoef(scores, rated)[0, 1] > least
    assert abs((scores - rated).mean()) < 0.1


def test_a_head_recovers_the_scale_of_the_ratings() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(2_000, 8)).astype(np.float32)
    lexicon = random.uniform(-1, 1, size=(2_000, 3)).astype(np.float32)
    ratings = np.clip(vectors[:, 0] + 0.5 * lexicon[:, 0], -4, 4).astype(np.float64)
    parts = [
        RatedTexts(vectors=vectors[half], lexicon=lexicon[half], ratings=ratings[half])
        for half in (slice(0, 500), slice(500, None))
    ]
    head = fit("space", parts)
    scores = head.score(vectors, lexicon)
    assert np.abs(scores - ratings / 4).mean() < 0.02
