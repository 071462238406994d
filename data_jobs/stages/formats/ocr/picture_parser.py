"""Parse a picture (PNG, JPEG, TIFF, WebP). Each frame is a page, whose text only recognition can read.

parse(data, ParseOptions(max_pages=100, part=(0, 1), ocr=OcrRequest(...))).pages    # ["Invoice 4711 ..."]
"""

import warnings
from io import BytesIO
from struct import error as StructError

from PIL import Image, ImageOps, UnidentifiedImageError

from cluster.records import Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.ocr.tesseract import MAX_PIXELS, GrayPicture, recognise
from data_jobs.stages.formats.pdf.faults import PICTURE, RECOGNISE_IT

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP")
#: Maximum number of pixels of a picture that is unpacked.
MAX_UNPACKED_PIXELS = 200_000_000
#: Resolutions outside this range, in dots per inch, are mistakes of the program that wrote the file.
MIN_DPI, MAX_DPI = 70, 2_400
ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    KeyError,
    TypeError,
    IndexError,
    StructError,
    OverflowError,
)
WHITE = 255


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a picture. Without ``options.ocr``, the pages of a part are reported as pictures without text.

    Raises:
        Unreadable: the picture is damaged, has too many frames or pixels, or cannot be recognised; or
            all pages were asked for without recognition.
        MemoryError: the recognition ran out of memory.
    """
    Image.MAX_IMAGE_PIXELS = None  # Pillow has no limit, because ``_gray`` checks the number of pixels
    warnings.simplefilter("ignore")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            return _read(picture, options)
    except UnidentifiedImageError as exc:
        raise Unreadable(Outcome.CORRUPT, "is damaged, and cannot be read as a picture") from exc
    except ERRORS as exc:
        raise Unreadable(Outcome.CORRUPT, f"is damaged, and cannot be read as a picture ({exc})") from exc


def _read(picture: Image.Image, options: ParseOptions) -> ParserOutput:
    count = getattr(picture, "n_frames", 1)
    if count > options.max_pages:
        raise Unreadable(
            Outcome.TOO_LARGE,
            f"has {count:,} pages; the limit is {options.max_pages:,} (CLUSTER_MAX_DOCUMENT_PAGES)",
        )
    first, last = options.part or (0, count)
    numbers = range(first, min(last, count))
    if options.ocr is not None and len(numbers) == 1:
        picture.seek(first)
        return recognise(_gray(picture), options.ocr, page_count=count)
    if options.part is None:
        raise Unreadable(Outcome.NEEDS_OCR, f"is a picture: {RECOGNISE_IT}")
    return ParserOutput(
        pages=[""] * len(numbers), page_count=count, unread={number + 1: PICTURE for number in numbers}
    )


def _gray(picture: Image.Image) -> GrayPicture:
    """Return the picture upright, in shades of gray and with at most ``MAX_PIXELS`` pixels. Transparent parts
    become white.
    """
    pixels = picture.width * picture.height
    if pixels > MAX_UNPACKED_PIXELS:
        raise Unreadable(
            Outcome.TOO_LARGE, f"has {pixels:,} pixels; the limit is {MAX_UNPACKED_PIXELS:,} in a picture"
        )
    dpi = _dpi(picture)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # Pillow cuts 16 bits off at 255 instead of dividing them
        picture = picture.point(lambda value: value / 256)
    if picture.mode in {"P", "LA", "RGBA", "PA"}:
        picture = picture.convert("RGBA")
        under = Image.new("RGBA", picture.size, (WHITE, WHITE, WHITE, WHITE))
        picture = Image.alpha_composite(under, picture)
    gray = picture.convert("L")
    if gray.width * gray.height > MAX_PIXELS:
        shrink = (MAX_PIXELS / (gray.width * gray.height)) ** 0.5
        gray = gray.resize((max(1, int(gray.width * shrink)), max(1, int(gray.height * shrink))))
        dpi = int(dpi * shrink)
    return GrayPicture(width=gray.width, height=gray.height, pixels=gray.tobytes(), dpi=dpi)


def _dpi(picture: Image.Image) -> int:
    """Return the resolution that the file states; 0 if the file states no possible resolution."""
    stated = picture.info.get("dpi", (0, 0))[0]
    return int(stated) if MIN_DPI <= stated <= MAX_DPI else 0
