"""Handle every request before its route, and every response after its route."""
