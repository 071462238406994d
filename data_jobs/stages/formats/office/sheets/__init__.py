"""Read the cells of spreadsheets (SpreadsheetML, OpenDocument), and write them into pages as tables."""
