"""Read Rich Text Format (Microsoft, RTF specification 1.9.1)."""
