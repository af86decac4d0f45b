"""The live viewer: messages in, Rerun entities out, and the thin shell that shows them."""
