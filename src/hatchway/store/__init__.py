"""What we remember: specs, revisions and events in SQLite, users' files as blobs."""
