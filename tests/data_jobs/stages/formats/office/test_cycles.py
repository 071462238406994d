"""References that form a loop, or that name one part again and again, cost a bounded amount of work."""

import time

from data_jobs.stages.formats.contract import ParseOptions
from data_jobs.stages.formats.office import docx, epub, odt
from tests.data_jobs.stages.formats.office.packages import docx_of, epub_of, odf_of

OPTIONS = ParseOptions(max_pages=1000)


def test_styles_that_are_based_on_each_other_end() -> None:
    def style(name: str, base: str) -> str:
        return f'<style:style style:family="paragraph" style:name="{name}" style:parent-style-name="{base}"/>'

    chain = "".join(style(f"P{at}", f"P{at + 1}") for at in range(2000))
    start = time.process_time()
    loop = odt.parse(
        odf_of("text", '<text:p text:style-name="A">x</text:p>', automatic=style("A", "A")), OPTIONS
    )
    odt.parse(odf_of("text", '<text:p text:style-name="P0">x</text:p>' * 2000, automatic=chain), OPTIONS)

    assert loop.pages == ["x"]
    assert time.process_time() - start < 10  # without a limit, 40 s


def test_lists_that_take_their_levels_from_each_other_end() -> None:
    numbering = "".join(
        f'<w:abstractNum w:abstractNumId="{own}"><w:styleLink w:val="S{own}"/>'
        f'<w:numStyleLink w:val="S{other}"/></w:abstractNum>'
        f'<w:num w:numId="{own}"><w:abstractNumId w:val="{own}"/></w:num>'
        for own, other in ((1, 2), (2, 1))
    )
    body = '<w:p><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>x</w:t></w:r></w:p>'
    assert docx.parse(docx_of(body, numbering=numbering), OPTIONS).pages == ["x"]


def test_a_chapter_that_is_named_again_and_again_is_read_once() -> None:
    names = {"a.xhtml": "<p>Herons</p>", **{f"./{'x/../' * at}a.xhtml": "" for at in range(1, 200)}}
    assert epub.parse(epub_of(names), OPTIONS).pages == ["Herons"]
