ENVIRONMENT: dict[str, str] = {}
