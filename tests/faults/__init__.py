"""What becomes of results when processes are killed, files are damaged and disks fill: `python -m faults`."""
