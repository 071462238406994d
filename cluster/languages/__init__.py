"""Languages of texts and of documents. It needs no database and no Ray."""
