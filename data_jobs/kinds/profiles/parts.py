"""The parts of profiles, in the order in which the job computes them."""

from collections.abc import Callable

from data_jobs.kinds.profiles.behaviour_part import BehaviourPart
from data_jobs.kinds.profiles.profile_part import ProfilePart
from data_jobs.kinds.profiles.propensity_part import PropensityPart
from data_jobs.kinds.profiles.sentiment_part import SentimentPart
from data_jobs.kinds.profiles.topics_part import TopicsPart
from data_jobs.kinds.resources import Resources

#: For each part: a callable that makes the part from the resources of the worker.
PARTS: tuple[Callable[[Resources], ProfilePart], ...] = (
    BehaviourPart,
    PropensityPart,
    SentimentPart,
    TopicsPart,
)
