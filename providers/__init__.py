"""How to speak to one endpoint. Knows one endpoint and one call; has no idea that there are others."""
