"""The command line: one file per command, found by its name; must not know packets, records or samples."""
