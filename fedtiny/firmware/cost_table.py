"""Coefficients of the cost model: instructions per counted quantity, by core and kernel.

Fitted by least squares of relative errors to what QEMU counted (``-icount``, arm-none-eabi-gcc
12.2 -O3) for every layer of resnet8, smartwatch_cnn, ds_cnn, mobilenet_v1 and vgg11 at densities
of 1 to 100 %, in every weight format and in several band heights: more than 1,000 layers a
core (add_shifted, concat and mean: five shapes; upsample: 14). The dense kernels are CMSIS-NN
4.0's; the M55's are those of releases from 6.0 on, which take half to a quarter of 4.0's
instructions there (its dense_1xn is its dense_conv without copies: no layer of these has it). Half
of the predictions for a core are within 5 %, nine in ten within 20 %. M4 stands for the cores with
DSP instructions (M7 and M33 differ by 2 %).

==================  ================================================================
family              counts
==================  ================================================================
add, lookup         outputs, 1
add_shifted         the same, with TensorFlow Lite's two roundings
avg_pool, max_pool  values read, outputs
concat              values with a table, values without, positions of every input
mean                values read, outputs
dense_linear        multiply-accumulates, outputs, 1
dense_pointwise     multiply-accumulates, outputs, inputs
dense_conv,         multiply-accumulates, with MVE those of outputs left of groups of four,
dense_1xn           outputs, values copied into patches, taps · positions
dense_depthwise     multiply-accumulates, outputs, positions
gather,             with MVE in the place of the next two: instructions of the sweep's groups,
gather_depthwise    longer rows, padded inputs, channel starts, decoding, blocks of dense values
direct, depthwise   nnz · pixels, nnz · pixels beyond the last eight of a row, outputs, padded
                    inputs, channel starts, decoding
planar              nnz · pixels in wide tiles, in narrow tiles, one by one; outputs, packed
                    values, packed cells, channel starts, decoding
sparse_linear       decoding, outputs, 1
upsample            outputs, cells of widened rows, rows, 1
decoding            D8 and D4 entries, N4 and P4 entries, bitmap values and positions, dense
                    values and positions
==================  ================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

from fedtiny.firmware.cores import Core

COEFFICIENTS: Mapping[Core, Mapping[str, tuple[float, ...]]] = {
    Core.M0: {
        "add": (18.26, 31410.0),
        "add_shifted": (72.02, 37060.0),
        "avg_pool": (19.33, 88.03),
        "concat": (6.725, 1.289, 38.52),
        "dense_1xn": (6.245, 0.0, 101.7, 8.118, 45.14),
        "dense_conv": (6.263, 0.0, 101.8, 7.761, 43.82),
        "dense_depthwise": (30.86, 0.0, 1160.0),
        "dense_linear": (10.52, 152.3, 0.0),
        "dense_pointwise": (6.239, 96.46, 0.0),
        "depthwise": (0.0, 12.11, 80.52, 1.044, 346.4, 0.0, 3.846, 0.0, 7.143, 0.0, 5.473),
        "direct": (6.631, 1.032, 72.31, 5.004, 263.2, 21.17, 13.74, 39.29, 3.344, 15.62, 8.006),
        "lookup": (7.52, 60.0),
        "max_pool": (38.7, 0.0),
        "mean": (7.105, 95.0),
        "planar": (
            28.16,
            22.59,
            0.0,
            77.1,
            27.08,
            0.0,
            671.2,
            0.0,
            0.3987,
            26.58,
            2.445,
            0.0,
            7.429,
        ),
        "sparse_linear": (15.99, 32.04, 22.14, 1.658, 0.0, 9.97, 164.9, 193.4),
        "upsample": (0.7094, 53.22, 78.05, 348.4),
    },
    Core.M3: {
        "add": (15.0, 6524.0),
        "add_shifted": (23.01, 8859.0),
        "avg_pool": (12.2, 15.93),
        "concat": (5.238, 0.6907, 25.8),
        "dense_1xn": (2.497, 0.0, 41.66, 5.085, 35.93),
        "dense_conv": (2.505, 0.0, 41.57, 4.947, 34.57),
        "dense_depthwise": (8.403, 0.0, 270.6),
        "dense_linear": (6.511, 68.53, 197.5),
        "dense_pointwise": (2.693, 35.94, 0.0),
        "depthwise": (0.0, 6.829, 22.89, 0.6881, 180.3, 0.0, 13.46, 0.0, 6.446, 0.0, 5.912),
        "direct": (4.138, 0.5151, 17.07, 2.993, 200.7, 12.65, 10.69, 20.92, 2.834, 9.933, 6.059),
        "lookup": (5.5, 60.0),
        "max_pool": (8.544, 0.0),
        "mean": (6.123, 35.13),
        "planar": (
            3.037,
            2.681,
            0.0,
            23.71,
            11.4,
            16.23,
            263.7,
            12.36,
            11.16,
            16.07,
            2.441,
            6.665,
            5.771,
        ),
        "sparse_linear": (11.99, 24.0, 13.74, 3.367, 0.0, 7.008, 74.51, 120.2),
        "upsample": (0.5532, 31.8, 41.49, 131.9),
    },
    Core.M4: {
        "add": (14.25, 6544.0),
        "add_shifted": (20.73, 8901.0),
        "avg_pool": (6.258, 13.28),
        "concat": (5.237, 0.628, 25.85),
        "dense_1xn": (1.824, 0.0, 40.56, 1.984, 96.34),
        "dense_conv": (1.814, 0.0, 47.33, 2.416, 45.18),
        "dense_depthwise": (7.539, 0.0, 205.5),
        "dense_linear": (4.753, 57.13, 533.1),
        "dense_pointwise": (1.572, 41.19, 0.0),
        "depthwise": (0.0, 6.599, 22.4, 0.6598, 166.5, 0.0, 14.33, 0.0, 6.768, 0.0, 5.76),
        "direct": (3.895, 0.6984, 16.71, 2.986, 170.2, 13.85, 10.83, 20.36, 3.123, 9.978, 6.106),
        "lookup": (5.5, 60.0),
        "max_pool": (8.538, 0.0),
        "mean": (6.119, 35.3),
        "planar": (
            1.019,
            1.086,
            0.0,
            6.201,
            6.892,
            74.98,
            269.0,
            15.6,
            18.77,
            16.82,
            3.817,
            10.19,
            5.982,
        ),
        "sparse_linear": (11.99, 27.02, 16.01, 3.825, 0.03299, 6.984, 74.81, 121.1),
        "upsample": (0.5134, 31.75, 41.24, 98.29),
    },
    Core.M55: {
        "add": (2.501, 2411.0),
        "add_shifted": (3.51, 2781.0),
        "avg_pool": (1.065, 12.11),
        "concat": (4.323, 0.7065, 24.33),
        "dense_1xn": (0.1722, 0.268, 13.29, 0.0, 0.0),
        "dense_conv": (0.1722, 0.268, 13.29, 0.263, 29.72),
        "dense_depthwise": (2.262, 0.0, 198.5),
        "dense_linear": (0.3213, 7.202, 490.0),
        "dense_pointwise": (0.1617, 14.21, 0.0),
        "depthwise": (0.0, 6.996, 22.63, 0.6927, 184.5, 0.0, 13.33, 0.0, 7.15, 0.0, 5.805),
        "gather": (0.991, 13.37, 0.1785, 182.6, 5.193, 11.9, 28.3, 2.39, 0.0, 7.082, 45.09),
        "gather_depthwise": (
            0.8796,
            14.52,
            0.3748,
            207.2,
            46.37,
            100.9,
            202.7,
            0.0,
            231.9,
            0.0,
            0.0,
        ),
        "direct": (3.76, 0.3193, 17.05, 2.991, 234.5, 12.91, 10.48, 21.25, 2.534, 9.659, 5.988),
        "lookup": (5.5, 60.0),
        "max_pool": (1.249, 0.0),
        "mean": (4.086, 39.7),
        "planar": (
            0.6904,
            0.9578,
            6.116,
            2.995,
            3.513,
            41.01,
            246.5,
            18.46,
            15.96,
            17.19,
            2.966,
            10.17,
            5.88,
        ),
        "sparse_linear": (12.01, 24.97, 14.23, 2.596, 0.0, 5.988, 79.82, 133.6),
        "upsample": (0.5674, 31.84, 37.46, 112.4),
    },
}
