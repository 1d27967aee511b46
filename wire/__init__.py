"""Messages between Lectern's own processes: frozen dataclasses and their msgpack form.

`web` (control and signaling) and `sfu` speak HTTP with msgpack bodies over an internal listener.
This package imports nothing of ours, so that both sides can import it. The messages:

- `wire.session`: signaling opens, patches and closes a session on a node.
- `wire.beat`: a node registers with control and beats.
- `wire.codec`: `pack` and `unpack`, the one place that knows msgpack.
"""
