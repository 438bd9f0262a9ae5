"""Sources of servers: one file for each kind, found by its name.

Owns reading lists from elsewhere. Must not know states, health or packets. `base` has the contract,
`legato.testing.discovery` proves that a source keeps it.
"""
