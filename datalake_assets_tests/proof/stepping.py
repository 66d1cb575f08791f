"""A process that brings what waits to silver, some partitions at a time, until it is killed.

`python -m datalake_assets_tests.proof.stepping ROOT DATASETS SEED`
"""

import random
import sys
import time
from pathlib import Path

from datalake_assets.settings import Settings
from datalake_assets_tests import lakes


def main() -> None:
    root, datasets, seed = sys.argv[1:]
    lake = Settings(root=root, datasets=Path(datasets)).lake()
    dice = random.Random(int(seed))
    while True:
        name = dice.choice(sorted(lake.datasets))
        waiting = list(lakes.landing(lake, name).waiting)
        if not waiting:
            time.sleep(0.02)
            continue
        lakes.process(lake, name, dice.sample(waiting, dice.randint(1, len(waiting))), replay=dice.random() < 0.03)


if __name__ == "__main__":
    main()
