"""What a nightly check found, shown: one file for each kind of reader."""
