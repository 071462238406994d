"""reStructuredText is what its reader sees; LaTeX, AsciiDoc and Org keep their marks, but have headings."""

import pytest

from cluster.page_structure import BlockKind
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.texts import headed_text, restructured

RST = """=========
The Guide
=========

:Author: Ann *Heron*

.. _install:

Install
-------

Use ``pip *x*`` or `the site <https://example.org>`_, see :ref:`other <there>`,
:class:`~birds.Heron`, \\`\\<x>`_ and |prod|. A * b, **bold**, name_ x_y [1]_.

.. |prod| replace:: The Product
.. a comment
   of two lines
.. note:: Mind the gap
   always.

   Second paragraph.

.. code-block:: python
   :linenos:

   def f():
       return 1

Example::

    literal   text

Linux
~~~~~

- one item
  continued
2. second

:Note: .. class:: wide

   A field.

term
  definition

+------+-------+
| A    | B     |
+======+=======+
| 1    | two   |
|      | lines |
+------+-------+

====  ====
x     y
====  ====
1     *2*
====  ====

.. [1] The footnote.
.. image:: a.png
   :alt: A heron
.. raw:: html

   <script>hidden</script>

.. include:: /etc/passwd

-----

Windows
-------
End.
""".replace("\\`", "`")


def found_headings(output: ParserOutput) -> list[tuple[int, str]]:
    blocks = output.structure[0].blocks
    return [(b.level, output.pages[0][b.start : b.end]) for b in blocks if b.kind is BlockKind.HEADING]


def test_restructured_text_is_what_a_reader_sees() -> None:
    output = restructured.parse(RST.encode(), ParseOptions(max_pages=1))
    assert output.pages[0].split("\n\n") == [
        "The Guide",
        "Author: Ann Heron",
        "Install",
        "Use pip *x* or the site, see other, Heron, <x> and The Product. A * b, bold, name x_y [1].",
        "Note: Mind the gap always.",
        "Second paragraph.",
        "def f():\n    return 1",
        "Example:",
        "literal   text",
        "Linux",
        "- one item continued",
        "2. second",
        "Note:",
        "A field.",
        "term",
        "definition",
        "| A | B |\n| --- | --- |\n| 1 | two lines |",
        "| x | y |\n| --- | --- |\n| 1 | 2 |",
        "[1] The footnote.",
        "A heron",
        "Windows",
        "End.",
    ]
    assert found_headings(output) == [(1, "The Guide"), (2, "Install"), (3, "Linux"), (2, "Windows")]
    kinds = [block.kind for block in output.structure[0].blocks if block.kind is not BlockKind.HEADING]
    assert kinds == [BlockKind.CODE, BlockKind.CODE, BlockKind.TABLE, BlockKind.TABLE]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.tex",
            "\\chapter*{Birds}\n\\section[x]{On \\emph{herons}}\\label{s}\nText.\n"
            "\\begin{verbatim}\n\\section{no}\n\\end{verbatim}\n\\subsection{Last}\n",
            [(2, "Birds"), (3, "On \\emph{herons}"), (4, "Last")],
        ),
        (
            "a.adoc",
            "= Birds\n\n== Herons ==\nText\n----\n== no\n----\n=== Last\n",
            [(1, "Birds"), (2, "Herons"), (3, "Last")],
        ),
        (
            "a.org",
            "* Birds\n** Herons\nText\n#+BEGIN_SRC python\n* no\n#+end_src\n** Last\n",
            [(1, "Birds"), (2, "Herons"), (2, "Last")],
        ),
        ("a.txt", "= Birds\n* x\n", []),
    ],
)
def test_headings_are_recognised_and_other_marks_stay(
    name: str, text: str, expected: list[tuple[int, str]]
) -> None:
    output = headed_text.parse(text.encode(), ParseOptions(max_pages=1, name=name))
    assert found_headings(output) == expected
    assert "no" in output.pages[0] or not expected


def test_nested_and_endless_marks_end() -> None:
    deep = "\n".join("  " * level + "- item" for level in range(500))
    output = restructured.parse(deep.encode(), ParseOptions(max_pages=1))
    assert output.pages[0].count("item") == 500
    marks = "`" * 9_999 + "*a " * 9_999 + "|x " * 999
    assert restructured.parse(marks.encode(), ParseOptions(max_pages=1)).pages[0].count("a") == 9_999
