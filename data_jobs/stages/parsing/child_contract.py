"""What the parser and the process it starts agree on. Apart from both: only that process loads the libraries that read documents."""

#: Most bytes of a result; JSON writes a character in at most six.
MAX_RESULT_BYTES = 512 * 1024 * 1024
#: Exit codes of a child that knows what went wrong.
EXIT_OK, EXIT_MEMORY = 0, 77
