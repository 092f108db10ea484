#!/usr/bin/env bash
# A quarter of an hour on an accelerator: its tests, its speed, and the recipe `radiossl` trained as far as it gets.
#
#     benchmarks/quarter_hour.sh OUT MINUTES STORE...
#
# OUT gets tests.txt, speed.md, speed.json and the backbone (float16) with its run's metrics; MINUTES is the time of the
# training alone. Everything runs on a CPU too. PARTS="tests speed train" chooses what is done, CHANGES="seed=1 ..." changes
# keys of the recipe.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,8p' "$0" | cut -c3-; exit 2; }
out=$1 minutes=$2
shift 2
python=${PYTHON:-python3}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$out"
data=(); for store in "$@"; do data+=(--data "$store"); done
changes=(); for change in ${CHANGES:-}; do changes+=(--set "$change"); done

wanted() { [[ " ${PARTS:-tests speed train} " == *" $1 "* ]]; }

if wanted tests; then
    $python -m pytest -q -p no:cacheprovider tests/images tests/pretraining/test_run.py tests/pretraining/test_methods.py \
        -k "${TESTS:-device or accelerator or resident}" 2>&1 | tee "$out/tests.txt" | tail -n 15 || true
fi

if wanted speed; then
    $python benchmarks/accelerator.py --batch "${BATCH:-256}" --sizes ${SIZES:-64 128 224} --seconds "${SECONDS_EACH:-2}" \
        --json "$out/speed.json" | tee "$out/speed.md"
fi
wanted train || exit 0

# A short run tells how many passes the minutes hold.
pretrain=($python -m radiossl.cli.main pretrain --recipe "${RECIPE:-radiossl}" "${data[@]}" "${changes[@]}")
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
"${pretrain[@]}" --set schedule.warmup_epochs=0 --epochs "${TRIAL_EPOCHS:-3}" --out "$trial/run"
epochs=$($python - "$trial/run" "$minutes" <<'PY'
import csv, json, sys
from pathlib import Path
run, minutes = Path(sys.argv[1]), float(sys.argv[2])
rows = list(csv.DictReader((run / "metrics.csv").open()))
cutouts = sum(part["cutouts"] - part.get("removed", 0) for part in json.loads((run / "backbone/config.json").read_text())["data"])
print(max(1, int(60 * minutes * float(rows[-1]["images_per_s"]) / cutouts)))
PY
)
echo "training for $epochs passes"
"${pretrain[@]}" --epochs "$epochs" --out "$out/run"
$python -m radiossl.cli.main weights release "$out/run/backbone" --half --out "$out/backbone"
