"""The rows of texts that hold records or data."""

from cluster.formats.format import DOCUMENT_PURPOSES, Format, named

CSV_SUFFIXES = frozenset({"csv"})
TSV_SUFFIXES = frozenset({"tsv", "tab"})

RECORDS = (
    Format(
        name="CSV",
        media_type="text/csv",
        recognises=named(CSV_SUFFIXES),
        suffixes=CSV_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.records.delimited",
        libraries=("chardet",),
        page="the whole document",
    ),
    Format(
        name="TSV",
        media_type="text/tab-separated-values",
        recognises=named(TSV_SUFFIXES),
        suffixes=TSV_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.records.tab_separated",
        libraries=("chardet",),
        page="the whole document",
    ),
)
