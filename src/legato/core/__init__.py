"""What a session means: order, state, what was heard, what can be resumed.

Owns the rules of `wire/SPEC.md` as plain objects: bytes, events and times in, bytes and events out.
Must never know sockets, event loops, threads, clocks, randomness, codecs or agents: times (integer
microseconds) and identifiers are passed in, so every behaviour can be replayed exactly in a test.
"""
