"""Any arms on any environments with any number of seeds, and which of them learns from least: nlf-sb3 compare."""
