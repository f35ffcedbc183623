FROM nothing
LABEL only=metadata
