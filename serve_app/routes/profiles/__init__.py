"""The routes of profiles: profiles of customers, segments, exports, and trained models of purchases."""
