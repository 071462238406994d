"""Archives of past releases, and the program that makes one."""
