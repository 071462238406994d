"""The promises of a chunk index, with the same assertions for every place where vectors can be."""

DIM = 8
#: Organisation and id of the store that most tests write to.
ORG, STORE = "default", "vs"
