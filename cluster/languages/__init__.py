"""Functions that detect the languages of texts and documents. They need no database and no Ray."""
