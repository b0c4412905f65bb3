"""Scores of how speech sounds: PLCMOS v2 and PESQ. Optional packages, loaded when first asked."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
#: PLCMOS was trained on clips of about ten seconds.
PIECE_S = 10
#: Imagined listeners whose answers are averaged (the package's own default is 15; the means move by less than 0.01).
LISTENERS = 5
SEED = 1

_models: dict[str, Any] = {}
_known: dict[bytes, float] = {}  # pieces scored: peers differ only where something was made up


def plcmos(sound: npt.NDArray[Any]) -> float:
    """Mean PLCMOS v2 over whole pieces of 10 s: 1 … 5, what listeners would say about a sound with losses concealed.

    Needs no reference, so time stretching does not disturb it. The listeners are random vectors: the same ones for every
    sound.

    Source: L. Diener et al., "PLCMOS – a data-driven non-intrusive metric for the evaluation of packet loss concealment
    algorithms", INTERSPEECH 2023. The model comes with the package ``speechmos`` (MIT).
    """
    model = _models.get("plcmos")
    if model is None:
        model = _models["plcmos"] = _load()
    size = PIECE_S * RATE_HZ
    scores = []
    for start in range(0, len(sound) - size + 1, size):
        piece = np.clip(sound[start : start + size], -1.0, 1.0).astype(np.float64)
        key = sha256(piece.tobytes()).digest()
        if key not in _known:
            np.random.seed(SEED)  # the package draws its listeners from NumPy's global generator
            _known[key] = model.get_mos(piece)
        scores.append(_known[key])
    if not scores:
        raise SystemExit(f"PLCMOS needs at least {PIECE_S} s of sound; there are {len(sound) / RATE_HZ:.1f} s")
    return float(np.mean(scores))


def _load() -> Any:
    try:
        import onnxruntime
        from speechmos.plcmos import PLCMOS
    except ImportError as exc:
        raise SystemExit(f"PLCMOS needs the package {exc.name}: pip install rtmedia[bench]") from None
    model = PLCMOS(embed_rounds=LISTENERS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # equal on all machines, and kind to the others on this one
    model.session = onnxruntime.InferenceSession(model.model_path, options, providers=["CPUExecutionProvider"])
    return model


def pesq(clean: npt.NDArray[Any], sound: npt.NDArray[Any]) -> float:
    """Mean wideband PESQ (ITU-T P.862.2) over pieces of 10 s. Only for sounds that keep the reference's time."""
    try:
        from pesq import pesq as score
    except ImportError:
        raise SystemExit("PESQ needs the package pesq: pip install rtmedia[bench]") from None
    size = PIECE_S * RATE_HZ
    starts = range(0, min(len(clean), len(sound)) - size + 1, size)
    return float(np.mean([score(RATE_HZ, clean[s : s + size], sound[s : s + size], "wb") for s in starts]))
