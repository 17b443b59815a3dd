"""What npzfs costs, beside everything that a user could take instead: `make bench`."""
