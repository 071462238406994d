"""One whole cluster on this machine: starts it, stops it, shows its status, and runs the demo."""
