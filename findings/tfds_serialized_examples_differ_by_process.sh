#!/usr/bin/env bash
# tensorflow-datasets 4.9.10 with protobuf: the same example, serialized in four
# processes, gives different bytes, even with PYTHONHASHSEED=0, because features
# are written in the order of a map that is seeded anew in each process. So the
# records of two equal preparations cannot be compared by their sha256, and a
# cache by content misses. They hold the same values, and
# SerializeToString(deterministic=True) of protobuf would write the same bytes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'tensorflow-datasets==4.9.10' 'protobuf==7.36.2' 'numpy==2.4.6'
cd "$work"
cat > one.py <<'PY'
import hashlib

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

names = ('id', 'role', 'kind', 'size', 'split', 'subject')
features = tfds.features.FeaturesDict({name: np.int64 for name in names})
serializer = example_serializer.ExampleSerializer(
    features.get_serialized_info())
example = features.encode_example({n: i for i, n in enumerate(names)})
data = serializer.serialize_example(example)
print(len(data), hashlib.sha256(data).hexdigest()[:16])
PY
for _ in 1 2 3 4; do
  PYTHONHASHSEED=0 "$work/venv/bin/python" one.py 2> /dev/null
done | tee bytes.txt
lengths=$(cut -d ' ' -f 1 bytes.txt | sort -u | wc -l)
hashes=$(cut -d ' ' -f 2 bytes.txt | sort -u | wc -l)
echo "tensorflow-datasets 4.9.10: $lengths length, $hashes different contents"
[ "$lengths" = 1 ] && [ "$hashes" -gt 1 ] || {
  echo 'the behaviour has changed' >&2
  exit 1
}
