"""Jobs about agents, one file for each kind of job."""
