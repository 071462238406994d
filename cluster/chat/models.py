"""Open the chat models of the settings by name.

Each replica of the endpoint has one ``ChatModels``, and so has each job that needs a chat model.

    models = ChatModels(settings)
    model = models.named(agent.model) if models else None
"""

import os
from collections.abc import Mapping, Sequence

from cluster.chat.attempts import OneServer, RetriedChatModel
from cluster.chat.contract import ChatModel, ChatObserver
from cluster.errors import ClusterError, Misconfigured, NotFound
from cluster.secrets import Secret
from cluster.settings import Settings

#: Sentence for requests that need a chat model if there is none.
NO_CHAT_MODEL = "no chat model is set; set CLUSTER_CHAT_MODELS to the chat servers of this installation"


class ChatModels:
    """The chat models of an installation. Creating an instance sends nothing and opens no
    connection.

    The coroutines of all models run on one event loop. An instance is true if there is at least one model.

    Args:
        settings: ``chat_models`` names the models.
        secrets: values of the environment variables that hold the servers' keys, by name; None: read the
            environment.
        observer: measures the requests; None: nothing is measured.

    Raises:
        Misconfigured: the file of a tokeniser cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Mapping[str, str] | None = None,
        *,
        observer: ChatObserver | None = None,
    ) -> None:
        self._default = settings.chat_model or next(iter(settings.chat_models), None)
        self._servers: dict[str, OneServer] = {}
        self._models: dict[str, ChatModel] = {}
        if not settings.chat_models:
            return
        # Importing the package openai takes 1 s, so processes without a chat model do not import it.
        from cluster.chat.openai_server import ChatServer  # noqa: PLC0415
        from cluster.chat.prompt_tokens import open_counter  # noqa: PLC0415

        variables = os.environ if secrets is None else secrets
        for name, setting in settings.chat_models.items():
            counter = open_counter(setting.tokenizer_path, settings.openai_tokens_file)
            key = Secret(variables.get(setting.key_env or "", "").strip())
            self._servers[name] = ChatServer(name, setting, key, counter)
        for name, setting in settings.chat_models.items():
            fallback = self._servers[setting.fallback] if setting.fallback else None
            self._models[name] = RetriedChatModel(self._servers[name], fallback, observer)

    def __bool__(self) -> bool:
        return bool(self._models)

    @property
    def names(self) -> Sequence[str]:
        """Names of the models, in the order of the settings."""
        return tuple(self._models)

    def named(self, name: str | None) -> ChatModel:
        """Return the model with this name; None: the default model.

        Raises:
            Misconfigured: there is no chat model.
            NotFound: there is no chat model with this name.
        """
        found = self._default if name is None else name
        if found is None or not self._models:
            raise Misconfigured(NO_CHAT_MODEL)
        if found not in self._models:
            raise NotFound(
                f"The chat model {found!r} does not exist. This cluster has {', '.join(self._models)}."
            )
        return self._models[found]

    async def check(self) -> dict[str, ClusterError]:
        """Ask each server for its models. Return the error of each model whose server does not answer."""
        found = {}
        for name, server in self._servers.items():
            try:
                await server.check()
            except ClusterError as exc:
                found[name] = exc
        return found

    async def close(self) -> None:
        """Close the connections to all servers."""
        for server in self._servers.values():
            await server.close()
