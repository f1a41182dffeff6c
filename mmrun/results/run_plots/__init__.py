"""The plots of one run, from what its folder holds."""
