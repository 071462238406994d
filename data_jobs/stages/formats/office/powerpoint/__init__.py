"""Read the parts of a presentation (PresentationML and DrawingML, ECMA-376 part 1, chapters 19 to 21)."""
