"""Turn messages and their vectors into analyses: language, sentiment, vector.

The job that enriches profiles uses this stage (``data_jobs.kinds.profiles.analyse_messages``). Another
process computes the vectors between ``token_ids`` and ``analyses``.

    analyse = AnalyseMessages(settings, fingerprint)
    vectors = embed(analyse.token_ids(messages))
    analyse.analyses(messages, vectors)           # [Analysis(message="msg_...", language="en", ...)]
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Fingerprint, Registry, describe
from cluster.profiles.messages.analyses import Analysis, AnalysisKey, PendingMessage
from cluster.sentiment.sentiment import open_sentiment_model
from cluster.settings import Settings
from data_jobs.stages import process_resources


def model_of_messages(settings: Settings) -> Fingerprint | None:
    """Return the fingerprint of the model that embeds messages. Return None if the settings name no
    model for this purpose and a provider computes the vectors of the default model, because texts of
    customers would leave the cluster.

    Raises:
        InvalidInput: no model has the name in the settings.
    """
    registry = Registry(settings)
    if settings.profiles_model is not None:
        return describe(registry.named(settings.profiles_model))
    fingerprint = describe(registry.default)
    return None if fingerprint.by_provider else fingerprint


class AnalyseMessages:
    """Tokenises messages, and analyses them when their vectors are known. Safe to call from several threads.

    Args:
        settings: the settings of the job.
        fingerprint: fingerprint of the model that computes the vectors.
    """

    def __init__(self, settings: Settings, fingerprint: Fingerprint) -> None:
        self._model = open_sentiment_model(settings, fingerprint)
        self._tokeniser = process_resources.tokeniser(settings, fingerprint)
        (self._prompt,) = self._tokeniser.ids([fingerprint.document_prompt])
        self.key = AnalysisKey(space=fingerprint.id, version=self._model.version)

    def token_ids(self, messages: Sequence[PendingMessage]) -> list[NDArray[np.int32]]:
        """Return the token ids of each message, after the ids of the model's document prompt and without
        special tokens. Long messages are cut to the maximum length of the model.
        """
        ids = self._tokeniser.ids([message.text for message in messages])
        return [np.concatenate([self._prompt, one])[: self._tokeniser.max_content_tokens] for one in ids]

    def tokens(self, ids: Sequence[NDArray[np.int32]]) -> int:
        """Return the number of tokens that the model reads, including special tokens."""
        return sum(map(len, ids)) + self._tokeniser.special_tokens * len(ids)

    def analyses(self, messages: Sequence[PendingMessage], vectors: NDArray[np.float32]) -> list[Analysis]:
        """Return the analysis of each message.

        Args:
            vectors: (n, dim) float32, the vectors of the messages.
        """
        texts = [message.text for message in messages]
        contexts = [message.context for message in messages]
        tones = self._model.analyse(texts, contexts=contexts, vectors=vectors)
        return [
            Analysis(message=message.id, language=tone.language, sentiment=tone.score, vector=vector)
            for message, tone, vector in zip(messages, tones, vectors, strict=True)
        ]
