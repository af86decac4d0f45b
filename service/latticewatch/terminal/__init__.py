"""What `latticewatch watch` shows: messages in, lines of text out."""
