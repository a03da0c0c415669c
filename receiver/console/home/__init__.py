"""The page Now: what needs a person, what is under way, and whether the service is well."""
