"""Find the agent or the chat model that a request names, and answer with the models and the database of the
replica.

from serve_app.answers import Answerer
"""

from serve_app.answers.answerer import AGENT_PREFIX, Answerer, AnswerTarget

__all__ = ["AGENT_PREFIX", "AnswerTarget", "Answerer"]
