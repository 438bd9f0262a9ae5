"""What `legato demo` is made of: a simulated microphone, a script of questions, and an account of the
answers.

Owns the demonstration; must not know how a call moves bytes. Turns are counted by `legato.cli.talking`.
"""
