"""Cheap clients of a media server: real ICE checks, DTLS and keys, and nothing that decodes."""
