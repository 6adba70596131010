"""After the rounds: devices that can train nothing take part by what they send, encoded.

A codec (PNC) is trained on the server's public pictures for the finished model, which stays as it
is; the device gets the encoder, its test pictures come back as a few bytes each, and the finished
model classifies what the decoder makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from fedtiny.codecs.codec import Codec
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.task import EncodeTask
from fedtiny.config import RunConfig
from fedtiny.data.server import ServerData
from fedtiny.federation.described import most_samples
from fedtiny.federation.round import Federation
from fedtiny.models.graph import Graph
from fedtiny.runs.encode_events import Encoded
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.wire.encode import EncodeResult
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange, FederationError
from strategies.introductions import Introductions
from strategies.observer import Observer


@dataclass(frozen=True)
class Encoding:
    """Of one run.

    Attributes:
        config, federation: of the run.
        data: public pictures.
        exchange: to ask devices with.
        observer: is told what came of each device.
        introductions: who can train something.
    """

    config: RunConfig
    federation: Federation
    data: ServerData
    exchange: Exchange
    observer: Observer
    introductions: Introductions

    def run(self, finished: TrainedModel) -> None:
        """Ask those that can train nothing, and tell; does nothing unless the run is to."""
        known = self.introductions
        able = [k for k in known.described if k not in known.tiers]
        if not self.config.federation.encode or not able:
            return
        from fedtiny.codecs.server.for_model import codec_for  # noqa: PLC0415 - torch is optional

        codec = codec_for(self.data.public, finished, self.config.seed)
        packets = dict.fromkeys(able, EncodeTask(codec.half).packet())
        results = self.exchange.ask(Phase.ENCODE, self._after, packets, self._read)
        for partition, one in results.items():
            self._tell(partition, one, codec)

    @property
    def _after(self) -> int:
        return self.config.federation.rounds + 1

    def _read(self, partition: int, packet: Packet) -> EncodeResult:
        described, factor = self.introductions.described, self.config.trust.samples_factor
        most = most_samples(described, factor, Phase.EVALUATE, partition)
        return EncodeResult.read(self.federation.graph.classes, most, packet)

    def _tell(self, partition: int, one: EncodeResult, codec: Codec) -> None:
        """What the finished model makes of a device's codes; one that says nothing is wrong."""
        found = [_class(codec, code) for code in one.codes]
        correct = sum(a == b for a, b in zip(found, one.labels.tolist(), strict=True))
        size = sum(map(len, one.codes))
        self.observer.on_event(
            Encoded(self._after, partition, len(found), correct, size, one.refused)
        )


def _class(codec: Codec, code: bytes) -> int | None:
    try:
        return int(codec.decode(code).argmax())
    except CodecError:
        return None


def check_encoding(config: RunConfig, graph: Graph) -> None:
    """Whether a run can end with codes, before it begins.

    Raises:
        FederationError: it is to, and cannot.
    """
    if not config.federation.encode:
        return
    if any(side % 4 for side in graph.input_shape[1:]):
        raise FederationError(
            f"federation.encode: the model takes {graph.input_shape}, and a codec takes pictures "
            "whose height and width are multiples of 4; leave the setting out"
        )
    if find_spec("torch") is None:
        raise FederationError(
            "federation.encode trains a codec with PyTorch: pip install 'fedtiny[train]'"
        )
