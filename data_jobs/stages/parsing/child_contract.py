"""Constants that ``Parser`` and the parsing process share.

Only the parsing process imports parser libraries.
"""

#: Maximum number of bytes of a result. JSON uses at most six bytes for a character.
MAX_RESULT_BYTES = 512 * 1024 * 1024
#: Exit codes of a child that did not crash.
EXIT_OK, EXIT_MEMORY = 0, 77
