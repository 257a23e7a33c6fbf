alice:alice-secret
