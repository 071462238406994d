"""Choose how many rows are written in one call. The number becomes smaller if the index refuses or delays a
write, and larger after a success.

size = BatchSize(most=1_000)
rows[: size.now]
size.shrink()
"""

#: After a success, the size grows by this share of the size, and by at least one row.
GROWTH = 0.25


class BatchSize:
    """Chooses the number of rows of the next write, from 1 to ``most``."""

    def __init__(self, most: int) -> None:
        #: Maximum number of rows of a write.
        self.most = most
        #: Number of rows of the next write.
        self.now = most

    def shrink(self) -> None:
        """Halve the size, after a write that was refused or delayed."""
        self.now = max(1, self.now // 2)

    def grow(self) -> None:
        """Increase the size by a quarter, after a write that succeeded."""
        self.now = min(self.most, self.now + max(1, int(self.now * GROWTH)))
