"""The commands of the handbook's pages, executed as a reader executes them."""
