"""Package data: the embedded conversation (µ-law WAV, 16 kHz, mono) and its word-timed transcript."""
