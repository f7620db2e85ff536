"""A folder of equals: each module is one kind of editor, all with the same two methods."""
