"""Read the parts of a Word document (WordprocessingML, ECMA-376 part 1, chapter 17)."""
