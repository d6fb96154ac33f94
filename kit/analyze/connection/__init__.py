"""Why a connection failed: from the record of an attempt to layer, cause and remedy."""
