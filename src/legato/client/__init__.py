"""The Python client: connect, speak, listen. Lifecycle and policy; knows no wire bytes.

`legato.connect` returns a `RealtimeSession`; what plays its replies is a device from `legato.client.devices`.
"""
