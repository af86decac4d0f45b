"""The promises of the stream, held against real processes for as long as is wanted."""
