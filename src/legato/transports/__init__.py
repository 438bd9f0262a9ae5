"""Moving bytes with stated guarantees. Knows nothing of events, sessions' meaning or audio.

One file is one transport, named like its URL scheme or mechanism; each offers ``listen`` and ``connect`` and
passes the contract suite in ``legato.testing``.
"""
