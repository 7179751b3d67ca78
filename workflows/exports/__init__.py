"""Sessions as others read them: text, records, data frames, files, logs of Inspect."""
