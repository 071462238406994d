"""Say why a file of an old program cannot be read, and what to do. The files are OLE compound files.

Office 97 to 2003 wrote such files, Outlook writes messages in them, and Office puts documents with a password
into them. The names in the directory of the file show what the file is (MS-CFB, section 2.6).
"""

from collections.abc import Mapping
from typing import NoReturn

from cluster.records import Outcome
from data_jobs.stages.formats.contract import ParseOptions, Unreadable

#: The name of an entry in the directory, and what a file with this entry is.
KINDS: Mapping[str, tuple[Outcome, str]] = {
    "EncryptedPackage": (
        Outcome.ENCRYPTED,
        "is protected by a password: remove the protection and ingest it again",
    ),
    "WordDocument": (
        Outcome.UNSUPPORTED,
        "is a document of Word 97-2003 (.doc): save it as .docx and ingest that",
    ),
    "Workbook": (
        Outcome.UNSUPPORTED,
        "is a workbook of Excel 97-2003 (.xls): save it as .xlsx and ingest that",
    ),
    "Book": (Outcome.UNSUPPORTED, "is a workbook of Excel 5 (.xls): save it as .xlsx and ingest that"),
    "PowerPoint Document": (
        Outcome.UNSUPPORTED,
        "is a presentation of PowerPoint 97-2003 (.ppt): save it as .pptx and ingest that",
    ),
    "__properties_version1.0": (
        Outcome.UNSUPPORTED,
        "is a message of Outlook (.msg): save it as .eml and ingest that",
    ),
}


def parse(data: bytes, _: ParseOptions) -> NoReturn:
    """Refuse the file.

    Raises:
        Unreadable: always.
    """
    for name, (outcome, detail) in KINDS.items():
        # Names are in UTF-16, and a NUL ends each name.
        if f"{name}\0".encode("utf-16-le") in data:
            raise Unreadable(outcome, detail)
    raise Unreadable(
        Outcome.UNSUPPORTED, "is an OLE compound file of an old program: save it in a current format"
    )
