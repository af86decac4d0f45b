"""What the tracker's estimators reach against simulated truth; one table a part."""
