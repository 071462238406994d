"""The language and the sentiment of texts, by the committed head and real vectors."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cluster.engines import Engine, Fingerprint, Registry, open_engine
from cluster.engines.weights import open_model_folder
from cluster.errors import Misconfigured
from cluster.languages.detection import UNDETERMINED, detect
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


def test_praise_is_positive_blame_is_negative_and_other_languages_have_no_score(
    settings: Settings, engine: Engine
) -> None:
    texts = [*PRAISE, *BLAME, "Das ist eine furchtbare Qualität, ich will mein Geld zurück."]
    model = open_sentiment_model(settings, engine.fingerprint)
    tones = model.analyse(texts, contexts=[""] * len(texts), vectors=engine.embed(texts).vectors)
    assert model.version.startswith("linear-")
    assert min(tone.score for tone in tones[:3]) > 0.25
    assert max(tone.score for tone in tones[3:6]) < -0.25
    assert (tones[6].language, tones[6].score) == ("de", None)


def test_without_a_head_for_the_model_vader_scores_and_the_version_says_so(settings: Settings) -> None:
    model = open_sentiment_model(settings, Fingerprint.of_given(4))
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


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT whose bias prefers the class negative. Its scores mean nothing else."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("models") / "tiny-sentiment"
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    names = {0: "Negative", 1: "Neutral", 2: "Positive"}
    model = BertForSequenceClassification(BertConfig(id2label=names, max_position_embeddings=64, **shape))
    with torch.no_grad():
        model.classifier.bias[:] = torch.tensor([2.0, 0.0, 0.0])
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(open_model_folder(Registry(Settings()).default).path)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    return folder


def test_a_transformer_of_the_settings_scores_instead_of_the_head(
    settings: Settings, engine: Engine, classifier: Path
) -> None:
    model = open_sentiment_model(
        settings.model_copy(update={"sentiment_path": classifier}), engine.fingerprint
    )
    texts = [*PRAISE, "I waited " * 200]
    tones = model.analyse(texts, contexts=[""] * 4, vectors=np.zeros((4, 384), np.float32))
    # Softmax of (2, 0, 0) gives 0.787 for negative and 0.107 for positive.
    assert [tone.score for tone in tones] == pytest.approx([-0.68] * 4, abs=0.1)
    assert model.version.startswith("tiny-sentiment-")


def test_a_transformer_with_other_classes_is_refused_with_its_classes(
    settings: Settings, engine: Engine, classifier: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(classifier, tmp_path / "other")
    config = other / "config.json"
    config.write_text(config.read_text().replace("Negative", "Spam"))
    with pytest.raises(Misconfigured, match="has the classes spam, neutral, positive"):
        open_sentiment_model(settings.model_copy(update={"sentiment_path": other}), engine.fingerprint)
    missing = settings.model_copy(update={"sentiment_path": tmp_path / "missing"})
    with pytest.raises(Misconfigured, match="cannot be loaded"):
        open_sentiment_model(missing, engine.fingerprint)
