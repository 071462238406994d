-- The options of optical character recognition of a vector store and of an attached file (cluster/formats/recognition.py).

ALTER TABLE vector_stores
    ADD COLUMN ocr            text CHECK (ocr IN ('auto', 'off', 'force')),  -- null: CLUSTER_OCR
    ADD COLUMN ocr_languages  text;                                          -- null: CLUSTER_OCR_LANGUAGES

ALTER TABLE vector_store_files
    ADD COLUMN ocr            text CHECK (ocr IN ('auto', 'off', 'force')),  -- null: the store's
    ADD COLUMN ocr_languages  text;                                          -- null: the store's
