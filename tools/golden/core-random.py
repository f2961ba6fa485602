"""Golden values of @aligntok/core: random streams from a second implementation, `random_streams.py`.

    python tools/golden/core-random.py packages/core/test/fixtures
"""

import json
import sys

from random_streams import normals, stream

cases = []
for seed, name in [(0, ["noise", 1234]), (7, ["crops"]), (-3, []), (2**53 - 1, ["ä", 0])]:
    text = f"{seed}/{'/'.join(str(part) for part in name)}"
    bits = stream(text)
    cases.append({
        "seed": seed, "name": name,
        "uniforms": [next(bits) / 2**32 for _ in range(20)],
        "normals": normals(text, 7),
    })
json.dump(cases, open(f"{sys.argv[1]}/random.json", "w"))
