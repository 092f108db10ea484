#!/bin/sh
# Make the cutout stores of `radiossl benchmark` from a folder of published data:
#
#     sh benchmarks/make_benchmark_stores.sh DATA STORES
#     radiossl benchmark checkpoints/simclr-first --tasks STORES/tasks.yaml --out RESULTS
#
# DATA holds first/tiles, first/extra (FITS cutouts of FIRST), first/catalogue.csv, first/labels.csv (MiraBest's sources),
# catalogues/crumb_combined.csv, radiogalaxydataset/galaxy_data.h5 and mgcls; STORES is a new folder of 1 GB. What is there
# already is not made again.
set -eu
data=$(cd "$1" && pwd)
mkdir -p "$2/parts"
cp "$(dirname "$0")/first_tasks.yaml" "$2/tasks.yaml"
cd "$2"
python=${PYTHON:-python}
radiossl() { "$python" -m radiossl.cli.main "$@"; }

radiossl datasets catalogue crumb "$data/catalogues/crumb_combined.csv" --out parts/crumb.csv
"$python" - "$data" <<'CATALOGUES'
import sys

import pandas as pd

# MiraBest's confident FRI (100, 102, 104) and FRII (200, 201).
labels = pd.read_csv(f"{sys.argv[1]}/first/labels.csv")
labels["fr"] = labels["mirabest_class"].map({100: "FRI", 102: "FRI", 104: "FRI", 200: "FRII", 201: "FRII"})
labels.dropna(subset="fr")[["name", "fr"]].to_csv("parts/labels.csv", index=False)

# Sources that MiraBest does not have, as FR-DEEP calls them, or else AT17.
crumb = pd.read_csv("parts/crumb.csv")
code = crumb["frdeep"].where(crumb["frdeep"] >= 0, crumb["at17"])
crumb["fr"] = code.map({0: "FRI", 1: "FRII"})
others = crumb[(crumb["mirabest"] < 0) & crumb["fr"].notna()]
others[["name", "ra_deg", "dec_deg", "fr"]].to_csv("parts/others.csv", index=False)
CATALOGUES

cut() { # store, mosaics, catalogue, options
    cut=$1 mosaics=$2 catalogue=$3
    shift 3
    [ -f "$cut/store.json" ] || radiossl cutouts sources "$mosaics" --catalogue "$catalogue" --out "$cut" "$@"
}
label() { # store, cut store
    [ -f "$1/store.json" ] && return
    [ -f "parts/joined_$1/store.json" ] || radiossl store join "parts/$1" parts/labels.csv --on name --out "parts/joined_$1"
    radiossl store filter "parts/joined_$1" --where "fr in ('FRI', 'FRII')" --out "$1"
    rm -r "parts/$1" "parts/joined_$1"
}
import() { # store, name, source, expression
    [ -f "$1/store.json" ] || radiossl datasets import "$2" "$3" --where "$4" --out "$1"
}

for store in boxes fields wide; do
    [ -f "$store/store.json" ] && continue
    case $store in boxes) size="--box-factor 1.5" ;; fields) size="--size 64" ;; wide) size="--size 300" ;; esac
    # shellcheck disable=SC2086  # two words
    cut "parts/$store" "$data/first/tiles" "$data/first/catalogue.csv" $size
    label "$store"
done
cut others "$data/first/extra" parts/others.csv --size 128
import rgd_train radiogalaxydataset "$data/radiogalaxydataset/galaxy_data.h5" "split == 'train'"
import rgd_valid radiogalaxydataset "$data/radiogalaxydataset/galaxy_data.h5" "split == 'valid'"
import mgcls_rated mgcls "$data/mgcls" "interest_score >= 1"
