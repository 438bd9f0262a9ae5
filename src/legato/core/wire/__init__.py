"""The byte layouts of wire/SPEC.md: numbers, records, messages.

Owns how a value is written and read back; must not know sessions, order or what a message leads to.
"""
