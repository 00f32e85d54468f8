"""From dataset files to tokenised rows: read, check, split, tokenise."""
