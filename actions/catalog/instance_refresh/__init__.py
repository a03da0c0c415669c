"""Actions on instance refreshes."""
