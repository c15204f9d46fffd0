"""Laws, one file each; numpy and scipy only, no file, no randomness, no simulation."""
