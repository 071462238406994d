"""List and read the files below a folder of this machine. Each folder is listed once, and only regular files
are opened.

for path in files_below("/srv/manuals", on_left_out=print):
    data = read_file(path, max_bytes=200 << 20)
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO

READ_BYTES = 1024 * 1024
FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: Called with the path of a folder or file that is left out of a listing, and the reason.
OnLeftOut = Callable[[str, str], None]
#: Device and inode of a folder.
FolderId = tuple[int, int]


def files_below(root: str, on_left_out: OnLeftOut) -> Iterator[str]:
    """List everything below the folder that is not a folder, sorted by name; files come before subfolders.

    Entries whose names begin with a dot are not listed. Links to folders are followed after all other
    folders, unless the linked folder was listed already or contains the root. So a file that is reachable
    without links is listed with its path without links, and a loop of links ends.

    Args:
        root: path of the folder.
        on_left_out: called for every folder that cannot be listed, and for every link to a folder that
            contains the root.
    """
    listed: set[FolderId] = set()
    above = _folders_above(root)
    linked = deque([root])
    while linked:
        folders = [linked.popleft()]
        while folders:
            entries = _entries(folders.pop(), listed, above, on_left_out)
            subfolders = []
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    subfolders.append(entry.path)
                elif _is_linked_folder(entry):
                    linked.append(entry.path)
                else:
                    yield entry.path
            folders.extend(reversed(subfolders))


def _entries(
    folder: str, listed: set[FolderId], above: set[FolderId], on_left_out: OnLeftOut
) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, sorted by name. Return no entries if the folder was
    listed already or is left out.

    Add the folder to ``listed``.
    """
    try:
        folder_id = _folder_id(folder)
        if folder_id in listed:
            return []
        if folder_id in above:
            on_left_out(
                folder,
                "it is a link to a folder that contains the one to ingest; "
                "to ingest all of that folder, name it as the location",
            )
            return []
        listed.add(folder_id)
        with os.scandir(folder) as found:
            visible = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as exc:
        on_left_out(folder, f"the folder could not be listed: {exc.strerror}; nothing in it was ingested")
        return []
    return sorted(visible, key=lambda entry: entry.name)


def read_file(path: str, *, max_bytes: int) -> bytes:
    """Return at most ``max_bytes`` + 1 bytes of a file. Read to the end of the file, even if the file reports
    another size.

    Raises:
        OSError: the file cannot be read, or it is not a regular file.
    """
    require_regular(os.stat(path))  # check first, because opening a device can change it (a tape rewinds)
    # The file may become a pipe between the two calls. So do not block, because opening a pipe waits for a
    # writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        require_regular(found)
        pieces, remaining = [], max_bytes + 1
        while remaining and (piece := os.read(handle, min(remaining, max(found.st_size + 1, READ_BYTES)))):
            pieces.append(piece)
            remaining -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(handle)


def open_regular(path: str) -> BinaryIO:
    """Open a regular file. Opening a pipe would wait for its writer, so other files are refused first.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    require_regular(os.stat(path))
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def require_regular(found: os.stat_result) -> None:
    """Require that this is a regular file.

    Raises:
        OSError: the file is of another kind. The message names the kind.
    """
    if not stat.S_ISREG(found.st_mode):
        raise OSError(
            errno.EINVAL, f"it is {FILE_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, not a file"
        )


def _is_linked_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or no permission; the later attempt to read it reports the reason
        return False


def _folders_above(root: str) -> set[FolderId]:
    found = set()
    folder = os.path.realpath(root)
    while (parent := os.path.dirname(folder)) != folder:
        folder = parent
        try:
            found.add(_folder_id(folder))
        except OSError:  # no permission, or the folder has just been removed
            continue
    return found


def _folder_id(folder: str) -> FolderId:
    found = os.stat(folder)
    return found.st_dev, found.st_ino
