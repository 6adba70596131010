"""Writes data_partition.json: what flwr-datasets' partitioners do with a fixed label vector.

Run once, in an environment of its own (flwr-datasets brings pyarrow and pandas, half a gigabyte):

    pip install flwr-datasets==0.6.1
    python tests/goldens/make_data_partition.py
"""

import json
from pathlib import Path

import numpy as np

CASES = [
    ("dirichlet", {"alpha": alpha, "min_partition_size": least, "seed": seed})
    for alpha, least, seed in [
        (0.1, 10, 4),
        (0.3, 150, 2),
        (0.5, 10, 42),
        (0.5, 60, 1),
        (100, 10, 3),
    ]
] + [
    ("shards", {"num_shards_per_partition": 1, "seed": 0}),
    ("shards", {"num_shards_per_partition": 2, "seed": 42}),
    ("shards", {"num_shards_per_partition": 3, "seed": 7}),
    ("iid", {}),
    ("natural", {}),
]


def main() -> None:
    import flwr_datasets
    from datasets import Dataset
    from flwr_datasets import partitioner as reference

    i = np.arange(4200)
    labels = (i * i * 31 + i * 17) % 97 % 10
    made = []
    for kind, arguments in CASES:
        data = Dataset.from_dict({"label": labels})
        if kind == "dirichlet":
            dealer = reference.DirichletPartitioner(10, "label", **arguments)
        elif kind == "shards":
            dealer = reference.ShardPartitioner(10, "label", **arguments)
        elif kind == "iid":
            dealer = reference.IidPartitioner(11)
        else:
            dealer = reference.NaturalIdPartitioner("label")
        dealer.dataset = data
        parts = [dealer.load_partition(k)["label"] for k in range(dealer.num_partitions)]
        counts = [np.bincount(np.array(part), minlength=10).tolist() for part in parts]
        made.append({"partitioner": kind, **arguments, "counts": counts})
    lines = ",\n  ".join(json.dumps(case) for case in made)
    provenance = f"flwr-datasets {flwr_datasets.__version__}, numpy {np.__version__}"
    text = (
        f'{{"made_by": "tests/goldens/make_data_partition.py, {provenance}",\n'
        f' "labels": "(i * i * 31 + i * 17) % 97 % 10 for i in range(4200)",\n'
        f' "cases": [\n  {lines}\n]}}\n'
    )
    (Path(__file__).parent / "data_partition.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
