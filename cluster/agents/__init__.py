"""Agents: their definitions, their knowledge in vector stores, and their creation in bulk.

from cluster.agents import AgentDefinition, load_agent
"""

from cluster.agents.agents import DefinedAgent, ListedAgent, answering_agents, load_agent, save_agent
from cluster.agents.definition import AgentDefinition, AgentKnowledge, AgentRetrieval

__all__ = [
    "AgentDefinition",
    "AgentKnowledge",
    "AgentRetrieval",
    "DefinedAgent",
    "ListedAgent",
    "answering_agents",
    "load_agent",
    "save_agent",
]
