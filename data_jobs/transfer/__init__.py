"""The code of the commands that copy, export and import vector stores. This code does not need Ray."""
