"""Makes ids of the platform's rows from the ids that senders use.

The same external id always gives the same id, so events need no look-up before they are inserted.
``read_events`` makes the ids.

    row_id("cust", "acme", "customer-17")          # "cust_" and 32 hexadecimal digits
"""

from hashlib import blake2b

#: Separates the parts of an id. Each part begins with its length, so two lists of parts never look the same.
SEPARATOR = "\x1f"
ID_BYTES = 16


def row_id(prefix: str, *parts: str) -> str:
    """Return the id of the row with these parts, of which the first is the organisation."""
    text = SEPARATOR.join(f"{len(part)}:{part}" for part in parts)
    return f"{prefix}_{blake2b(text.encode(), digest_size=ID_BYTES).hexdigest()}"
