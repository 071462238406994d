"""What every request meets before its route, and every response after it."""
