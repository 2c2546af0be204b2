"""The networks of one ARTalk checkpoint."""
