"""What each organisation used, and what the usage costs: events, prices, and the figures of the usage routes.

``events`` records the work, ``prices`` gives it a price, and the routes and reports read both.
"""
