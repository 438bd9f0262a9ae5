"""The command line: one file per command, found by its name; must never know packets, records or agents' insides."""
