"""Constants that ``Parser`` and the parsing process share.

``Parser`` must not import ``fork_server``, because only the parsing process may import parser libraries.
"""

#: Maximum number of bytes of a result. JSON uses at most six bytes for a character.
MAX_RESULT_BYTES = 512 * 1024 * 1024
#: Exit codes of a child that wrote a result, and of a child that reported a lack of memory.
EXIT_OK, EXIT_MEMORY = 0, 77
#: Sent by the parsing process when it has imported the parsers.
READY = b"ready\n"
