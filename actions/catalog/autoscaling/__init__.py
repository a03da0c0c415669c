"""Actions on Auto Scaling groups and their members."""
