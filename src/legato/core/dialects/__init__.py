"""The event languages a call may be held in; one package each.

Owns what the events of a dialect mean; must not know how events and audio travel.
"""
