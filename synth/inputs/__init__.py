"""Files of rows as people have them: any place, compression and encoding, and what their values mean."""
