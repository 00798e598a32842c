"""What goes over the wire: HTTP, streams, replies, refusals, keys."""
