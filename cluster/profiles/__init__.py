"""Profiles of customers: behaviour, probability of the next purchase, segments, and what messages say."""
