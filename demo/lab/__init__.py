"""`make lab`: what real machines did, recorded and labelled."""
