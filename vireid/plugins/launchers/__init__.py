"""Launchers: run the commands of a study at once, on this machine or a cluster."""
