"""An item as the server keeps it, from its creation to its deletion."""


class Entry:
    """One item of a conversation; see `items.Item` for what a model sees of it."""
