"""What a network is trained on: download, verify, load."""
