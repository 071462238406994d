"""Stored answers of ``POST /v1/responses``, so that a later request can continue them.

The routes in ``serve_app/routes/responses`` store, read and delete responses. The maintenance job ``expire``
deletes responses that have reached their expiry time.

    from cluster.responses import StoredResponse, earlier_turns, store_response
"""

from cluster.responses.stored_responses import (
    LIFETIME_DAYS,
    MAX_TURNS,
    StoredResponse,
    customer_of,
    delete_response,
    earlier_turns,
    expire_responses,
    get_response,
    new_response_id,
    store_response,
)

__all__ = [
    "LIFETIME_DAYS",
    "MAX_TURNS",
    "StoredResponse",
    "customer_of",
    "delete_response",
    "earlier_turns",
    "expire_responses",
    "get_response",
    "new_response_id",
    "store_response",
]
