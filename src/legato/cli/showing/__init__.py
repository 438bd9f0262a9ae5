"""What `legato demo` is made of: a script of questions, and an account of the answers.

Owns the demonstration; must not know how a call moves bytes. Conversations are held by `legato.cli.talking`.
"""
