"""Draw pages of PDF documents as pictures, with a passage highlighted.

``page_pictures.PagePictures`` starts a process with limits for each picture. This process,
``drawing_process``, opens the document with PDFium, because a hostile document may crash its reader or need
much time and memory.
"""
