"""`legato bench networks`: what a conversation is like on bad networks, over QUIC and over WebSockets.

Owns the question. Each run is a real server and real clients in two places joined by an emulated link
(`legato.bench.places`): `cell` is one network with one way of carrying calls, `ear` and `caller` are its two
ends, `measures` the arithmetic, `recognition` the word errors, `page` and `plots` what people see. Must not
know how a call moves its bytes.
"""
