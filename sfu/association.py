"""SCTP of one session: aiortc's association within bounds."""

from __future__ import annotations

from aiortc import RTCDataChannel
from aiortc.rtcsctptransport import WEBRTC_BINARY, RTCSctpCapabilities, RTCSctpTransport

from sfu.dtls import DtlsTransport, run_now
from sfu.sctp import check_packet

SCTP_PORT = 5000
# A client's longest message is a comment; what it may leave unfinished is bounded as well.
RECEIVE_WINDOW_BYTES_MAX = 128 * 1024
STREAMS_MAX = 16
# Chunks that came before others, and chunks of unfinished messages: the window is 110 full ones.
# aiortc's work for a chunk grows with both.
GAPS_MAX = 256
UNFINISHED_CHUNKS_MAX = 256


class Association(RTCSctpTransport):
    """An SCTP association whose peer cannot make it hoard memory."""

    def __init__(self, dtls: DtlsTransport) -> None:
        super().__init__(dtls, port=SCTP_PORT)
        self._advertised_rwnd = RECEIVE_WINDOW_BYTES_MAX
        self.too_long_for_peer = 0  # messages that were not sent

    async def begin(self, *, remote_port: int, remote_message_bytes_max: int) -> None:
        """Start the association; the peer's messages come as channels' events."""
        await self.start(RTCSctpCapabilities(remote_message_bytes_max), remote_port)

    async def _receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        """Take a message; those of channels beyond the bound are dropped, and never acknowledged."""
        if stream_id in self._data_channels or len(self._data_channels) < STREAMS_MAX:
            await super()._receive(stream_id, pp_id, data)

    def _forget_streams(self) -> None:
        """Let go of streams that carry no channel and hold nothing."""
        self._inbound_streams = {
            stream_id: stream
            for stream_id, stream in self._inbound_streams.items()
            if stream_id in self._data_channels or stream.reassembly
        }

    async def _handle_data(self, data: bytes) -> None:
        check_packet(data)
        await super()._handle_data(data)
        if len(self._inbound_streams) > STREAMS_MAX:
            self._forget_streams()
        if (
            # The window is what a peer must keep to (RFC 9260 section 6.1).
            self._advertised_rwnd < -RECEIVE_WINDOW_BYTES_MAX
            or len(self._inbound_streams) > STREAMS_MAX
            or len(self._data_channels) > STREAMS_MAX
            or len(self._sack_misordered) > GAPS_MAX
            # Chunks may be empty, so the window alone does not bound their number.
            or sum(len(stream.reassembly) for stream in self._inbound_streams.values())
            > UNFINISHED_CHUNKS_MAX
        ):
            raise ConnectionError("the peer keeps to no bounds")

    def _data_channel_send(self, channel: RTCDataChannel, data: bytes | str) -> None:
        """Send a message at once, where aiortc makes a task for each."""
        assert isinstance(data, bytes) and data
        limit = self._remote_max_message_size  # 0: any size (RFC 8841 section 6.1)
        if limit and len(data) > limit:
            self.too_long_for_peer += 1
            return  # its offer's word; nobody else's message waits for it
        channel._addBufferedAmount(len(data))
        self._data_channel_queue.append((channel, WEBRTC_BINARY, data))
        run_now(self._data_channel_flush())

    async def flush(self) -> None:
        """Send what waits, as far as the window allows."""
        await self._data_channel_flush()
        await self._transmit()
