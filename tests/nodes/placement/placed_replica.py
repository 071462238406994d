"""The replica of the tests of placement. Its module imports nothing, so that replicas start quickly."""


class PlacedReplica:
    """A replica that does nothing. It gets the options of a real deployment.

    Args:
        handles: the handles of other deployments, as the endpoint gets them.
    """

    def __init__(self, *handles: object) -> None:
        del handles
