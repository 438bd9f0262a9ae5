"""The OpenAI Realtime dialect, without any input or output: events in, events out, times passed in.

Owns what the events of the Realtime API mean (the general availability version, as the `openai` package
types it); must not know how events and audio travel, nor which model answers. What is handled, kept and
refused, event by event, stands in `wire/realtime-coverage.md`.
"""
