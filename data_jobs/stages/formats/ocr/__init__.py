"""Recognise the text of pictures with Tesseract, inside the limited parsing process."""
