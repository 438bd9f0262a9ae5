"""Agents: whatever can answer a caller.

This room owns turning what was said into an answer: the contract of an agent (`base`), the agents that come
with legato (`echo`, `assistant`) and the stages that the assistant is made of (`stages`). It must not know
which transport the caller uses, nor the server that runs the call.

An agent is found by its name: `legato.agents.<name>` holds `build(settings) -> Agent`.
"""

from .base import Agent, Call, Content, Speech, Tool, ToolCall, ToolSet, Utterance

__all__ = ["Agent", "Call", "Content", "Speech", "Tool", "ToolCall", "ToolSet", "Utterance"]
