"""Files below a folder of this machine: each listed once, and only regular files ever opened.

for path in files_below("/srv/manuals", left_out=print):
    data = read_file(path, max_bytes=200 << 20)
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator

PIECE_BYTES = 1024 * 1024
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: Called with what is left out of a listing and why.
LeftOut = Callable[[str, str], None]
#: Device and inode.
Identity = tuple[int, int]


def files_below(root: str, left_out: LeftOut) -> Iterator[str]:
    """The path of everything below the folder that is not a folder, by name, a folder's own files before its subfolders'.

    Hidden entries are not listed. A linked folder is followed after all others, unless it was listed already or contains the root:
    so a file keeps the path it has without the link, and a loop of links ends.

    Args:
        left_out: told of every folder that cannot be listed.
    """
    listed: set[Identity] = set()
    above = _folders_above(root)
    linked = deque([root])
    while linked:
        folders = [linked.popleft()]
        while folders:
            folder = folders.pop()
            try:
                identity = _identity(folder)
                if identity in listed:
                    continue
                if identity in above:
                    left_out(
                        folder,
                        "it is a link to a folder that contains the one to ingest; name that folder to ingest all of it",
                    )
                    continue
                listed.add(identity)
                with os.scandir(folder) as found:
                    entries = sorted(
                        (entry for entry in found if not entry.name.startswith(".")),
                        key=lambda entry: entry.name,
                    )
            except OSError as exc:
                left_out(
                    folder, f"the folder could not be listed: {exc.strerror}; nothing in it was ingested"
                )
                continue
            within = []
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    within.append(entry.path)
                elif _is_linked_folder(entry):
                    linked.append(entry.path)
                else:
                    yield entry.path
            folders.extend(reversed(within))


def read_file(path: str, *, max_bytes: int) -> bytes:
    """The file's bytes, to its end even where its size says otherwise, and one more than ``max_bytes`` at most.

    Raises:
        OSError: it cannot be read, or it is no regular file.
    """
    require_regular(os.stat(path))  # opening a device can act on it: a tape winds back
    # Between the two calls the file may become a pipe, and opening that would wait for its writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        require_regular(found)
        pieces, left = [], max_bytes + 1
        while left and (piece := os.read(handle, min(left, max(found.st_size + 1, PIECE_BYTES)))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(handle)


def require_regular(found: os.stat_result) -> None:
    """Pass only for a regular file.

    Raises:
        OSError: it is something else; the message says what.
    """
    if not stat.S_ISREG(found.st_mode):
        raise OSError(
            errno.EINVAL, f"it is {KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, not a file"
        )


def _is_linked_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or no permission to look: reading it tells
        return False


def _folders_above(root: str) -> set[Identity]:
    found = set()
    folder = os.path.realpath(root)
    while (parent := os.path.dirname(folder)) != folder:
        folder = parent
        try:
            found.add(_identity(folder))
        except OSError:  # a link to a path that cannot be looked at
            continue
    return found


def _identity(folder: str) -> Identity:
    found = os.stat(folder)
    return found.st_dev, found.st_ino
