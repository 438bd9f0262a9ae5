"""What `legato talk` is made of: something that speaks, an account of each turn, and views of it.

Owns turns and what is shown about them; must not know how a call moves bytes. `conversation.py` joins them.
"""
