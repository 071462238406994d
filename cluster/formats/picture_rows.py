"""The rows of pictures."""

from cluster.formats.format import Format, matches, starts_with

PICTURES = (
    Format(
        name="PNG",
        media_type="image/png",
        recognises=starts_with(b"\x89PNG\r\n\x1a\n"),
        purposes=("vision",),
    ),
    Format(
        name="JPEG", media_type="image/jpeg", recognises=starts_with(b"\xff\xd8\xff"), purposes=("vision",)
    ),
    Format(
        name="GIF",
        media_type="image/gif",
        recognises=matches(rb"GIF8[79]a(?:$|.{0,6}[\x00-\x08\x0e-\x1f\x80-\xff])"),
        purposes=("vision",),
    ),
    Format(
        name="WebP",
        media_type="image/webp",
        recognises=matches(rb"RIFF.{4}WEBPVP8[ LX]"),
        purposes=("vision",),
    ),
)
