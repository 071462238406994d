"""Parts of the commands that copy, export and import vector stores. None of them needs Ray."""
